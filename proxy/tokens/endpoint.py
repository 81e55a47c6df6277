"""The token source that calls the bank's token endpoints, with the institution's grant."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from proxy.errors import ConfigError, TokenError, kinds
from proxy.tasks import Tasks
from proxy.tokens.client_authentication import Credentials
from proxy.tokens.grants import (
    ApplicationInfo,
    AuthorizationCode,
    Grant,
    Login,
    RefreshToken,
    revocation_request,
    token_request,
)
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind
from proxy.tokens.token_response import (
    TokenResponse,
    lifetime_left,
    parse_refresh_token,
    parse_response,
    read_retry_after,
    refusal,
)
from proxy.upstream.bank_client import BankClient, BankResponse
from proxy.upstream.bank_errors import read_error

_WRITER = ThreadPoolExecutor(1, "refresh-tokens")
"""The end of the process waits for it: a refresh token that is not written is lost."""


class BankEndpoint:
    """Fetches and revokes tokens: V2 at ``/oauth2/v1``, V1 at ``/v1/oauth``.

    A password login is renewed with its refresh token until that expires, then with the password
    again. ``warn`` gets messages about problems that fail no request. ``origin`` is that of its
    keys; a key of another raises ``ValueError``, so that no secret is sent to the wrong bank.
    """

    def __init__(
        self,
        bank: BankClient,
        login_for: Callable[[TokenKey], Login],
        refresh_tokens: RefreshTokens,
        *,
        clock: Callable[[], Instant],
        new_id: Callable[[], str],
        caller: ApplicationInfo,
        warn: Callable[[str], None],
        origin: str = "",
    ) -> None:
        self._bank = bank
        self._origin = origin
        self._login_for = login_for
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._new_id = new_id
        self._caller = caller
        self._warn = warn
        self._tasks = Tasks("endpoint")

    async def token(self, key: TokenKey) -> Token:
        """Fetch a token. Raises ``TokenError``."""
        login = self._login_for(key).for_kind(key.kind)
        if not login.grant.has_refresh_token or key.kind is TokenKind.V1:
            return await self._ask(key, login)
        if login.grant.can_be_verified:
            return await self._in_turn(key, login)
        # Goes on without its caller: the bank may have replaced the refresh token already.
        return await asyncio.shield(self._tasks.spawn("renewal", self._in_turn(key, login)))

    async def finish(self) -> None:
        """Wait for the calls whose refresh tokens would be lost otherwise."""
        await self._tasks.wait()

    async def _in_turn(self, key: TokenKey, login: Login) -> Token:
        """Fetch a token, one call at a time, also beside a core that a reload has replaced."""
        async with self._refresh_tokens.lock(key):
            return await self._fetch(key, login)

    async def _fetch(self, key: TokenKey, login: Login) -> Token:
        tried = ""
        while (current := self._current(key, login)) and current != tried:
            try:
                return await self._renew(key, login, RefreshToken(current))
            except TokenError as error:
                if not is_refresh_token_dead(error, login.grant):
                    raise
                tried = current
                await self._forget(key, current)
        if login.grant.can_be_verified:
            return await self._renew(key, login, login.grant)
        raise TokenError(kinds.TOKEN_LOGIN_NEEDED)

    async def verify_credentials(self, key: TokenKey) -> Token:
        """Fetch a token with the login itself, not a refresh token. Raises ``TokenError``."""
        return await self._ask(key, self._login_for(key).for_kind(key.kind))

    async def exchange(self, key: TokenKey, code: str) -> Token:
        """Exchange an authorization code, which is good once, and keep its refresh token.

        Raises ``TokenError`` if the bank refuses the code or issues no refresh token, and
        ``ConfigError`` if the refresh token cannot be written to its file.
        """
        login = replace(self._login_for(key), grant=AuthorizationCode(code))
        requested_at, response = await self._call(key, login)
        issued = parse_refresh_token(response.status, response.body)
        if issued is not None:
            await self._write(lambda: self._keep(key, issued, login))
        token = self._parse(key, login, requested_at, response)
        if issued is None:
            raise TokenError(
                kinds.TOKEN_MALFORMED, "The bank accepted the code but issued no refresh token."
            )
        return token

    async def revoke(self, text: str, credentials: Credentials) -> None:
        """Revoke a V2 access or refresh token. Raises ``TokenError`` if the bank refuses."""
        request = revocation_request(text, credentials, self._new_id(), self._clock().wall)
        response = await self._bank.call("DELETE", request.path, request.headers, request.body)
        if response.status not in (200, 204):
            raise refusal(
                TokenKind.V2,
                response.status,
                read_error(response.body),
                secrets=(text, *credentials.secrets),
            )

    async def revoke_token(self, token: Token) -> None:
        """Revoke an access token. Raises ``TokenError``; V1 tokens cannot be revoked.

        With a password login its refresh token is revoked, which revokes the access token too.
        """
        if token.key.kind is TokenKind.V1:
            raise TokenError(
                kinds.TOKEN_BAD_REQUEST, "The bank cannot revoke V1 tokens; they expire."
            )
        if token.key.origin != self._origin:
            raise ValueError(f"{token.key} is of another origin")
        login = self._login_for(token.key)
        current = self._current(token.key, login)
        # The refresh token of an authorization code is kept: revoking it would log the user out.
        refresh_token = current if login.grant.can_be_verified else ""
        await self.revoke(refresh_token or token.text, login.credentials)
        if refresh_token:
            await self._forget(token.key, refresh_token)

    async def _renew(self, key: TokenKey, login: Login, grant: Grant) -> Token:
        asking = replace(login, grant=grant)
        requested_at, response = await self._call(key, asking)
        # Kept first: it is the only one, and the access token may be unusable.
        issued = parse_refresh_token(response.status, response.body)
        if issued is not None:
            await self._try_write(lambda: self._keep(key, issued, login))
        return self._parse(key, asking, requested_at, response)

    async def _ask(self, key: TokenKey, login: Login) -> Token:
        return self._parse(key, login, *await self._call(key, login))

    async def _call(self, key: TokenKey, login: Login) -> tuple[Instant, BankResponse]:
        if key.origin != self._origin:
            raise ValueError(f"{key} is of another origin")
        requested_at = self._clock()
        request = token_request(key, login, self._new_id(), self._caller, requested_at.wall)
        call = self._bank.call("POST", request.path, request.headers, request.body)
        return requested_at, await call

    def _parse(
        self, key: TokenKey, login: Login, requested_at: Instant, response: BankResponse
    ) -> Token:
        retry_after = read_retry_after(response.retry_after, response.date, self._clock().wall)
        issued = parse_response(
            key.kind,
            response.status,
            response.body,
            retry_after,
            login.secrets,
            has_user=not login.grant.is_shared,
        )
        lifetime = lifetime_left(issued.lifetime, response.age)
        return Token(key, issued.text, requested_at, lifetime)

    def _current(self, key: TokenKey, login: Login) -> str:
        return self._refresh_tokens.current(key, login.subject, self._bank.base_url)

    def _keep(self, key: TokenKey, issued: TokenResponse, login: Login) -> None:
        self._refresh_tokens.keep(
            key, issued.text, issued.lifetime, login.subject, self._bank.base_url
        )

    async def _forget(self, key: TokenKey, refresh_token: str) -> None:
        await self._try_write(lambda: self._refresh_tokens.forget(key, refresh_token))

    async def _try_write(self, change: Callable[[], None]) -> None:
        try:
            await self._write(change)
        except ConfigError as error:
            self._warn(str(error))

    async def _write(self, change: Callable[[], None]) -> None:
        """Change refresh tokens; in a thread, where another process may hold their file."""
        if self._refresh_tokens.has_file:
            await asyncio.get_running_loop().run_in_executor(_WRITER, change)
        else:
            change()


def is_refresh_token_dead(error: TokenError, grant: Grant) -> bool:
    """Whether a refused refresh token is to be dropped.

    If the login itself can obtain another, any refusal drops it. That of an authorization code is
    dropped only if the bank refuses the user, not if it refuses the client, for example.
    """
    return error.reason.is_refusal and (
        grant.can_be_verified or error.reason is kinds.TOKEN_BAD_USER
    )
