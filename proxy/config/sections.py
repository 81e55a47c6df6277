"""The parts of the configuration, each a frozen model. Times are seconds, sizes bytes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyAddress

from proxy.config.fields import (
    Count,
    PathSetting,
    Seconds,
    Secret,
    Section,
    check_base_url,
    check_proxy_url,
    comma_separated,
)
from proxy.tokens.grants import CONFIGURABLE, ClientCredentials, Grant, Password
from proxy.tokens.token import TokenKind


class CallerSettings(Section):
    """Who may call, and how: needed as soon as other machines can reach the port."""

    secret_files: Annotated[tuple[Path, ...], BeforeValidator(comma_separated)] = Field(
        (), description="shared secrets, any of which a caller shows in Proxy-Authorization"
    )
    certificate_file: Path | None = Field(None, description="PEM; the port then speaks TLS")
    key_file: Path | None = Field(None, description="PEM; the key of certificate_file")
    client_ca_file: Path | None = Field(None, description="PEM; callers then need a certificate")
    client_names: Annotated[tuple[str, ...], BeforeValidator(comma_separated)] = Field(
        (), description="subject names (CN, DNS, URI) that may call; any of the CA if left out"
    )
    socket_mode: Annotated[str, Field(pattern="^0?[0-7]{3}$")] = Field(
        "600", description="file mode of a Unix socket"
    )

    @property
    def are_authenticated(self) -> bool:
        """Whether callers have to show who they are."""
        return bool(self.secret_files) or self.client_ca_file is not None

    def files(self) -> list[Path]:
        """Return the files that it names."""
        given = [self.certificate_file, self.key_file, self.client_ca_file, *self.secret_files]
        return [file for file in given if file is not None]

    def errors(self, path: str) -> list[str]:
        """Return what does not fit together, each with its path below ``path``."""
        errors = []
        if self.client_ca_file is not None and self.certificate_file is None:
            errors.append(
                f"{path}client_ca_file: needs {path}certificate_file, so that the port has TLS"
            )
        if self.client_names and self.client_ca_file is None:
            errors.append(f"{path}client_names: needs {path}client_ca_file")
        if self.key_file is not None and self.certificate_file is None:
            errors.append(f"{path}key_file: needs {path}certificate_file")
        return errors


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least that is written"
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: readable on a terminal, JSON otherwise"
    )
    access: Literal["off", "sampled", "on"] = Field(
        "sampled", description="one line a request; errors are written unless off"
    )
    sample: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="the share of good requests that `sampled` writes"
    )


class TracingSettings(Section):
    """Where spans go, if anywhere; OpenTelemetry's own variables are understood too."""

    endpoint: Annotated[str, AfterValidator(check_base_url)] | None = Field(
        None,
        description="OTLP over HTTP, such as http://HOST:4318/v1/traces; needs the extra `otel`",
    )


class UpstreamSettings(Section):
    """How the bank is spoken to. Times and ages in seconds."""

    ca_file: Path | None = Field(None, description="PEM; the system's authorities if left out")
    certificate_file: Path | None = Field(None, description="PEM; shown when the bank asks for one")
    key_file: Path | None = Field(None, description="PEM; the key of certificate_file")
    proxy: Annotated[str, AfterValidator(check_proxy_url)] | None = Field(
        None, description="an HTTP proxy on the way out, http://HOST:PORT"
    )
    proxy_user: Annotated[str, Field(pattern=r"^[\x21-\x39\x3b-\x7e]+$")] | None = Field(
        None, description="whom that proxy knows"
    )
    proxy_password_file: Path | None = Field(None, description="a file with that user's password")
    connect_timeout: Seconds = Field(5.0, description="to connect, TLS included")
    first_byte_timeout: Seconds = Field(
        60.0, description="from the last byte sent to the head of the answer"
    )
    idle_timeout: Seconds = Field(60.0, description="between two blocks of a body")
    total_timeout: Seconds = Field(600.0, description="for a whole exchange")
    max_connections: Count = Field(128, description="open at once")
    max_waiting: Count = Field(
        1024, description="requests that may wait for a connection; beyond it, 503 at once"
    )
    max_wait: Seconds = Field(5.0, description="how long one waits for a connection")
    max_idle_age: Seconds = Field(30.0, description="an unused connection is then closed")
    max_age: Seconds = Field(
        600.0, description="any connection is then closed, so that DNS changes arrive"
    )


class TokenSettings(Section):
    """When tokens are renewed. Times in seconds; see the refresh policy in the documentation."""

    timeout: Seconds = Field(10.0, description="for each call of the proxy's own to the bank")
    margin_min: Seconds = Field(
        60.0, description="a token is renewed at least so long before its end"
    )
    margin_max: Seconds = Field(300.0, description="and at most so long before its end")
    margin_fraction: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.2, description="in between, this share of its lifetime before its end"
    )
    jitter_fraction: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="earlier still by a random part of this share of the lifetime"
    )
    jitter_max: Seconds = Field(60.0, description="but by no more than this")
    min_interval: Seconds = Field(
        10.0, description="a token younger than this is kept even if the bank refuses it"
    )
    backoff_initial: Seconds = Field(
        1.0, description="the wait after a first failure; each further one doubles it"
    )
    backoff_max: Seconds = Field(60.0, description="the longest such wait")
    throttle_initial: Seconds = Field(
        10.0, description="the wait after the bank has said quota or spike; it doubles too"
    )
    throttle_max: Seconds = Field(300.0, description="the longest such wait")
    refusal_memory: Seconds = Field(
        60.0, description="how long refused credentials are not tried again"
    )
    start_spread: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0,
        description="a start's first token is asked for after a random part of this, or at once "
        "when a request needs it; for roll-outs of many proxies without a shared store",
    )
    refresh_rate: Annotated[float, Field(gt=0, le=10_000)] = Field(
        20.0,
        description="token calls begun in a second when many fall due together; what a request "
        "waits for is not counted, and lifetimes that need more get it",
    )
    max_refreshes: Count = Field(64, description="and how many of them are under way at once")
    idle: Seconds = Field(3600.0, description="an unused institution's token is then let go")
    prefetch: Annotated[
        tuple[TokenKind, ...], Field(min_length=1), BeforeValidator(comma_separated)
    ] = Field((TokenKind.V2,), description="kinds that are there before the proxy is ready")


class RouteSetting(PathSetting):
    """Which token a path takes, before the default (V1 under ``/fis/``, else V2)."""

    token: TokenKind


class AccessSettings(Section):
    """Which resources callers may use; ``deny`` wins, an empty ``allow`` allows the rest."""

    mode: Literal["enforce", "warn"] = Field(
        "enforce", description="warn forwards what would be refused, and counts it"
    )
    allow: tuple[PathSetting, ...] = Field(
        (), description="what callers may use; everything if left out"
    )
    deny: tuple[PathSetting, ...] = Field((), description="what they may not; goes before allow")


class LimitSettings(Section):
    """What one caller, and all of them together, may take up. Times in seconds, sizes in bytes."""

    header_timeout: Seconds = Field(10.0, description="from the first byte of a head to its last")
    keepalive_timeout: Seconds = Field(75.0, description="between two requests of a connection")
    idle_timeout: Seconds = Field(60.0, description="while a body neither comes nor is taken")
    half_close_timeout: Seconds = Field(
        5.0, description="from a caller's end of sending to the first byte of its answer"
    )
    max_line: Count = Field(8190, description="the request line, and each header")
    max_headers: Count = Field(100, description="of one request")
    max_head: Count = Field(65_536, description="all headers together")
    max_body: Annotated[int, Field(ge=0)] = Field(0, description="0 for no bound")
    max_connections: Count = Field(2000, description="of callers, open at once")
    max_in_flight: Count = Field(2000, description="beyond it, 503 at once")


class ReplaySettings(Section):
    """Requests that may be sent again when the bank refused the token, beyond safe methods.

    Only for resources that the bank treats as idempotent; never for payments.
    """

    paths: tuple[PathSetting, ...] = Field((), description="which requests")
    max_body: Annotated[int, Field(ge=0, le=1_048_576)] = Field(
        65_536, description="bytes; larger bodies are not kept, so not sent again"
    )


class HeaderSettings(Section):
    """Headers that some families of the API ask for."""

    correlation_id: bool = Field(True, description="add correlationId where the caller sent none")
    customer_id_paths: tuple[PathSetting, ...] = Field(
        (
            PathSetting(path="/v1/alert-preferences/**"),
            PathSetting(path="/v1/alert-history/**"),
            PathSetting(path="/v1/realtime-events/**"),
            PathSetting(path="/*/v1/alert-preferences/**"),
            PathSetting(path="/*/v1/alert-history/**"),
            PathSetting(path="/*/v1/realtime-events/**"),
        ),
        description="where institutionCustomerId is a header instead of a query parameter",
    )
    institution_users_path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)+$")] = Field(
        "/db-users/v1/institution-users",
        description="where business users are looked up; some bases have /v1/institution-users",
    )


class LegacySettings(Section):
    """What V1 token calls say about the application."""

    user_agent: (
        Annotated[
            str, Field(pattern=r"^[\x21-\x3a\x3c-\x7e]+/[\x21-\x3a\x3c-\x7e]+(;[\x20-\x7e]+)?$")
        ]
        | None
    ) = Field(None, description="{App}/{Version}[/{DeviceID}][;{Platform}]")
    originating_ip: IPvAnyAddress | None = Field(
        None, description="the address of the device that calls, for V1 token calls"
    )
    offering_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = Field(
        None, description="the name of the client application, for V1 token calls"
    )


class UserSettings(Section):
    """For whom calls are made that name nobody."""

    host_user_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the retail user of calls that name none"
    )
    login_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the user of calls that name none, by login; retail or business"
    )
    member_number: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="TIN or EIN of a business user, who is then looked up"
    )
    institution_customer_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = Field(
        None, description="the business of login_id, where its id is known"
    )

    def user_errors(self, path: str) -> list[str]:
        """Return what does not fit together, each with its path below ``path``."""
        errors = []
        if self.host_user_id and self.login_id:
            errors.append(f"{path}host_user_id: set host_user_id or login_id, not both")
        if self.member_number and not self.login_id:
            errors.append(f"{path}member_number: is looked up by login_id, which is not set")
        if self.member_number and self.institution_customer_id:
            errors.append(f"{path}member_number: institution_customer_id is set already")
        return errors


class LoginSettings(UserSettings):
    """With what the tokens of one institution are obtained, and for whom its calls are made."""

    client_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the Shared Key"
    )
    client_id_file: Path | None = Field(None, description="a file with the Shared Key")
    client_secret: Secret | None = Field(None, description="the Secret Key; for development")
    client_secret_file: Path | None = Field(None, description="a file with the Secret Key")
    grant: Literal["client_credentials", "password", "authorization_code"] | None = Field(
        None, description="password if a username is set, else client_credentials"
    )
    username: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="of the password grant"
    )
    password: Secret | None = Field(None, description="for development; else password_file")
    password_file: Path | None = Field(None, description="a file with the password")
    scopes: str | None = Field(None, description="of V2 tokens; all that are allowed if left out")

    @property
    def chosen_grant(self) -> type[Grant]:
        """The grant that is set, or the one that the other settings mean."""
        if self.grant is not None:
            return CONFIGURABLE[self.grant]
        return Password if self.username else ClientCredentials

    def errors(self, path: str, *, needs_client: bool) -> list[str]:
        """Return what does not fit together, each with its path below ``path``."""
        errors = []
        for first, second in (
            ("client_id", "client_id_file"),
            ("client_secret", "client_secret_file"),
            ("password", "password_file"),
        ):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                errors.append(f"{path}{first}: set either {first} or {second}, not both")
        has_id = self.client_id is not None or self.client_id_file is not None
        has_secret = self.client_secret is not None or self.client_secret_file is not None
        if not has_id and (needs_client or has_secret):
            errors.append(f"{path}client_id: set either client_id or client_id_file")
        if not has_secret and (needs_client or has_id):
            errors.append(f"{path}client_secret: set either client_secret or client_secret_file")
        return errors + self._grant_errors(path) + self.user_errors(path)

    def _grant_errors(self, path: str) -> list[str]:
        chosen, errors = self.chosen_grant, []
        for name in chosen.fields:
            if not self._is_set(name, chosen):
                either = f"set either {name} or {name}_file"
                needed = f"the {chosen.name} grant needs one"
                errors.append(f"{path}{name}: {either if name in chosen.secrets else needed}")
        for other in CONFIGURABLE.values():
            strange = [name for name in other.fields if name not in chosen.fields]
            if any(self._is_set(name, other) for name in strange):
                only = f"only the {other.name} grant takes {' and '.join(other.fields)}"
                errors.append(f"{path}{strange[0]}: {only}")
        return errors

    def _is_set(self, name: str, grant: type[Grant]) -> bool:
        is_in_file = name in grant.secrets and getattr(self, f"{name}_file") is not None
        return is_in_file or bool(getattr(self, name))
