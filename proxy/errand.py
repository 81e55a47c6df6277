"""One request on its way: what the caller sent, and what we decided about it."""

import asyncio
from dataclasses import dataclass

from aiohttp.web_request import BaseRequest

from proxy.bodies import Upload
from proxy.facts import RequestRecord
from proxy.headers import CallerHeaders
from proxy.routing import SAFE_METHODS, Route
from proxy.tokens.token import TokenKey


@dataclass(slots=True)
class Errand:
    """Everything that is known of one request. ``total_at`` is in loop seconds."""

    request: BaseRequest
    record: RequestRecord
    caller: CallerHeaders
    route: Route
    key: TokenKey
    transaction_id: bytes
    target: bytes
    total_at: float
    upload: Upload | None
    customer_id: bytes | None = None
    upload_task: "asyncio.Task[None] | None" = None

    @property
    def is_replayable(self) -> bool:
        """Whether sending it twice can do no harm: a safe method without a body."""
        return self.upload is None and self.request.method in SAFE_METHODS

    @property
    def is_uploaded(self) -> bool:
        """Whether the whole request has gone upstream."""
        return self.upload is None or self.upload.finished
