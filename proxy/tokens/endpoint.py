"""The token source that asks the bank, by whichever grant the institution's login says."""

from collections.abc import Callable
from dataclasses import replace

from proxy.errors import ConfigError, TokenError, kinds
from proxy.tokens.grants import (
    ApplicationInfo,
    AuthorizationCode,
    Credentials,
    Grant,
    Login,
    RefreshToken,
    TokenResponse,
    parse_response,
    read_retry_after,
    refusal,
    revocation_request,
    token_request,
)
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import Instant, Token, TokenKey, TokenKind
from proxy.upstream.bank_client import BankClient
from proxy.upstream.bank_errors import read_error


class BankEndpoint:
    """Gets and revokes tokens: V2 at ``/oauth2/v1``, V1 at ``/v1/oauth``.

    A password login is renewed by its refresh token for as long as that lives, then by the
    password again. ``warn`` gets what an operator should know but no request fails of.
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
    ) -> None:
        self._bank = bank
        self._login_for = login_for
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._new_id = new_id
        self._caller = caller
        self._warn = warn

    async def token(self, key: TokenKey) -> Token:
        """Ask the bank. Raises ``TokenError`` with the reason when it gives none."""
        login = self._login_for(key).for_kind(key.kind)
        if not login.grant.has_refresh_token or key.kind is TokenKind.V1:
            token, _ = await self._ask(key, login)
            return token
        tried = ""
        while (current := self._refresh_tokens.current(key, login.subject)) and current != tried:
            try:
                return await self._renew(key, login, RefreshToken(current))
            except TokenError as error:
                if not is_refresh_token_dead(error, login.grant):
                    raise
                tried = current
                self._forget(key, current)
        if login.grant.can_be_verified:
            return await self._renew(key, login, login.grant)
        raise TokenError(kinds.TOKEN_LOGIN_NEEDED)

    async def verify_credentials(self, key: TokenKey) -> Token:
        """Ask with the login itself, whatever refresh token there is. Raises ``TokenError``."""
        token, _ = await self._ask(key, self._login_for(key).for_kind(key.kind))
        return token

    async def exchange(self, key: TokenKey, code: str) -> Token:
        """Exchange an authorization code, which is good once, and keep its refresh token.

        Raises ``TokenError`` when the bank refuses the code or gives nothing to keep, and
        ``ConfigError`` when the refresh token cannot be kept.
        """
        login = replace(self._login_for(key), grant=AuthorizationCode(code))
        token, issued = await self._ask(key, login)
        if not issued.refresh_token:
            raise TokenError(
                kinds.TOKEN_MALFORMED, "The bank took the code but gave no refresh token for it."
            )
        self._refresh_tokens.keep(key, issued.refresh_token, issued.refresh_lifetime, login.subject)
        return token

    async def revoke(self, text: str, credentials: Credentials) -> None:
        """Revoke a V2 access or refresh token. Raises ``TokenError`` when the bank does not."""
        request = revocation_request(text, credentials, self._new_id())
        response = await self._bank.call("DELETE", request.path, request.headers, request.body)
        if response.status not in (200, 204):
            raise refusal(
                TokenKind.V2,
                response.status,
                read_error(response.body),
                secrets=(text, credentials.client_secret, credentials.basic),
            )

    async def revoke_token(self, token: Token) -> None:
        """Revoke an access token of ours. Raises ``TokenError``; V1 tokens cannot be revoked.

        With a password login, its refresh token is revoked, which takes the access token along.
        """
        if token.key.kind is TokenKind.V1:
            raise TokenError(
                kinds.TOKEN_BAD_REQUEST, "The bank has no way to revoke a V1 token; it runs out."
            )
        login = self._login_for(token.key)
        current = self._refresh_tokens.current(token.key, login.subject)
        # That of a login that cannot be shown again is kept: revoking it would log a person out.
        refresh_token = current if login.grant.can_be_verified else ""
        await self.revoke(refresh_token or token.text, login.credentials)
        if refresh_token:
            self._forget(token.key, refresh_token)

    async def _renew(self, key: TokenKey, login: Login, grant: Grant) -> Token:
        token, issued = await self._ask(key, replace(login, grant=grant))
        if issued.refresh_token:
            self._keep(key, issued, login.subject)
        return token

    async def _ask(self, key: TokenKey, login: Login) -> tuple[Token, TokenResponse]:
        request = token_request(key, login, self._new_id(), self._caller)
        requested_at = self._clock()
        response = await self._bank.call("POST", request.path, request.headers, request.body)
        retry_after = read_retry_after(response.retry_after, response.date, self._clock().wall)
        issued = parse_response(
            key.kind, response.status, response.body, retry_after, login.secrets
        )
        return Token(key, issued.text, requested_at, issued.lifetime), issued

    def _keep(self, key: TokenKey, issued: TokenResponse, subject: str) -> None:
        try:
            self._refresh_tokens.keep(key, issued.refresh_token, issued.refresh_lifetime, subject)
        except ConfigError as error:
            self._warn(str(error))

    def _forget(self, key: TokenKey, refresh_token: str) -> None:
        try:
            self._refresh_tokens.forget(key, refresh_token)
        except ConfigError as error:
            self._warn(str(error))


def is_refresh_token_dead(error: TokenError, grant: Grant) -> bool:
    """Whether a refused refresh token is given up.

    Where the login itself brings another, any refusal ends it; a person's login is only given up
    when the bank says that it is dead, not while the client, say, is refused.
    """
    return error.reason.is_refusal and (
        grant.can_be_verified or error.reason is kinds.TOKEN_BAD_USER
    )
