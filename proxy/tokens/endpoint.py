"""The token source that asks the bank, by whichever grant the institution's login says."""

from collections.abc import Callable
from dataclasses import replace

from proxy.errors import ConfigError, TokenError, kinds
from proxy.tokens.grants import (
    ApplicationInfo,
    Credentials,
    Grant,
    Login,
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
        login = login_of_kind(self._login_for(key), key.kind)
        if login.grant is Grant.CLIENT_CREDENTIALS or key.kind is TokenKind.V1:
            token, _ = await self._ask(key, login)
            return token
        tried = ""
        while (
            refresh_token_or_code := self._refresh_tokens.current(key, login.subject)
        ) and refresh_token_or_code != tried:
            try:
                return await self._renew(key, login, refresh_token_or_code)
            except TokenError as error:
                if not is_refresh_token_dead(error, login.grant):
                    raise
                tried = refresh_token_or_code
                self._forget(key, refresh_token_or_code)
        if login.grant is Grant.PASSWORD:
            return await self._renew(key, login)
        raise TokenError(kinds.TOKEN_LOGIN_NEEDED)

    async def verify_credentials(self, key: TokenKey) -> Token:
        """Ask with the login itself, whatever refresh token there is. Raises ``TokenError``."""
        token, _ = await self._ask(key, login_of_kind(self._login_for(key), key.kind))
        return token

    async def exchange(self, key: TokenKey, code: str) -> Token:
        """Exchange an authorization code, which is good once, and keep its refresh token.

        Raises ``TokenError`` when the bank refuses the code or gives nothing to keep, and
        ``ConfigError`` when the refresh token cannot be kept.
        """
        login = replace(self._login_for(key), grant=Grant.AUTHORIZATION_CODE)
        token, issued = await self._ask(key, login, code)
        if not issued.refresh_token:
            raise TokenError(
                kinds.TOKEN_MALFORMED, "The bank took the code but gave no refresh token for it."
            )
        self._refresh_tokens.keep(key, issued.refresh_token, issued.refresh_lifetime, login.subject)
        return token

    async def revoke(self, text: str, credentials: Credentials) -> None:
        """Revoke a V2 access or refresh token. Raises ``TokenError`` when the bank does not."""
        request = revocation_request(text, credentials, self._new_id())
        answer = await self._bank.call("DELETE", request.path, request.headers, request.body)
        if answer.status not in (200, 204):
            raise refusal(TokenKind.V2, answer.status, read_error(answer.body))

    async def revoke_token(self, token: Token) -> None:
        """Revoke an access token of ours. Raises ``TokenError``; V1 tokens cannot be revoked.

        With a password login, its refresh token is revoked, which takes the access token along.
        """
        if token.key.kind is TokenKind.V1:
            raise TokenError(
                kinds.TOKEN_BAD_REQUEST, "The bank has no way to revoke a V1 token; it runs out."
            )
        login = self._login_for(token.key)
        held = self._refresh_tokens.current(token.key, login.subject)
        refresh_token_or_code = held if login.grant is Grant.PASSWORD else ""
        await self.revoke(refresh_token_or_code or token.text, login.credentials)
        if refresh_token_or_code:
            self._forget(token.key, refresh_token_or_code)

    async def _renew(self, key: TokenKey, login: Login, refresh_token_or_code: str = "") -> Token:
        used = replace(login, grant=Grant.REFRESH_TOKEN) if refresh_token_or_code else login
        token, issued = await self._ask(key, used, refresh_token_or_code)
        if issued.refresh_token:
            self._keep(key, issued, login.subject)
        return token

    async def _ask(
        self, key: TokenKey, login: Login, refresh_token_or_code: str = ""
    ) -> tuple[Token, TokenResponse]:
        request = token_request(key, login, self._new_id(), self._caller, refresh_token_or_code)
        asked = self._clock()
        answer = await self._bank.call("POST", request.path, request.headers, request.body)
        issued = parse_response(
            key.kind, answer.status, answer.body, read_retry_after(answer.retry_after)
        )
        return Token(key, issued.text, asked, issued.lifetime), issued

    def _keep(self, key: TokenKey, issued: TokenResponse, subject: str) -> None:
        try:
            self._refresh_tokens.keep(key, issued.refresh_token, issued.refresh_lifetime, subject)
        except ConfigError as error:
            self._warn(str(error))

    def _forget(self, key: TokenKey, refresh_token_or_code: str) -> None:
        try:
            self._refresh_tokens.forget(key, refresh_token_or_code)
        except ConfigError as error:
            self._warn(str(error))


def is_refresh_token_dead(error: TokenError, grant: Grant) -> bool:
    """Whether a refused refresh token is given up.

    A password brings another, so any refusal ends it; a person's login is only given up when
    the bank says that it is dead, not while the client, say, is refused.
    """
    return error.reason.is_refusal and (
        grant is Grant.PASSWORD or error.reason is kinds.TOKEN_BAD_USER
    )


def login_of_kind(login: Login, kind: TokenKind) -> Login:
    """Return the login for tokens of ``kind``: V1 knows no authorization codes."""
    if kind is TokenKind.V1 and login.grant is Grant.AUTHORIZATION_CODE:
        return replace(login, grant=Grant.CLIENT_CREDENTIALS)
    return login
