"""docs/operations.md: fields of the log, and finding a transaction."""

import ast
import re
from collections.abc import Iterator

import pytest

from proxy.errors import Source
from proxy.forwarding.record import RequestRecord
from proxy.sandbox import Sandbox
from proxy.telemetry.access_format import FIELDS
from proxy.telemetry.logs.access_log import request_fields
from tests.support.captured_log import captured_log
from tests.support.otlp_collector import OtlpCollector
from tests.support.pages import ROOT
from tests.support.raw_client import ask, request
from tests.support.running import running, until

PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ADDED = {"event", "level", "timestamp"}
LEVELS = {"debug", "info", "warning", "error"}
ID = re.findall(r"grep ([0-9a-f-]{36})", PAGE)[0]


def rows(mark: str) -> list[list[str]]:
    """Return the cells of the table below a mark."""
    table = PAGE.partition(f"<!-- {mark} -->\n\n")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def names(cell: str) -> set[str]:
    """Return the quoted names in a cell."""
    return set(re.findall(r"`([^`]+)`", cell))


def test_every_series_is_a_metric() -> None:
    """docs/metrics.md is compared with the program."""
    metrics = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(candescent_proxy_\w+)`", PAGE))
    assert len(named) > 8
    assert [name for name in named if f"| `{name}` |" not in metrics] == []


def test_fields_of_a_request() -> None:
    """Each is documented, with its condition; templates have all of them, and more."""
    record = RequestRecord("GET", b"/", 0)
    always = set(request_fields(record)) | {"timestamp"}
    record.responded_at, record.source, record.reason = 1, Source.UPSTREAM, "upstream-closed"
    record.replays, record.has_policy_warning, record.is_aborted, record.listener = (
        1,
        True,
        True,
        "payroll",
    )
    record.retry = "success"
    reported = rows("request fields")
    known = {"timestamp", "caller", "caller_address", "user_agent", *request_fields(record)}
    assert set().union(*(names(row[0]) for row in reported)) == known
    assert set(FIELDS) == known | {"level", "protocol", "clf_time"}
    assert set().union(*(names(row[0]) for row in reported if row[1] == "always")) == always


def written() -> Iterator[tuple[str, str, set[str]]]:
    """Yield event, level and fields of every literal log line of the program."""
    for file in sorted((ROOT / "proxy").rglob("*.py")):
        if {"sandbox", "doctor"} & set(file.parts):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=logger, attr=level),
                    args=[ast.Constant(value=str(event))],
                    keywords=keywords,
                ) if level in LEVELS and re.search(r"\blog$|_log$", ast.unparse(logger)):
                    fields = {word.arg for word in keywords if word.arg}
                    for word in keywords:
                        if word.arg is None:
                            of_a_token = ast.unparse(word.value).startswith("_names(")
                            fields |= {"kind", "institution"} if of_a_token else {"listeners"}
                    yield event, level, fields - {"exc_info"}


def test_events_are_documented() -> None:
    """With level and fields, and no others."""
    reported = [(*names(row[0]), row[1], names(row[2])) for row in rows("events")]
    assert len(reported) > 10
    assert sorted(reported) == sorted(written())


@pytest.mark.parametrize("kind", ["v1", "v2"])
async def test_one_transaction(kind: str) -> None:
    """Its id is in response, log, bank and trace."""
    path, header = {"v1": ("/v2/fis/00016/x", "di_tid"), "v2": ("/v1/x", "transactionId")}[kind]
    with captured_log() as log:
        async with OtlpCollector() as collector, Sandbox() as bank:
            tracing = {"endpoint": collector.endpoint}
            async with running(bank, tracing=tracing, log={"access": "on"}) as app:
                response = await ask(app, request("GET", path, f"{header}: {ID}"))
            await until(lambda: collector.of_kind("SERVER"))
        (line,) = log.lines("request")
    (span,) = collector.of_kind("SERVER")
    assert response.header("transactionId") == line["transactionId"] == ID
    assert bank.bank.arrivals[-1].header(header) == ID
    assert span.attributes["candescent.transaction_id"] == ID
    assert line["route"] == kind
