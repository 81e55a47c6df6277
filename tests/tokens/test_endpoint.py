"""A faulty token endpoint, over real sockets: a caller, the proxy, and a bank with a fault."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.runtime.app import App
from proxy.sandbox import Fault, Sandbox
from proxy.tokens.refresh_policy import RETRY_AFTER_MAX
from tests.support.running import DEADLINE, running, until, url

V2, V1 = "/echo", "/subscriptions/v1/fis/00016/echo"
PATHS = {"token": V2, "v1token": V1}
HASTY = {
    "timeout": "0.3",
    "backoff_initial": "0.1",
    "throttle_initial": "0.2",
    "refusal_memory": "0.3",
}


@dataclass
class EndpointFixture:
    """A caller, the proxy, and its bank."""

    bank: Sandbox
    app: App
    session: aiohttp.ClientSession

    async def call(self, path: str = V2) -> tuple[int, Any, dict[str, str]]:
        """Send a request; return status, document and headers."""
        async with self.session.get(path) as response:
            return response.status, await response.json(content_type=None), dict(response.headers)

    async def heal(self, path: str = V2) -> None:
        """Call until the bank responds, within a back-off."""
        async with asyncio.timeout(DEADLINE):
            while (await self.call(path))[0] != 200:  # noqa: ASYNC110 - nobody tells a caller
                await asyncio.sleep(0.02)

    def series(self, name: str) -> dict[str, float]:
        """Return the values of a metric by institution."""
        text, _ = self.app.metrics.exposition("")
        return {
            sample.labels["institution"]: sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name == f"candescent_proxy_token_{name}"
        }

    def lifetime(self) -> float:
        """The lifetime of the current token, in seconds."""
        expiry = self.series("expiry_timestamp_seconds")["00016"]
        return expiry - self.series("last_success_timestamp_seconds")["00016"]


@asynccontextmanager
async def endpoint_fixture(
    *faults: Fault, ready: bool = False, token: Mapping[str, str] | None = None
) -> AsyncIterator[EndpointFixture]:
    """Start all three; the bank has these faults from the start."""
    async with Sandbox() as sandbox:
        sandbox.bank.faults.extend(faults)
        async with (
            running(sandbox, ready=ready, token=token or {}) as app,
            aiohttp.ClientSession(url(app)) as session,
        ):
            yield EndpointFixture(sandbox, app, session)


MALFORMED: dict[str, dict[str, Any]] = {
    "empty": {"shape": "empty"},
    "web page": {"shape": "html"},
    "without a token": {"shape": "notoken"},
    "half of a document": {"shape": "notjson"},
    "body cut short": {"shape": "truncated"},
    "XML bomb": {"shape": "bomb"},
    "50 MB": {"shape": "huge"},
    "a list": {"shape": b"[]"},
    "nested too deeply": {"shape": b"[" * 50_000},
    "not UTF-8": {"shape": b'{"access_token":"\xff"}'},
    "not HTTP": {"wire": b"SSH-2.0-OpenSSH_9.6\r\n"},
    "two lengths": {"wire": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"},
    "a redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}, "shape": "empty"},
    "no content": {"status": 204, "shape": "empty"},
    "CRLF in the token": {"token_text": "gBOL\r\nX-Injected: 1"},
    "a space in the token": {"token_text": "gBOL two"},
    "a token beyond ASCII": {"token_text": "gBÖL"},
    "an empty token": {"token_text": ""},
    "an endless token": {"token_text": "x" * 8193},
    "a signed token": {
        "shape": b'{"access_token": "gBOL", "token_type": "mac", "expires_in": "3600"}'
    },
    "a lifetime with underscores": {"expires_in": "3_600"},
    "dead at once": {"expires_in": "0"},
    "dead before": {"expires_in": "-1"},
}


_OF_ANOTHER_SERVER = ("web page", "a redirect")


@pytest.mark.parametrize("where", PATHS)
@pytest.mark.parametrize("name", MALFORMED)
async def test_unusable_response_is_a_503(where: str, name: str) -> None:
    """With Retry-After; nothing of the response is sent to the bank."""
    kind = "token-wrong-server" if name in _OF_ANOTHER_SERVER else "token-malformed"
    async with endpoint_fixture(Fault(where, **MALFORMED[name]), token=HASTY) as at:
        status, problem, headers = await at.call(PATHS[where])
        assert status == 503
        assert problem["type"] == f"urn:candescent-proxy:error:{kind}"
        assert headers["x-proxy-error-source"] == "token"
        assert int(headers["Retry-After"]) >= 1
        assert "gB" not in str(problem)
        assert not at.bank.bank.arrivals
        at.bank.bank.faults.clear()
        await at.heal(PATHS[where])
        assert len(at.bank.bank.arrivals) == 1


JSON_ONLY = {"a number": {"token_text": 7}, "null": {"token_text": None}}


@pytest.mark.parametrize("fault", JSON_ONLY.values(), ids=JSON_ONLY)
async def test_token_of_another_type_is_refused(fault: dict[str, Any]) -> None:
    """``access_token`` must be a string."""
    async with endpoint_fixture(Fault("token", **fault)) as at:
        _, problem, _ = await at.call()
        assert problem["type"].endswith("token-malformed")
        assert not at.bank.bank.arrivals


async def test_redirect_is_not_followed() -> None:
    """Credentials go to the configured origin only."""
    async with Sandbox() as elsewhere:
        target = {"Location": elsewhere.url + "/oauth2/v1/token"}
        for status in (302, 307, 308):
            async with endpoint_fixture(
                Fault("token", status=status, headers=target, shape="empty")
            ) as at:
                assert (await at.call())[0] == 503
        assert not elsewhere.bank.token_requests


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"hang": True}, "timeout"),
        ({"hang": True, "after_head": True}, "timeout"),
        ({"delay": 5.0}, "timeout"),
        ({"dribble": 0.2}, "timeout"),
        ({"reset": True}, "unreachable"),
        ({"status": 503}, "server"),
        ({"code": "CMN_90000"}, "server"),
        ({"code": "CMN_90019"}, "server"),
    ],
)
async def test_silent_or_failing_endpoint_has_its_reason(
    fault: dict[str, Any], reason: str
) -> None:
    """Within the configured timeout."""
    async with endpoint_fixture(Fault("token", **fault), token=HASTY) as at:
        status, problem, headers = await at.call()
        assert (status, problem["type"].rpartition(":")[2]) == (503, f"token-{reason}")
        assert int(headers["Retry-After"]) >= 1
        at.bank.bank.faults.clear()
        await at.heal()
        assert at.app.readiness().is_ready


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"code": "CMN_90002"}, "throttled"),
        ({"code": "CMN_90003"}, "throttled"),
        ({"status": 429}, "throttled"),
        ({"code": "policies.ratelimit.QuotaViolation", "shape": "apigee"}, "throttled"),
        ({"code": "CMN_90004"}, "bad-client"),
        ({"status": 401}, "bad-client"),
        ({"code": "CMN_90005"}, "bad-institution"),
        ({"code": "CMN_90007"}, "bad-request"),
    ],
)
async def test_refusal_costs_one_request(fault: dict[str, Any], reason: str) -> None:
    """Twenty callers get Retry-After, and the bank gets one request.

    A quota error with status 500 is throttling too.
    """
    async with endpoint_fixture(Fault("token", **fault)) as at:
        responses = [await at.call() for _ in range(20)]
        assert {status for status, _, _ in responses} == {503}
        assert {problem["type"].rpartition(":")[2] for _, problem, _ in responses} == {
            f"token-{reason}"
        }
        assert min(int(headers["Retry-After"]) for _, _, headers in responses) >= 1
        assert len(at.bank.bank.token_requests) == 1
        assert not at.app.readiness().is_ready


async def test_error_with_status_200_is_a_refusal() -> None:
    """The bank's message goes to probes and status page, not to callers."""
    body = b'{"error": "invalid_client", "error_description": "unknown sandbox-secret"}'
    async with endpoint_fixture(Fault("token", status=200, shape=body)) as at:
        responses = [await at.call() for _ in range(5)]
        assert {problem["type"].rpartition(":")[2] for _, problem, _ in responses} == {
            "token-bad-client"
        }
        assert "unknown" not in str(responses)
        assert len(at.bank.bank.token_requests) == 1
        (reason,) = at.app.readiness().reasons
        assert 'Its message: "unknown [hidden]"' in reason


@pytest.mark.parametrize("code", ["CMN_90002", "CMN_90004", "CMN_90005", "CMN_90007"])
async def test_refusal_is_retried_after_its_time(code: str) -> None:
    """Without a restart."""
    async with endpoint_fixture(Fault("token", code=code, times=2), ready=True, token=HASTY) as at:
        assert (await at.call())[0] == 200
        assert len(at.bank.bank.token_requests) == 3


async def test_retry_after_of_the_bank_reaches_the_caller() -> None:
    """It is kept as a lower bound."""
    later = Fault("token", status=429, headers={"Retry-After": "77"})
    async with endpoint_fixture(later) as at:
        _, _, headers = await at.call()
        assert 77 <= int(headers["Retry-After"]) <= 97
        assert len(at.bank.bank.token_requests) == 1


async def test_retry_after_as_a_date() -> None:
    """It is relative to the bank's clock, and bounded."""
    sent = time.time() - 3600
    for seconds, least, most in ((77, 77, 97), (10**8, RETRY_AFTER_MAX, RETRY_AFTER_MAX + 20)):
        dates = {
            "Date": formatdate(sent, usegmt=True),
            "Retry-After": formatdate(sent + seconds, usegmt=True),
        }
        async with endpoint_fixture(Fault("token", status=429, headers=dates)) as at:
            _, _, headers = await at.call()
            assert least <= int(headers["Retry-After"]) <= most


async def test_invalid_retry_after_is_ignored() -> None:
    """A date in the past or an invalid value."""
    for text in ("Wed, 21 Oct 2015 07:28:00 GMT", "-1", "1e9", "99999999999999", "soon"):
        async with endpoint_fixture(
            Fault("token", status=429, headers={"Retry-After": text})
        ) as at:
            _, problem, headers = await at.call()
            assert problem["type"].endswith("throttled")
            assert int(headers["Retry-After"]) <= 23


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        ("1799", 1799),
        (1799, 1799),
        ("1799.5", 1799.5),
        ("2591999", 2_591_999),
        ("1e308", 2_592_000),
        (10**400, 300),
        ("inf", 2_592_000),
        ("abc", 300),
        ("", 300),
        ("nan", 300),
        (None, 300),
        ([1799], 300),
        ("1", 1),
    ],
)
async def test_every_lifetime_is_defined(expires_in: object, lifetime: float) -> None:
    """Text or number; missing is five minutes; at most thirty days."""
    async with endpoint_fixture(Fault("token", expires_in=expires_in), ready=True) as at:
        assert at.lifetime() == pytest.approx(lifetime, abs=0.01)


async def test_missing_lifetime_is_five_minutes() -> None:
    """Without ``expires_in``."""
    async with endpoint_fixture(Fault("token", without=("expires_in",)), ready=True) as at:
        assert at.lifetime() == pytest.approx(300)
        assert (await at.call())[0] == 200


@pytest.mark.parametrize("hours", [-10, 10])
async def test_dates_of_the_bank_do_not_count(hours: float) -> None:
    """Its clock may be wrong."""
    date = formatdate(time.time() + hours * 3600, usegmt=True)
    fault = Fault("token", headers={"Date": date, "Expires": date})
    async with endpoint_fixture(fault, ready=True) as at:
        assert at.lifetime() == pytest.approx(3600)
        assert (await at.call())[0] == 200


async def test_age_of_a_cached_response_is_subtracted() -> None:
    """So that the token ends when it does at the bank; nothing left is an error."""
    async with endpoint_fixture(Fault("token", headers={"Age": "600"}), ready=True) as at:
        assert at.lifetime() == pytest.approx(3000)
    async with endpoint_fixture(Fault("token", headers={"Age": "3600"})) as at:
        assert (await at.call())[0] == 503


async def test_lifetime_begins_before_the_request() -> None:
    """However long the bank takes."""
    async with endpoint_fixture(Fault("token", delay=0.3), ready=True) as at:
        (asked,) = at.bank.bank.token_requests
        assert at.series("last_success_timestamp_seconds")["00016"] <= asked.time
        assert at.series("call_seconds")["00016"] >= 0.3


async def test_call_slower_than_its_token_is_reported() -> None:
    """Its token is not sent."""
    async with endpoint_fixture(Fault("token", delay=1.1, expires_in="1")) as at:
        status, problem, _ = await at.call()
        assert (status, problem["type"].rpartition(":")[2]) == (503, "token-slow")
        assert at.series("call_slow")["00016"] == 1
        assert not at.bank.bank.arrivals


async def test_waiters_at_the_start_share_one_request() -> None:
    """Two hundred callers, a third of whom are cancelled."""
    async with endpoint_fixture(Fault("token", delay=0.3, times=1)) as at:
        waiting = [asyncio.create_task(at.call()) for _ in range(200)]
        await until(lambda: at.app.forwarder.in_flight > 60)
        for call in waiting[::3]:
            call.cancel()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        served = [outcome for at_, outcome in enumerate(outcomes) if at_ % 3]
        assert all(isinstance(outcome, tuple) and outcome[0] == 200 for outcome in served)
        assert len(at.bank.bank.token_requests) == 1


async def test_refused_institution_does_not_affect_others() -> None:
    """Another institution's tokens are served."""
    broken = Fault("token", code="CMN_90005", institution="00017")
    async with (
        Sandbox() as bank,
        running(bank, allowed_institutions="00017") as app,
        aiohttp.ClientSession(url(app)) as session,
    ):
        bank.bank.faults.append(broken)
        for institution, expected in (("00017", 503), ("00016", 200), ("00017", 503)):
            async with session.get("/echo", headers={"institutionId": institution}) as response:
                assert response.status == expected
        assert app.readiness().is_ready
        assert broken.used == 1


async def test_request_is_the_documented_one() -> None:
    """Basic credentials, a UUID, the five-digit institution, and a form."""
    async with endpoint_fixture(ready=True) as at:
        request = at.bank.bank.token_requests[0]
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        assert (request.grant, request.institution, request.outcome) == (
            "client_credentials",
            "00016",
            "ok",
        )
        assert headers["authorization"] == aiohttp.encode_basic_auth(
            "sandbox-client", "sandbox-secret"
        )
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["transactionid"])
        assert headers["content-type"] == "application/x-www-form-urlencoded"


async def test_unreachable_endpoint_names_the_setting() -> None:
    """Closed port or unknown name."""
    for base_url, word in (
        ("http://127.0.0.1:9", "refuse connections"),
        ("http://nowhere.invalid", "name"),
    ):
        async with (
            running(base_url, ready=False, trust_network="true") as app,
            aiohttp.ClientSession(url(app)) as session,
            session.get("/echo") as response,
        ):
            problem = await response.json(content_type=None)
            assert problem["type"].endswith("token-unreachable")
            assert word in problem["detail"]
            assert "base_url" in app.readiness().reasons[0]
