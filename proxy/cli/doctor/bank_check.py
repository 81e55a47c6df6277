"""Checks of the bank: a token request for each institution and kind, and a sample call."""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

from proxy.cli.doctor import remedies
from proxy.cli.doctor.remedies import Remedy
from proxy.cli.doctor.results import CheckResult, info, ok, problem, skipped
from proxy.config.login_settings import LoginSettings
from proxy.config.model import Config
from proxy.config.origin_config import OriginConfig
from proxy.errors import TokenError, kinds
from proxy.forwarding.transaction_ids import new_transaction_id
from proxy.runtime import build
from proxy.tokens.credentials import Logins
from proxy.tokens.grants import (
    ApplicationInfo,
    Login,
    token_request,
)
from proxy.tokens.token import TokenKey, TokenKind
from proxy.tokens.token_response import TokenResponse, parse_response
from proxy.upstream.bank_client import USER_AGENT, BankClient, BankResponse
from proxy.upstream.bank_errors import BankError, is_page, is_throttling, read_error, refuses_token

SAMPLE = "/v1/accounts"
"""A resource that every application may read."""


_REPLACES = "a new token invalidates the one before"


@dataclass(slots=True)
class BankCheck:
    """Calls the bank at an origin as the proxy does.

    ``tokens`` are those that it issued, by their key; ``is_accepted`` whether the sample call was.
    """

    config: Config
    origin: OriginConfig
    logins: Logins
    client: BankClient
    tokens: dict[TokenKey, str] = field(default_factory=dict, repr=False)
    is_accepted: bool = False

    def wanted(self) -> Iterator[TokenKey]:
        """Yield the keys to check: each kind for each institution with a login."""
        for v2 in build.keys_with_login(self.config, TokenKind.V2):
            if self.config.origin_of(v2.institution) == self.origin:
                yield from (v2._replace(kind=kind) for kind in (TokenKind.V2, TokenKind.V1))

    @property
    def _uses_v1(self) -> bool:
        """Whether the configuration needs V1 tokens."""
        routed = any(route.token is TokenKind.V1 for route in self.config.routes)
        return routed or TokenKind.V1 in self.config.token.prefetch

    async def token(self, key: TokenKey) -> AsyncIterator[CheckResult]:
        """Request a token for ``key``."""
        login = self.logins.for_key(key).for_kind(key.kind)
        if not login.grant.can_be_verified:
            yield self._logged_in(key, login)
            return
        knows_v2 = key._replace(kind=TokenKind.V2) in self.tokens
        if key.kind is TokenKind.V1 and not (knows_v2 or self._uses_v1):
            return  # credentials that have been refused are not sent a second time
        response, failure = await self._ask(key, login)
        if isinstance(failure, TokenResponse):
            self.tokens[key] = failure.text
            yield ok(
                "token", f"{key}: the bank issued a token, valid for {failure.lifetime:.0f} s."
            )
        else:
            yield self._refused(key, response, failure, knows_v2=knows_v2)

    def _logged_in(self, key: TokenKey, login: Login) -> CheckResult:
        refresh_tokens = build.refresh_tokens(self.config)
        address = self.config.origin_of(key.institution).base_url
        if not refresh_tokens.current(key, login.subject, address):
            return problem("token", remedies.TOKEN_LOGIN_NEEDED, key=key)
        return info(
            "token", f"{key}: a user is logged in. Not tried, as that would renew the login."
        )

    async def _ask(
        self, key: TokenKey, login: Login
    ) -> tuple[BankResponse | None, TokenResponse | TokenError]:
        v1 = self.config.v1
        caller = ApplicationInfo(
            v1.user_agent or USER_AGENT, str(v1.originating_ip or ""), v1.offering_id or ""
        )
        request = token_request(key, login, new_transaction_id(), caller)
        response = None
        try:
            response = await self.client.call("POST", request.path, request.headers, request.body)
            return response, parse_response(
                key.kind,
                response.status,
                response.body,
                secrets=login.secrets,
                has_user=not login.grant.is_shared,
            )
        except TokenError as error:
            return response, error

    def _refused(
        self, key: TokenKey, response: BankResponse | None, error: TokenError, *, knows_v2: bool
    ) -> CheckResult:
        url = self.origin.base_url
        values = {
            "key": key,
            "url": url,
            "said": error.detail if response is None else _said(response, error),
            "seconds": f"{self.config.token.timeout:g}",
            "why": error.operator_detail,
        }
        remedy = token_remedy(response, error)
        if key.kind is TokenKind.V1 and knows_v2 and error.reason.is_refusal:
            if not self._uses_v1:
                return info(
                    "token",
                    f"{key}: not issued for this client id ({values['said']}); only calls under "
                    "/fis/ need one.",
                )
            remedy = remedies.V1_REFUSED
        return problem("token", remedy, **values)

    async def call(self, path: str) -> AsyncIterator[CheckResult]:
        """Make a sample call for the origin's first institution, if it has a token."""
        key, bearer = self._default_key, self.config.bearer_token
        text = bearer.get_secret_value() if bearer is not None else self.tokens.get(key)
        if text is None:
            return
        started = time.monotonic()
        try:
            response = await self._sample(path, text)
        except TokenError as error:
            yield problem("call", remedies.CALL_NO_RESPONSE, call=f"GET {path}", why=error.detail)
            return
        self.is_accepted = response.status < 300
        yield call_result(f"GET {path}", response, time.monotonic() - started)

    async def second_token(self, path: str) -> AsyncIterator[CheckResult]:
        """Request another token for the same institution, and make a call with the first."""
        key = self._default_key
        first = self.tokens.get(key)
        if first is None:
            return
        unknown = f"{key}: not known whether a new token invalidates the one before"
        if not self.is_accepted:
            yield skipped("two tokens", f"{unknown}: no call succeeded (try --call PATH).")
            return
        response, second = await self._ask(key, self.logins.for_key(key).for_kind(key.kind))
        if not isinstance(second, TokenResponse):
            said = second.detail if response is None else _said(response, second)
            yield skipped("two tokens", f"{unknown}: the second token call failed ({said}).")
            return
        if second.text == first:
            yield ok("two tokens", f"{key}: the bank issues one token until it expires.")
            return
        try:
            again = await self._sample(path, first)
        except TokenError as error:
            yield skipped("two tokens", f"{unknown}: the second call failed. {error.detail}")
            return
        if not refuses_token(again.status, read_error(again.body)):
            yield ok("two tokens", f"{key}: a new token leaves the one before valid.")
        elif self.config.store.url is not None:
            yield info("two tokens", f"{key}: {_REPLACES}, so the store is needed.")
        else:
            yield problem("two tokens", remedies.TOKEN_REPLACED, key=key)

    @property
    def _default_key(self) -> TokenKey:
        return build.token_key(self.config, TokenKind.V2, self._institution[0])

    @property
    def _institution(self) -> tuple[str, LoginSettings]:
        """The first institution of the origin with its login."""
        return next(
            (name, login)
            for name, login in self.config.logins()
            if self.config.origin_of(name) == self.origin
        )

    async def _sample(self, path: str, token: str) -> BankResponse:
        """Call a resource with a token. Raises ``TokenError`` without a response."""
        institution, login = self._institution
        context = build.user_context(login)
        target, _ = context.add_to(path.encode("ascii"), context.customer_id, in_header=False)
        headers = {
            "Authorization": f"Bearer {token}",
            "institutionId": institution,
            "transactionId": new_transaction_id(),
            "correlationId": new_transaction_id(),
        }
        return await self.client.call("GET", target.decode("ascii"), headers)


def token_remedy(response: BankResponse | None, error: TokenError) -> Remedy:
    """Return the remedy for a token request without a token."""
    if response is not None and error.reason is kinds.TOKEN_WRONG_SERVER:
        if is_page(response.body):
            return remedies.TOKEN_PAGE
        is_redirect = 300 <= response.status < 400
        return remedies.TOKEN_REDIRECT if is_redirect else remedies.TOKEN_PATH
    remedy = remedies.BY_KIND.get(error.reason, remedies.TOKEN_MALFORMED)
    return replace(remedy, fix=error.explained_by.remedy) if error.failure else remedy


def call_result(call: str, response: BankResponse, seconds: float) -> CheckResult:
    """Return the result for the response to a sample call that took ``seconds``."""
    error = read_error(response.body)
    values = {"call": call, "said": describe(response)}
    remedy = call_remedy(response, error)
    if remedy is not None:
        return problem("call", remedy, **values)
    if response.status < 300:
        return ok("call", f"{call}: {response.status} after {seconds:.1f} s.")
    return info("call", f"{call}: {values['said']}. The token was accepted, the request was not.")


def call_remedy(response: BankResponse, error: BankError) -> Remedy | None:
    """Return the remedy for the response to a sample call, or None."""
    status = response.status
    if is_page(response.body):
        return remedies.CALL_PAGE
    if is_throttling(status, error):
        return remedies.CALL_THROTTLED
    if refuses_token(status, error):
        return remedies.CALL_TOKEN_REFUSED
    if status in (401, 403) or error.code == "CMN_90006":
        return remedies.CALL_FORBIDDEN
    if status in (404, 405):
        return remedies.CALL_PATH
    return remedies.CALL_SERVER if status >= 500 else None


def _said(response: BankResponse, error: TokenError) -> str:
    message = f': "{error.bank_message}"' if error.bank_message else ""
    return describe(response) + message


def describe(response: BankResponse) -> str:
    """Return status and error code of a response; they contain no secrets."""
    code = read_error(response.body).code
    return f"{response.status}, {code}" if code else str(response.status)
