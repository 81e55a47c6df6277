"""The ways in: the port that ``listen`` sets, and further ones for applications of their own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config.fields import Institution, ListenAddress, check_public_url, comma_separated
from proxy.config.sections import AccessSettings, CallerSettings, UserSettings
from proxy.forwarding.record import MAIN_LISTENER
from proxy.server.address import Address

RESERVED_NAMES = {MAIN_LISTENER: "listen", "admin": "admin"}
"""Names that no further listener may have, and the settings they belong to."""

ListenerName = Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,31}$")]
PublicUrl = Annotated[str, AfterValidator(check_public_url)]


class ListenerSettings(UserSettings):
    """A further way in. What is left out is as it is without a listener.

    A section that is given stands for itself: nothing of the section outside is added to it.
    """

    listen: ListenAddress = Field(description="where its application calls")
    institution_id: Institution | None = Field(
        None, description="whose calls these are; allowed by allowed_institutions or institutions"
    )
    allowed_institutions: (
        Annotated[tuple[Institution, ...], BeforeValidator(comma_separated)] | None
    ) = Field(None, description="others that callers may ask for here; none if left out")
    public_url: PublicUrl | None = Field(
        None, description="http(s)://HOST[:PORT] by which it is called, if not its own address"
    )
    rewrite_links: bool | None = Field(
        None, description="tell the bank's URLs in JSON answers as this listener's"
    )
    access: AccessSettings | None = Field(None, description="what may be called here")
    callers: CallerSettings | None = Field(None, description="who may call here, and how")


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """A way in, with all that is left out filled in from outside of it.

    ``path`` is what stands in front of its settings' names; ``user`` is None where calls are made
    for the users of their institutions.
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
    rewrite_links: bool

    def with_settings(self, name: str, settings: ListenerSettings) -> "ListenerConfig":
        """Return the way that a listener's settings describe, this one being the outer one."""
        institution = settings.institution_id or self.institution
        allowed = frozenset({institution, *(settings.allowed_institutions or ())})
        is_as_outside = settings.institution_id is None and settings.allowed_institutions is None
        names_user = any(getattr(settings, name) for name in UserSettings.model_fields)
        outer_links, links = self.rewrite_links, settings.rewrite_links
        return ListenerConfig(
            name=name,
            path=f"listeners.{name}.",
            address=settings.listen,
            institution=institution,
            permitted_institutions=self.permitted_institutions if is_as_outside else allowed,
            user=settings if names_user else None,
            access=self.access if settings.access is None else settings.access,
            callers=self.callers if settings.callers is None else settings.callers,
            public_url=settings.public_url or "",
            rewrite_links=outer_links if links is None else links,
        )

    def exposure_error(self) -> Iterator[str]:
        """Say if strangers could call."""
        if not self.address.is_loopback and not self.callers.are_authenticated:
            yield (
                f"{self.path}listen: {self.address} can be reached from other machines, and "
                "callers are not asked who they are; listen on 127.0.0.1, or set "
                "callers.secret_files or callers.client_ca_file, or trust_network: true if the "
                "network keeps strangers out"
            )


def listener_errors(listeners: Sequence[ListenerConfig], allowed: frozenset[str]) -> Iterator[str]:
    """Say what is wrong with ways in: by themselves, and beside each other."""
    used: dict[str, str] = {}
    for listener in listeners:
        if listener.callers.certificate_file is not None and listener.address.path:
            yield (
                f"{listener.path}callers.certificate_file: is for a port; "
                "a Unix socket speaks no TLS"
            )
        if listener.user is not None:
            yield from listener.user.user_errors(listener.path)
        if listener.path and listener.name in RESERVED_NAMES:
            setting = RESERVED_NAMES[listener.name]
            yield f"listeners.{listener.name}: is the name of the listener that `{setting}` sets"
        for institution in sorted(listener.permitted_institutions - allowed):
            own = institution == listener.institution
            setting = "institution_id" if own else "allowed_institutions"
            yield (
                f"{listener.path}{setting}: {institution} is not configured; "
                "add it to allowed_institutions or institutions"
            )
        address = str(listener.address)
        if address in used and (listener.address.path or listener.address.port):
            yield f"{listener.path}listen: {address} is taken by {used[address]}listen already"
        used.setdefault(address, listener.path)
