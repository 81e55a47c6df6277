"""What each part is told, out of the configuration: one function a part."""

import time
from collections.abc import Callable

from proxy import __version__, clock
from proxy.bank_client import BankClient
from proxy.business import BusinessDirectory, Users
from proxy.config import Config
from proxy.credentials import Logins
from proxy.ids import new_transaction_id
from proxy.policy import Policy
from proxy.sections import LoginSettings
from proxy.tokens.endpoint import BankEndpoint
from proxy.tokens.grants import Caller
from proxy.tokens.refresh_tokens import RefreshTokens
from proxy.tokens.token import RefreshPolicy
from proxy.upstream import Deadlines, Limits
from proxy.users import HeaderPaths, UserContext

USER_AGENT = f"candescent-proxy/{__version__}"


def refresh_policy(config: Config) -> RefreshPolicy:
    """Return the refresh policy that the configuration describes."""
    names = RefreshPolicy.__dataclass_fields__.keys() & type(config.token).model_fields.keys()
    return RefreshPolicy(**{name: getattr(config.token, name) for name in names})


def endpoint(
    config: Config, logins: Logins, bank: BankClient, complain: Callable[[str], None]
) -> BankEndpoint:
    """Return the source that asks the bank, as the configuration describes it."""
    v1 = config.v1
    return BankEndpoint(
        bank,
        logins.for_key,
        RefreshTokens(clock.now, config.refresh_token_file),
        clock=clock.now,
        new_id=new_transaction_id,
        caller=Caller(
            v1.user_agent or USER_AGENT, str(v1.originating_ip or ""), v1.offering_id or ""
        ),
        complain=complain,
    )


def user_context(login: LoginSettings) -> UserContext:
    """Return for whom the calls of an institution are made."""
    return UserContext(
        host_user_id=login.host_user_id or "",
        login_id=login.login_id or "",
        member_number=login.member_number or "",
        customer_id=login.institution_customer_id or "",
    )


def policy(config: Config) -> Policy:
    """Return which resources callers may use."""
    return Policy(
        tuple(path.pattern for path in config.access.allow),
        tuple(path.pattern for path in config.access.deny),
        config.access.mode == "enforce",
    )


def limits(config: Config) -> Limits:
    """Return the bounds on upstream connections."""
    upstream = config.upstream
    return Limits(
        max_connections=upstream.max_connections,
        max_waiting=upstream.max_waiting,
        max_wait=upstream.max_wait,
        connect_timeout=upstream.connect_timeout,
        max_idle_age=upstream.max_idle_age,
        max_age=upstream.max_age,
    )


def deadlines(config: Config) -> Deadlines:
    """Return the deadlines of an exchange with the bank."""
    upstream = config.upstream
    return Deadlines(
        first_byte=upstream.first_byte_timeout,
        idle=upstream.idle_timeout,
        total=upstream.total_timeout,
    )


def users(config: Config, bank: BankClient) -> Users | None:
    """Return what names the users of calls, or None where no user is configured."""
    contexts = {name: user_context(login) for name, login in config.logins()}
    contexts = {name: context for name, context in contexts.items() if not context.is_empty}
    if not contexts:
        return None
    directory = BusinessDirectory(bank, new_id=new_transaction_id, timer=time.monotonic)
    paths = tuple(path.pattern for path in config.headers.customer_id_paths)
    return Users(contexts, HeaderPaths(paths), directory)
