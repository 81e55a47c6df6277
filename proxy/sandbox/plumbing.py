"""Test resources that the real bank does not have. They need a token, too.

    /echo/…                     any method: returns the request, headers in their order and case
    /gzip                       a list of activities with Content-Encoding: gzip
    /status/{code}              this status; or an error by its spelling, /status/CMN_90006/403
    /download?bytes=N           N bytes with Content-Length; &chunked=1 chunked; &slow=S waits S
                                seconds between head and body
    /upload                     length and digest of the body: {"bytes": …, "sha256": …}
    /redirect?to=URL            302 (or &status=307) to any URL
    /slow?seconds=S             waits before the response
    /interim                    103 Early Hints, then 200

Each also exists below ``/fis/{institution}/``, where it takes a V1 token.
"""

from __future__ import annotations

import gzip as gzip_library
import json
import re
from functools import cache

from proxy.sandbox import payloads, samples
from proxy.sandbox.call import Reply, json_reply
from proxy.sandbox.call_checks import RefusedError
from proxy.sandbox.codes import refuse
from proxy.sandbox.resources import Resource, Visit, whole_number


def echo(visit: Visit) -> Reply:
    """Return method, raw target, headers as pairs, and length and SHA-256 of the body."""
    call = visit.call
    return json_reply(
        {
            "method": call.method,
            "target": call.target,
            "headers": [
                [name.decode("latin-1"), text.decode("latin-1")] for name, text in call.headers
            ],
            "body": {"bytes": call.body_length, "sha256": call.body_sha256},
            "institution": visit.token.institution,
            "generation": visit.token.generation,
            "grant": visit.token.grant,
        }
    )


def gzip(visit: Visit) -> Reply:
    """Return a gzip-encoded list, whatever ``Accept-Encoding`` says, as the bank does."""
    headers = (("Content-Type", "application/json"), ("Content-Encoding", "gzip"))
    return Reply(headers=headers, body=_activities())


def status(visit: Visit) -> Reply:
    """Return a response with this status (200 to 599), or the error of this spelling."""
    spelling = visit.named[0]
    if not spelling.isdecimal() or len(spelling) != 3:
        try:
            return refuse(spelling)
        except ValueError as unknown:
            raise RefusedError("CMN_90011", str(unknown)) from None
    if not 200 <= int(spelling) <= 599:
        raise RefusedError("CMN_90011", "Request is invalid: expected a status from 200 to 599")
    if int(spelling) in (204, 205, 304):
        return Reply(int(spelling), (("ETag", '"sandbox"'),))
    return json_reply({"status": int(spelling)}, int(spelling))


def download(visit: Visit) -> Reply:
    """Return ``bytes`` bytes, with ``Content-Length`` or (``chunked=1``) chunked."""
    size = whole_number(visit, "bytes", 0)
    return Reply(
        headers=(("Content-Type", "application/octet-stream"),),
        body=lambda: payloads.pattern(size),
        length=None if visit.call.arguments.get("chunked") == "1" else size,
        pause=seconds(visit, "slow"),
    )


def upload(visit: Visit) -> Reply:
    """Return length and digest of the body."""
    return json_reply({"bytes": visit.call.body_length, "sha256": visit.call.body_sha256})


def redirect(visit: Visit) -> Reply:
    """Redirect to the URL ``to``."""
    to, code = visit.call.arguments.get("to", ""), whole_number(visit, "status", 302)
    if not 300 <= code <= 399 or not to or not to.isprintable():
        raise RefusedError("CMN_90011", "Request is invalid: expected to=URL and a status of 3xx")
    return Reply(code, (("Location", to),))


def slow(visit: Visit) -> Reply:
    """Respond after ``seconds``."""
    wait = seconds(visit, "seconds")
    reply = json_reply({"waited": wait})
    return Reply(reply.status, reply.headers, reply.body, delay=wait)


def interim(visit: Visit) -> Reply:
    """Respond with 103, then 200 (RFC 9110 section 15.2: a proxy handles interim responses)."""
    return Reply(
        200, (("Content-Type", "application/json"),), json.dumps({"interim": 103}).encode(),
        interim=(103,),
    )  # fmt: skip


_BEFORE = r"(?:/.*)?"

#: Method (``*`` for any), pattern of the raw path, and handler.
ROUTES: tuple[tuple[str, re.Pattern[str], Resource], ...] = (
    ("*", re.compile(_BEFORE + r"/echo(?:/.*)?"), echo),
    ("*", re.compile(_BEFORE + r"/status/([^/]+(?:/\d{3})?)"), status),
    ("*", re.compile(_BEFORE + r"/upload"), upload),
    ("*", re.compile(_BEFORE + r"/redirect"), redirect),
    ("GET", re.compile(_BEFORE + r"/gzip"), gzip),
    ("GET", re.compile(_BEFORE + r"/download"), download),
    ("*", re.compile(_BEFORE + r"/slow"), slow),
    ("*", re.compile(_BEFORE + r"/interim"), interim),
)


def seconds(visit: Visit, name: str) -> float:
    """Return a query parameter in seconds; raise CMN_90011 if it is not a number below 100,000."""
    text = visit.call.arguments.get(name, "0")
    if not re.fullmatch(r"\d{1,5}(\.\d{1,6})?", text, re.ASCII):
        raise RefusedError("CMN_90011", f"Query param {name} is invalid: expected seconds")
    return float(text)


@cache
def _activities() -> bytes:
    return gzip_library.compress(json.dumps(samples.activities()).encode(), mtime=0)
