"""The token source that asks the bank, by whichever grant the institution's login says."""

from collections.abc import Callable
from dataclasses import replace

from proxy.bank_client import BankClient
from proxy.bank_errors import read_error
from proxy.errors import ConfigError, TokenError, TokenFailure
from proxy.tokens.grants import (
    Caller,
    Credentials,
    Grant,
    Issued,
    Login,
    read_answer,
    read_retry_after,
    refusal,
    request_for,
    revocation_for,
)
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import Moment, Token, TokenKey, TokenKind


class BankEndpoint:
    """Gets and revokes tokens: V2 at ``/oauth2/v1``, V1 at ``/v1/oauth``.

    A password login is renewed by its refresh token for as long as that lives, then by the
    password again. ``complain`` gets what an operator should know but no request fails of.
    """

    def __init__(
        self,
        bank: BankClient,
        login_for: Callable[[TokenKey], Login],
        refresh_tokens: RefreshTokens,
        *,
        clock: Callable[[], Moment],
        new_id: Callable[[], str],
        caller: Caller,
        complain: Callable[[str], None],
    ) -> None:
        self._bank = bank
        self._login_for = login_for
        self._refresh_tokens = refresh_tokens
        self._clock = clock
        self._new_id = new_id
        self._caller = caller
        self._complain = complain

    async def token(self, key: TokenKey) -> Token:
        """Ask the bank. Raises ``TokenError`` with the reason when it gives none."""
        login = login_of_kind(self._login_for(key), key.kind)
        if login.grant is Grant.CLIENT_CREDENTIALS or key.kind is TokenKind.V1:
            return await self._ask(key, login)
        proof = self._refresh_tokens.current(key)
        if proof:
            try:
                return await self._ask(key, replace(login, grant=Grant.REFRESH_TOKEN), proof)
            except TokenError as error:
                if not error.reason.is_refusal:
                    raise
                self._refresh_tokens.forget(key, proof)
        if login.grant is Grant.PASSWORD:
            return await self._ask(key, login)
        raise TokenError(
            TokenFailure.BAD_USER,
            "Nobody is logged in, or the login has run out; run candescent-proxy login.",
        )

    async def exchange(self, key: TokenKey, code: str) -> Token:
        """Exchange an authorization code, which is good once, and keep its refresh token.

        Raises ``TokenError`` when the bank refuses the code.
        """
        login = replace(self._login_for(key), grant=Grant.AUTHORIZATION_CODE)
        return await self._ask(key, login, code)

    async def revoke(self, text: str, credentials: Credentials) -> None:
        """Revoke a V2 access or refresh token. Raises ``TokenError`` when the bank does not."""
        request = revocation_for(text, credentials, self._new_id())
        answer = await self._bank.call("DELETE", request.path, request.headers, request.body)
        if answer.status not in (200, 204):
            raise refusal(TokenKind.V2, answer.status, read_error(answer.body))

    async def revoke_token(self, token: Token) -> None:
        """Revoke an access token of ours. Raises ``TokenError``; V1 tokens cannot be revoked."""
        if token.key.kind is TokenKind.V1:
            raise TokenError(
                TokenFailure.BAD_REQUEST, "The bank has no way to revoke a V1 token; it runs out."
            )
        await self.revoke(token.text, self._login_for(token.key).credentials)

    async def _ask(self, key: TokenKey, login: Login, proof: str = "") -> Token:
        request = request_for(key, login, self._new_id(), self._caller, proof)
        asked = self._clock()
        answer = await self._bank.call("POST", request.path, request.headers, request.body)
        issued = read_answer(
            key.kind, answer.status, answer.body, read_retry_after(answer.retry_after)
        )
        self._keep(key, issued)
        return Token(key, issued.text, asked, issued.lifetime)

    def _keep(self, key: TokenKey, issued: Issued) -> None:
        if not issued.refresh_token or key.kind is TokenKind.V1:
            return
        try:
            self._refresh_tokens.keep(key, issued.refresh_token, issued.refresh_lifetime)
        except ConfigError as error:
            self._complain(str(error))


def login_of_kind(login: Login, kind: TokenKind) -> Login:
    """Return the login for tokens of ``kind``: V1 knows no authorization codes."""
    if kind is TokenKind.V1 and login.grant is Grant.AUTHORIZATION_CODE:
        return replace(login, grant=Grant.CLIENT_CREDENTIALS)
    return login
