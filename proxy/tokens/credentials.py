"""The login for each institution."""

from dataclasses import dataclass, field

from proxy.tokens.grants import Login
from proxy.tokens.token import TokenKey


@dataclass(frozen=True, slots=True)
class Logins:
    """The default institution's login, and the logins of other institutions and of listeners.

    An allowed institution without its own login uses the default's client credentials, but never
    its user, because a user belongs to one institution.
    """

    default: Login
    by_institution: dict[str, Login] = field(default_factory=dict)
    default_institution: str = ""
    by_subject: dict[str, Login] = field(default_factory=dict)

    def for_key(self, key: TokenKey) -> Login:
        """Return the login for the tokens of ``key``. Raises ``KeyError`` for a lost subject."""
        if key.subject:
            return self.by_subject[key.subject]
        if key.institution in self.by_institution:
            return self.by_institution[key.institution]
        if key.institution == self.default_institution:
            return self.default
        return Login(self.default.credentials, scopes=self.default.scopes)
