"""The log writer on real pipes: nobody reads, reads late, is gone, or the disk is full."""

import fcntl
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.telemetry.logs.log_writer import BATCH, LogWriter
from tests.support import needs

LINE = "x" * 100


class Pipe:
    """A pipe that holds 4 KiB."""

    def __init__(self) -> None:
        read_end, self.write_end = os.pipe()
        fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, 4096)
        self.reader = os.fdopen(read_end, encoding="utf-8")

    def close(self) -> None:
        """Close both ends."""
        self.reader.close()
        self.close_write_end()

    def close_write_end(self) -> None:
        """Let the reader see the end."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    def read_while(self, act: Callable[[], object]) -> list[str]:
        """Read lines while ``act`` runs, and to the end; return them."""
        lines: list[str] = []
        thread = threading.Thread(target=lambda: lines.extend(self.reader))
        thread.start()
        act()
        self.close_write_end()
        thread.join()
        return [line.rstrip("\n") for line in lines]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A small pipe."""
    made = Pipe()
    yield made
    made.close()


def writer_on(descriptor: int, limit: int = 1 << 30) -> LogWriter:
    """Return a writer whose line for dropped ones is ``dropped N``."""
    return LogWriter(descriptor, "dropped {}\n".format, limit)


def read_while_ending(pipe: Pipe, writer: LogWriter) -> list[str]:
    """Read all that the writer has, while it ends."""
    return pipe.read_while(lambda: writer.end(60))


def test_all_lines_in_order(pipe: Pipe) -> None:
    """With room for them, all lines of all threads are written; each thread's are in order."""
    writer = writer_on(pipe.write_end)

    def write(name: str) -> None:
        for number in range(5000):
            writer.write(f"{name} {number} {LINE}\n")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = read_while_ending(pipe, writer)
    for name in "abc":
        assert [line for line in lines if line.startswith(name)] == [
            f"{name} {number} {LINE}" for number in range(5000)
        ]
    assert len(lines) == 15_000
    assert writer.dropped == 0


def test_lines_that_nobody_reads_are_dropped(pipe: Pipe) -> None:
    """``write`` returns although nobody reads; the line in their place has their number."""
    writer = writer_on(pipe.write_end, 2 * BATCH)
    for number in range(10_000):
        writer.write(f"{number} {LINE}\n")
    assert writer.dropped > 8000
    lines = read_while_ending(pipe, writer)
    at = next(at for at, line in enumerate(lines) if line.startswith("dropped"))
    assert [line.split()[0] for line in lines[:at]] == [str(number) for number in range(at)]
    reported = sum(int(line.split()[1]) for line in lines if line.startswith("dropped"))
    assert reported == writer.dropped == 10_000 - sum(not line.startswith("d") for line in lines)


def test_each_gap_has_its_line(pipe: Pipe) -> None:
    """The line that reports a gap is where the gap is, each time."""
    writer = writer_on(pipe.write_end, 2 * BATCH)
    number = 0
    for _ in range(3):
        dropped = writer.dropped
        while writer.dropped < dropped + 50:
            writer.write(f"{number} {LINE}\n")
            number += 1
        while not pipe.reader.readline().startswith("dropped"):
            pass
        writer.write(f"{number} first behind the gap\n")
        assert pipe.reader.readline() == f"{number} first behind the gap\n"
        number += 1
    writer.end(60)


def test_reader_that_is_gone(pipe: Pipe) -> None:
    """``write`` does not fail; the lines are counted as dropped."""
    writer = writer_on(pipe.write_end)
    pipe.reader.close()
    for _ in range(100):
        writer.write(f"{LINE}\n")
    writer.end(60)
    assert writer.dropped == 100


@needs.skip_if(not Path("/dev/full").exists(), "needs /dev/full", "make test on Linux")
def test_full_disk() -> None:
    """The same; nothing is raised."""
    with open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor is needed
        writer = writer_on(file.fileno())
        for _ in range(100):
            writer.write(f"{LINE}\n")
        writer.end(60)
        assert writer.dropped == 100


def test_non_blocking_pipe(pipe: Pipe) -> None:
    """A pipe that another process has made non-blocking gets every line."""
    os.set_blocking(pipe.write_end, False)
    writer = writer_on(pipe.write_end)
    for number in range(1000):
        writer.write(f"{number} {LINE}\n")
    assert read_while_ending(pipe, writer) == [f"{number} {LINE}" for number in range(1000)]


def test_end_with_a_full_pipe(pipe: Pipe) -> None:
    """``end`` returns although nobody reads."""
    writer = writer_on(pipe.write_end)
    for _ in range(1000):
        writer.write(f"{LINE}\n")
    writer.end(0.05)
    writer.write("late\n")
    pipe.reader.close()
    writer._thread.join()


def test_late_line(pipe: Pipe) -> None:
    """After ``end`` a line is written at once."""
    writer = writer_on(pipe.write_end)
    writer.write("early\n")
    writer.end(60)
    assert pipe.reader.readline() == "early\n"
    writer.write("late\n")
    assert pipe.read_while(lambda: None) == ["late"]


def test_characters_beyond_ascii(pipe: Pipe) -> None:
    """They are written as UTF-8; half a surrogate pair is escaped."""
    writer = writer_on(pipe.write_end)
    writer.write("ä \ud800\n")
    writer.end(60)
    assert pipe.read_while(lambda: None) == ["ä \\ud800"]


def test_line_of_a_finalizer(pipe: Pipe) -> None:
    """A finalizer that the garbage collector runs within ``write`` may log too."""
    writer = writer_on(pipe.write_end)

    class Finalized:
        """An object in a reference cycle."""

        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            writer.write("finalized\n")

    before = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(200):
            Finalized()
            writer.write(f"{LINE}\n")
    finally:
        gc.set_threshold(*before)
    gc.collect()
    lines = read_while_ending(pipe, writer)
    assert (lines.count("finalized"), lines.count(LINE)) == (200, 200)


CRASH = """
import sys, threading
from proxy.telemetry import logs
from proxy.telemetry.telemetry_settings import LogSettings
import structlog
logs.write_stderr_on_thread()
logs.set_up(LogSettings(format="{form}"))
for number in range({lines}):
    structlog.get_logger().info("line", number=number)
{then}
"""


def crash(then: str, lines: int, form: str = "json") -> subprocess.Popen[bytes]:
    """Run a process that logs and then runs ``then``."""
    code = CRASH.format(form=form, lines=lines, then=then)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("then", "last", "code"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero", 1),
        ("sys.exit('sorry')", "sorry", 1),
        (
            "threading.Thread(target=lambda: 1 / 0).start()",
            "ZeroDivisionError: division by zero",
            0,
        ),
        ("print('said', file=sys.stderr)", "said", 0),
    ],
    ids=["crash", "exit", "crash of a thread", "print"],
)
def test_end_of_a_process(then: str, last: str, code: int, form: str) -> None:
    """All lines are written before it ends, and tracebacks behind them."""
    with crash(then, 1000, form) as process:
        _, err = process.communicate()
    lines = err.decode().splitlines()
    assert [line for line in lines if "line" in line and "999" in line]
    assert lines[-1].startswith(last)
    assert len([line for line in lines if "number" in line]) == 1000
    assert process.returncode == code


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(("then", "code"), [("1 / 0", 1), ("", 0)], ids=["crash", "exit"])
def test_end_of_a_process_that_nobody_reads(then: str, code: int, form: str) -> None:
    """It ends although its pipe is full, and with its own exit code."""
    with crash(then, 20_000, form) as process:
        assert process.wait(60) == code


def test_end_of_a_process_whose_reader_is_gone() -> None:
    """Its exit code is 0."""
    with crash("", 2000) as process:
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(60) == 0


def test_process_without_stderr() -> None:
    """It runs, and logs nothing."""
    code = CRASH.format(form="auto", lines=10, then="print(logs.dropped_lines())")
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (0, b"0\n")
