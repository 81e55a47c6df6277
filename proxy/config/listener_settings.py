"""Listeners: the one that ``listen`` sets, and further ones, each for one application."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from proxy.config.login_settings import LoginSettings, UserSettings
from proxy.config.setting_types import Institution, ListenAddress, PublicUrl
from proxy.forwarding.caller_settings import CallerSettings
from proxy.forwarding.forwarding_settings import AccessSettings, CorsSettings
from proxy.forwarding.record import MAIN_LISTENER
from proxy.server.address import Address
from proxy.settings import COMMA_SEPARATED, matching

RESERVED_NAMES = {MAIN_LISTENER: "listen", "admin": "admin"}
"""Reserved names of listeners, with the settings to which they belong."""

ListenerName = Annotated[
    str, matching(r"[a-z][a-z0-9-]{0,31}", "small letters, digits and -, such as kiosk")
]


class ListenerSettings(LoginSettings):
    """A further listener. Settings that are left out are those outside of `listeners`.

    A section replaces the whole section outside. With a login of its own it has its own tokens for
    its institution, which no other listener uses; credentials that are left out are the
    institution's.
    """

    listen: ListenAddress = Field(
        description="Address that the application calls: HOST:PORT or unix:/PATH."
    )
    institution_id: Institution | None = Field(
        None,
        description="Institution of this listener's calls, one of `allowed_institutions` "
        "or `institutions`.",
    )
    refresh_token_file: Path | None = Field(
        None,
        description="File for the refresh token of this listener's user, which no other shares.",
    )
    allowed_institutions: Annotated[tuple[Institution, ...], COMMA_SEPARATED] | None = Field(
        None,
        description="Further institutions that this listener's callers may name.",
    )
    public_url: PublicUrl | None = Field(
        None,
        description="URL by which applications call this listener, if not its address: "
        "http(s)://HOST[:PORT].",
    )
    rewrite_links: bool | None = Field(
        None, description="Rewrite the bank's URLs in JSON responses to this listener's."
    )
    cors: CorsSettings | None = Field(None, description="Web pages that may call this listener.")
    access: AccessSettings | None = Field(
        None, description="Resources that callers at this listener may use."
    )
    callers: CallerSettings | None = Field(
        None, description="TLS and authentication of callers at this listener."
    )


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """A listener with every setting resolved.

    ``path`` is the prefix of its settings' names, such as ``listeners.kiosk.``. ``user`` is None
    if each institution's user settings apply; ``login`` is None if the institutions' logins do.
    """

    name: str
    path: str
    address: Address
    institution: str
    permitted_institutions: frozenset[str]
    user: UserSettings | None
    access: AccessSettings
    callers: CallerSettings
    public_url: str
    cors: CorsSettings
    rewrite_links: bool
    login: "ListenerSettings | None" = None

    def subject_of(self, institution: str) -> str:
        """Return the subject of this listener's tokens for an institution (``TokenKey``)."""
        is_own = self.login is not None and institution == self.institution
        return self.name if is_own else ""

    def with_settings(self, name: str, settings: ListenerSettings) -> "ListenerConfig":
        """Return the listener of ``settings``, with omitted ones taken from this listener."""
        institution = settings.institution_id or self.institution
        allowed = frozenset({institution, *(settings.allowed_institutions or ())})
        is_as_outside = settings.institution_id is None and settings.allowed_institutions is None
        names_user = any(getattr(settings, name) for name in UserSettings.model_fields)
        has_login = settings.has_login
        outer_links, links = self.rewrite_links, settings.rewrite_links
        return ListenerConfig(
            name=name,
            path=f"listeners.{name}.",
            address=settings.listen,
            institution=institution,
            permitted_institutions=self.permitted_institutions if is_as_outside else allowed,
            # The institution's user is not that of a login of the listener's own.
            user=settings if names_user or has_login else None,
            access=self.access if settings.access is None else settings.access,
            callers=self.callers if settings.callers is None else settings.callers,
            public_url=settings.public_url or "",
            cors=self.cors if settings.cors is None else settings.cors,
            rewrite_links=outer_links if links is None else links,
            login=settings if has_login else None,
        )

    def login_errors(self) -> Iterator[str]:
        """Yield errors between the settings of this listener's own login."""
        if self.login is None:
            return
        yield from self.login.errors(self.path, needs_client=False)
        if not self.login.chosen_grant.can_be_verified and self.login.refresh_token_file is None:
            yield f"{self.path}refresh_token_file: needed for grant: authorization_code"

    def exposure_error(self) -> Iterator[str]:
        """Yield an error if other machines could call without authentication."""
        if not self.address.is_loopback and not self.callers.are_authenticated:
            yield (
                f"{self.path}listen: other machines can reach {self.address}, and callers are not "
                "authenticated; listen on 127.0.0.1, or set callers.secret_files or "
                "callers.client_ca_file, or trust_network: true if the network keeps others out"
            )


def listener_errors(
    listeners: Sequence[ListenerConfig], allowed: frozenset[str], admin: Address
) -> Iterator[str]:
    """Yield the errors of each listener, between listeners, and with the admin port."""
    used: dict[str, str] = {str(admin): "admin"}
    for listener in listeners:
        yield from listener.login_errors()
        if listener.callers.certificate_file is not None and listener.address.path:
            yield (
                f"{listener.path}callers.certificate_file: works with a TCP port; "
                "a Unix socket has no TLS"
            )
        if listener.user is not None and listener.login is None:
            yield from listener.user.user_errors(listener.path)
        if listener.path and listener.name in RESERVED_NAMES:
            setting = RESERVED_NAMES[listener.name]
            yield f"listeners.{listener.name}: this name belongs to `{setting}`; use another"
        for institution in sorted(listener.permitted_institutions - allowed):
            own = institution == listener.institution
            setting = "institution_id" if own else "allowed_institutions"
            yield (
                f"{listener.path}{setting}: {institution} is not configured; "
                "add it to allowed_institutions or institutions"
            )
        address = str(listener.address)
        if address in used and (listener.address.path or listener.address.port):
            yield f"{listener.path}listen: {address} is in use by {used[address]} too"
        used.setdefault(address, f"{listener.path}listen")
