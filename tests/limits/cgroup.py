"""A memory limit for a process of its own: a control group below that of this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group. ``kind`` is what the report says; ``folder`` None where none can be made."""

    kind: str
    folder: Path | None

    def join(self, pid: int) -> None:
        """Put a process into the group."""
        if self.folder is not None:
            (self.folder / "cgroup.procs").write_text(str(pid))

    def peak(self, pid: int) -> int:
        """Return the largest memory so far in bytes, that of the group or of the process."""
        if self.folder is not None:
            for name in ("memory.max_usage_in_bytes", "memory.peak"):
                with suppress(OSError):
                    return int((self.folder / name).read_text())
        status = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1]
        return int(status.split()[0]) * 1024


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make a group with a limit in bytes, of version 1 or 2; without one only measure."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        is_v1 = controllers == "memory"
        if not is_v1 and controllers:
            continue
        base = ROOT / "memory" if is_v1 else ROOT
        folder = base / path.lstrip("/") / f"candescent-proxy-limits-{os.getpid()}"
        with suppress(OSError):
            folder.mkdir()
            try:
                name = "memory.limit_in_bytes" if is_v1 else "memory.max"
                (folder / name).write_text(str(limit))
                yield MemoryGroup(f"cgroup v{1 if is_v1 else 2}", folder)
                return
            finally:
                with suppress(OSError):
                    folder.rmdir()
    yield MemoryGroup("no cgroup, peak RSS", None)
