"""Which login gets the tokens of an institution."""

from dataclasses import dataclass, field

from proxy.tokens.grants import Login
from proxy.tokens.token import TokenKey


@dataclass(frozen=True, slots=True)
class Logins:
    """With what tokens are obtained: the default institution's login, and those of their own.

    An allowed institution without a login of its own is served with the default's credentials,
    but never as its user: a user belongs to one institution.
    """

    default: Login
    by_institution: dict[str, Login] = field(default_factory=dict)
    default_institution: str = ""

    def for_key(self, key: TokenKey) -> Login:
        """Return the login for the tokens of ``key``."""
        if key.institution in self.by_institution:
            return self.by_institution[key.institution]
        if key.institution == self.default_institution:
            return self.default
        return Login(self.default.credentials, scopes=self.default.scopes)
