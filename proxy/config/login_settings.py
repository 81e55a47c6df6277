"""The settings of logins: credentials and grant of an institution, and the user of its calls."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from proxy.config.setting_types import ClientId, Secret, Section
from proxy.settings import Name
from proxy.tokens.client_authentication import AuthMethod
from proxy.tokens.grants import CONFIGURABLE, ClientCredentials, Grant, Password


class UserSettings(Section):
    """The user of calls that name none."""

    host_user_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Retail user of calls that name no user (hostUserId)."
    )
    login_id: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Login of the user of calls that name no user; retail or business."
    )
    member_number: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="TIN or EIN by which the business of `login_id` is looked up.",
    )
    institution_customer_id: Name | None = Field(
        None,
        description="Id of the business of `login_id`, instead of a look-up.",
    )

    def user_errors(self, path: str) -> list[str]:
        """Return errors between settings; names begin with ``path``."""
        errors = []
        if self.host_user_id and self.login_id:
            errors.append(f"{path}host_user_id: set host_user_id or login_id, not both")
        if self.member_number and not self.login_id:
            errors.append(
                f"{path}member_number: needs {path}login_id, by which the user is looked up"
            )
        if self.member_number and self.institution_customer_id:
            errors.append(
                f"{path}member_number: set member_number or institution_customer_id, not both"
            )
        return errors


class LoginSettings(UserSettings):
    """The login of one institution, and the user of its calls."""

    client_id: Annotated[ClientId, Field(min_length=1)] | None = Field(
        None, description="Client id (Shared Key)."
    )
    client_id_file: Path | None = Field(None, description="File with the client id.")
    client_secret: Secret | None = Field(
        None,
        description="Client secret (Secret Key), for development. Never in the file.",
    )
    client_secret_file: Path | None = Field(None, description="File with the client secret.")
    client_key_file: Path | None = Field(
        None,
        description="File with the private key (PEM) for `token.auth_method: private_key_jwt`.",
    )
    client_key_id: Name | None = Field(
        None, description="Id of that key at the server (`kid`), if it has one."
    )
    grant: Literal["client_credentials", "password", "authorization_code"] | None = Field(
        None,
        description="OAuth 2.0 grant; `password` if `username` is set, else `client_credentials`.",
    )
    username: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="User name for the password grant."
    )
    password: Secret | None = Field(
        None, description="Password for the password grant, for development. Never in the file."
    )
    password_file: Path | None = Field(
        None, description="File with the password for the password grant."
    )
    scopes: str | None = Field(
        None,
        description="Scopes of V2 tokens, separated by spaces; all permitted ones if left out.",
    )

    @property
    def has_login(self) -> bool:
        """Whether any setting of a login is given, and not only a user of calls."""
        own = LoginSettings.model_fields.keys() - UserSettings.model_fields.keys()
        return any(getattr(self, name) is not None for name in own)

    @property
    def chosen_grant(self) -> type[Grant]:
        """The configured grant, or the one implied by the other settings."""
        if self.grant is not None:
            return CONFIGURABLE[self.grant]
        return Password if self.username else ClientCredentials

    @property
    def has_client_secret(self) -> bool:
        """Whether a client secret is set, itself or its file."""
        return self.client_secret is not None or self.client_secret_file is not None

    def method_errors(self, path: str, method: AuthMethod) -> Iterator[str]:
        """Yield an error if what proves the client does not fit ``token.auth_method``."""
        if method is AuthMethod.PRIVATE_KEY_JWT and self.has_client_secret:
            yield f"{path}client_key_file: needed for token.auth_method: {method.value}"
        if method is not AuthMethod.PRIVATE_KEY_JWT and self.client_key_file is not None:
            yield f"{path}client_key_file: needs token.auth_method: private_key_jwt"

    def errors(self, path: str, *, needs_client: bool) -> list[str]:
        """Return errors between settings; names begin with ``path``."""
        errors = []
        for first, second in (
            ("client_id", "client_id_file"),
            ("client_secret", "client_secret_file"),
            ("password", "password_file"),
        ):
            if getattr(self, first) is not None and getattr(self, second) is not None:
                errors.append(f"{path}{first}: set either {first} or {second}, not both")
        has_id = self.client_id is not None or self.client_id_file is not None
        has_secret = self.has_client_secret or self.client_key_file is not None
        if not has_id and (needs_client or has_secret):
            errors.append(f"{path}client_id: set either client_id or client_id_file")
        if not has_secret and (needs_client or has_id):
            errors.append(f"{path}client_secret: set either client_secret or client_secret_file")
        if self.has_client_secret and self.client_key_file is not None:
            errors.append(f"{path}client_key_file: needs no client_secret; set one of them")
        if self.client_key_id is not None and self.client_key_file is None:
            errors.append(f"{path}client_key_id: needs {path}client_key_file")
        return errors + self._grant_errors(path) + self.user_errors(path)

    def _grant_errors(self, path: str) -> list[str]:
        chosen, errors = self.chosen_grant, []
        for name in chosen.fields:
            if not self._is_set(name, chosen):
                either = f"set either {name} or {name}_file"
                needed = f"needed for grant: {chosen.name}"
                errors.append(f"{path}{name}: {either if name in chosen.secrets else needed}")
        for other in CONFIGURABLE.values():
            strange = [name for name in other.fields if name not in chosen.fields]
            if any(self._is_set(name, other) for name in strange):
                only = f"{' and '.join(other.fields)} are for grant: {other.name}"
                errors.append(f"{path}{strange[0]}: {only}")
        return errors

    def _is_set(self, name: str, grant: type[Grant]) -> bool:
        is_in_file = name in grant.secrets and getattr(self, f"{name}_file") is not None
        return is_in_file or bool(getattr(self, name))
