"""Every cause that the doctor reports, with its text and its fix.

A cause that requests can have too is a kind of ``proxy.errors.kinds``, with that kind's name and
remedy; the others are the doctor's own. Checks fill in the values in braces: a file, a setting, a
status; never a secret.
"""

from dataclasses import dataclass
from typing import Self

from proxy.errors import ErrorKind, kinds
from proxy.tokens.secret_content import PROBLEMS


# Compared by identity, as kinds are.
@dataclass(frozen=True, slots=True, eq=False)
class Remedy:
    """A cause: its stable name, what was found, and the fix.

    ``is_warning``: the proxy works nevertheless.
    """

    name: str
    text: str
    fix: str
    is_warning: bool = False
    kind: ErrorKind | None = None

    @classmethod
    def of(cls, kind: ErrorKind, text: str, *, is_warning: bool = False) -> Self:
        """Return the cause for a kind of error, with ``text`` for what was found."""
        return cls(kind.name, text, kind.remedy, is_warning, kind)


# The configuration.

CONFIG_UNREADABLE = Remedy(
    "config-unreadable",
    "{error}.",
    "Set --config or CANDESCENT_CONFIG to the right file, or make one with candescent-proxy init.",
)
CONFIG_INVALID = Remedy(
    "config-invalid",
    "{error}.",
    "Correct the setting; docs/configuration.md describes all of them.",
)
CONFIG_OVERRIDDEN = Remedy(
    "config-overridden",
    "{variable} in the environment overrides {setting} in {file}.",
    "To use the value in the file: unset {variable}.",
    is_warning=True,
)
CONFIG_WRITABLE = Remedy(
    "config-writable",
    "{file} can be changed by others on this machine, who could redirect your requests.",
    "chmod go-w {file}",
    is_warning=True,
)
FILE_UNUSABLE = Remedy(
    "file-unusable",
    "{error}.",
    "Replace the file, or set the path of the right one.",
)

# Files with secrets.

SECRET_MISSING = Remedy(
    "secret-missing",
    "{setting}: {file} does not exist.",
    "Write the secret into it, or set {setting} to the file that contains it.",
)
SECRET_UNREADABLE = Remedy(
    "secret-unreadable",
    "{setting}: {file} cannot be read ({why}).",
    "Make it a regular file that belongs to the user who runs the proxy.",
)
SECRET_EXPOSED = Remedy(
    "secret-exposed",
    "{setting}: {file} can be read or changed by others on this machine (mode {mode}).",
    "chmod 600 {file}",
    is_warning=True,
)
LOGIN_FOLDER = Remedy(
    "login-folder",
    "{setting}: {folder} is not writable.",
    "Create the folder, owned by the user who runs the proxy.",
)
TOKEN_LOGIN_NEEDED = Remedy.of(
    kinds.TOKEN_LOGIN_NEEDED,
    "{key}: no user is logged in, or the login has expired.",
)

# The network, from DNS to HTTP.

UPSTREAM_RESOLVE = Remedy.of(
    kinds.UPSTREAM_RESOLVE,
    "The name {host} does not resolve.{tried}",
)
UPSTREAM_RESOLVE_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_RESOLVE_TIMEOUT,
    "DNS does not resolve the name {host} within {seconds} s.",
)
UPSTREAM_CONNECT = Remedy.of(
    kinds.UPSTREAM_CONNECT,
    "{host}:{port} refuses connections.{tried}",
)
UPSTREAM_CONNECT_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_CONNECT_TIMEOUT,
    "{host}:{port} does not accept a connection within {seconds} s.{tried}",
)
UPSTREAM_UNREACHABLE = Remedy.of(
    kinds.UPSTREAM_UNREACHABLE,
    "The network does not reach {host}:{port}.{tried}",
)
ADDRESS_FAILED = Remedy(
    "address-failed",
    "The address {address} of {host} gives no connection ({why}); {used} does, and is used.",
    "Tell the operators of {host}, or of the network; each new start waits a quarter of a second "
    "for this address.",
    is_warning=True,
)
PROXY_UNSET = Remedy(
    "proxy-unset",
    "{host}:{port} cannot be reached.{tried} {variable} names a proxy, {offered}, which is not "
    "used.",
    "Set upstream.proxy: environment",
)
UPSTREAM_PROXY_RESOLVE = Remedy.of(
    kinds.UPSTREAM_PROXY_RESOLVE,
    "The name of the outbound proxy {proxy} does not resolve.{tried}",
)
UPSTREAM_PROXY_CONNECT = Remedy.of(
    kinds.UPSTREAM_PROXY_CONNECT,
    "The outbound proxy {proxy} cannot be reached.{tried}",
)
UPSTREAM_PROXY_LOGIN = Remedy.of(
    kinds.UPSTREAM_PROXY_LOGIN,
    "The outbound proxy {proxy} requires a user and password, or other ones (407).",
)
UPSTREAM_PROXY_SCHEME = Remedy.of(
    kinds.UPSTREAM_PROXY_SCHEME,
    "The outbound proxy {proxy} requires authentication (407). {why}",
)
UPSTREAM_PROXY_TLS = Remedy.of(
    kinds.UPSTREAM_PROXY_TLS,
    "The outbound proxy {proxy} does not complete the TLS handshake. {why}",
)
UPSTREAM_PROXY_REFUSED = Remedy.of(
    kinds.UPSTREAM_PROXY_REFUSED,
    "The outbound proxy {proxy} refused to connect to {host}:{port}. {why}",
)
UPSTREAM_PROXY_NO_CONNECTION = Remedy.of(
    kinds.UPSTREAM_PROXY_NO_CONNECTION,
    "The outbound proxy {proxy} does not reach {host}:{port}. {why}",
)
UPSTREAM_PROXY_MALFORMED = Remedy.of(
    kinds.UPSTREAM_PROXY_MALFORMED,
    "The outbound proxy {proxy} does not speak the protocol of its URL.",
)
UPSTREAM_PROXY_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_PROXY_TIMEOUT,
    "The outbound proxy {proxy} did not connect within {seconds} s.{tried}",
)
UPSTREAM_TLS_SELF_SIGNED = Remedy.of(
    kinds.UPSTREAM_TLS_SELF_SIGNED,
    "{host}:{port} shows a self-signed certificate.",
)
UPSTREAM_TLS_UNTRUSTED = Remedy.of(
    kinds.UPSTREAM_TLS_UNTRUSTED,
    "{host}:{port} shows a certificate of an authority that is not trusted here ({why}).",
)
UPSTREAM_TLS_EXPIRED = Remedy.of(
    kinds.UPSTREAM_TLS_EXPIRED,
    "The certificate of {host}:{port} expired on {until}.",
)
UPSTREAM_TLS_NOT_YET_VALID = Remedy.of(
    kinds.UPSTREAM_TLS_NOT_YET_VALID,
    "The certificate of {host}:{port} is not valid before {since}; this machine's clock says "
    "{now}.",
)
UPSTREAM_TLS_NAME = Remedy.of(
    kinds.UPSTREAM_TLS_NAME,
    "The certificate of {host}:{port} is for {names}, not for {host}.",
)
UPSTREAM_TLS_PLAIN_HTTP = Remedy.of(
    kinds.UPSTREAM_TLS_PLAIN_HTTP,
    "{host}:{port} speaks plain HTTP, not TLS.",
)
UPSTREAM_TLS_CLIENT_CERTIFICATE = Remedy.of(
    kinds.UPSTREAM_TLS_CLIENT_CERTIFICATE,
    "{host}:{port} requires a client certificate, or another one.",
)
UPSTREAM_TLS_VERSION = Remedy.of(
    kinds.UPSTREAM_TLS_VERSION,
    "{host}:{port} and this machine have no common TLS version or cipher ({why}).",
)
UPSTREAM_TLS_REVOKED = Remedy.of(
    kinds.UPSTREAM_TLS_REVOKED,
    "The certificate of {host}:{port} is revoked, or cannot be checked ({why}).",
)
UPSTREAM_TLS_UNSUITABLE = Remedy.of(
    kinds.UPSTREAM_TLS_UNSUITABLE,
    "The certificate of {host}:{port}, or one of its chain, is too weak or not made for a server "
    "({why}).",
)
UPSTREAM_TLS_INCOMPLETE = Remedy.of(
    kinds.UPSTREAM_TLS_INCOMPLETE,
    "The certificate of {host}:{port}, or one of its chain, lacks a field that RFC 5280 requires "
    "({why}).",
)
UPSTREAM_TLS_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_TLS_TIMEOUT,
    "{host}:{port} accepts connections, and does not complete the TLS handshake within {seconds} "
    "s.{tried}",
)
UPSTREAM_TLS = Remedy.of(
    kinds.UPSTREAM_TLS,
    "The TLS handshake with {host}:{port} failed ({why}).",
)
PLAIN_TLS = Remedy(
    "plain-tls",
    "{host}:{port} uses TLS, but base_url begins with http://.",
    "Set base_url to https://.",
)
UPSTREAM_MALFORMED = Remedy.of(
    kinds.UPSTREAM_MALFORMED,
    "The response of {host}:{port} is not HTTP.",
)
UPSTREAM_CLOSED = Remedy.of(
    kinds.UPSTREAM_CLOSED,
    "{host}:{port} closes the connection without a response.",
)
UPSTREAM_FIRST_BYTE_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_FIRST_BYTE_TIMEOUT,
    "{host}:{port} accepts the connection but does not respond within {seconds} s.",
    is_warning=True,
)
CLOCK = Remedy(
    "clock",
    "This machine's clock is {seconds} s {direction} the bank's.",
    "Synchronise the clock (timedatectl set-ntp true; on Windows w32tm /resync).",
    is_warning=True,
)

# Tokens.

TOKEN_BAD_CLIENT = Remedy.of(
    kinds.TOKEN_BAD_CLIENT,
    "{key}: the bank refused the client id and secret ({said}).",
)
TOKEN_BAD_INSTITUTION = Remedy.of(
    kinds.TOKEN_BAD_INSTITUTION,
    "{key}: the bank refused the institution for this application ({said}).",
)
TOKEN_BAD_USER = Remedy.of(
    kinds.TOKEN_BAD_USER,
    "{key}: the bank refused the user ({said}).",
)
TOKEN_BAD_REQUEST = Remedy.of(
    kinds.TOKEN_BAD_REQUEST,
    "{key}: the bank refused the token request ({said}).",
)
TOKEN_THROTTLED = Remedy.of(
    kinds.TOKEN_THROTTLED,
    "{key}: the quota or spike limit for tokens is used up ({said}).",
)
TOKEN_SERVER = Remedy.of(
    kinds.TOKEN_SERVER,
    "{key}: the bank's token endpoint is failing ({said}).",
)
TOKEN_TIMEOUT = Remedy.of(
    kinds.TOKEN_TIMEOUT,
    "{key}: the token endpoint did not respond within {seconds} s.",
)
TOKEN_UNREACHABLE = Remedy.of(
    kinds.TOKEN_UNREACHABLE,
    "{key}: {why}",
)
TOKEN_MALFORMED = Remedy.of(
    kinds.TOKEN_MALFORMED,
    "{key}: the token endpoint returned a response without a usable token ({said}).",
)
TOKEN_PATH = Remedy(
    "token-path",
    "{key}: there is no token endpoint at {url} ({said}).",
    "Check the path of base_url: production has /digitalbanking, stage /digitalbanking/stage.",
)
TOKEN_PAGE = Remedy(
    "token-page",
    "{key}: the response is a web page instead of a token ({said}).",
    "Check host, port and path of base_url: another web server answers there. If they are right, "
    "a network login or a firewall does: log in with a browser, or set upstream.proxy.",
)
TOKEN_REDIRECT = Remedy(
    "token-redirect",
    "{key}: the token endpoint redirects ({said}).",
    "If the target is the bank, set base_url to it; if it is a login page of this network, log in "
    "with a browser.",
)
TOKEN_REPLACED = Remedy(
    "token-replaced",
    "{key}: a new token invalidates the one before, so two proxies refuse each other's callers.",
    "Run one proxy for this client id, share tokens in a store (store.url), or give each proxy a "
    "client id of its own. If a proxy runs, this check has replaced its token; it fetches another.",
    is_warning=True,
)
V1_REFUSED = Remedy(
    "v1-refused",
    "{key}: the client id is accepted for V2 tokens, but not for V1 ({said}).",
    "Ask the bank to enable V1 for the application; or remove v1 from token.prefetch and routes, "
    "if no call has a path under /fis/.",
)

# The sample call.

CALL_TOKEN_REFUSED = Remedy(
    "call-token-refused",
    "{call}: the bank refused the token that it has just issued ({said}).",
    "Check that base_url is the environment to which client id and secret belong.",
)
CALL_FORBIDDEN = Remedy(
    "call-forbidden",
    "{call}: the application may not use this resource ({said}).",
    "Ask the bank to add it to the application's products, or try another with --call PATH.",
    is_warning=True,
)
CALL_THROTTLED = Remedy(
    "call-throttled",
    "{call}: the quota or spike limit is used up ({said}).",
    "Wait and run the doctor again.",
    is_warning=True,
)
CALL_PATH = Remedy(
    "call-path",
    "{call}: there is nothing at this path ({said}).",
    "Check the path of base_url, or try another resource with --call PATH.",
    is_warning=True,
)
CALL_SERVER = Remedy(
    "call-server",
    "{call}: the bank is failing ({said}).",
    "Wait, and check the bank's status page. The proxy's configuration is not the cause.",
)
CALL_PAGE = Remedy(
    "call-page",
    "{call}: the response is a web page ({said}).",
    "A firewall or gateway passes token calls but not this one: ask its administrator.",
)
CALL_NO_RESPONSE = Remedy(
    "call-no-response",
    "{call}: no response. {why}",
    "Wait and run the doctor again; the token call succeeded.",
)

# The store of a fleet.

STORE_UNREACHABLE = Remedy(
    "store-unreachable",
    "The store {store} cannot be reached; each proxy fetches its own tokens meanwhile.",
    "Check store.url, and that the store is running.",
    is_warning=True,
)
STORE_TIMEOUT = Remedy(
    "store-timeout",
    "The store {store} does not respond within {seconds} s.",
    "Check whether it uses TLS (rediss://) or not (redis://), and its load; if it is far away, "
    "raise store.timeout.",
    is_warning=True,
)
STORE_TLS = Remedy(
    "store-tls",
    "The certificate of the store {store} is not trusted, or for another name.",
    "Set store.ca_file to its authority, and use the certificate's name in store.url.",
    is_warning=True,
)
STORE_LOGIN = Remedy(
    "store-login",
    "The store {store} refuses the user or the password.",
    "Check store.username and store.password_file.",
    is_warning=True,
)
STORE_FORBIDDEN = Remedy(
    "store-forbidden",
    "The store {store} does not permit this user to run scripts or use the proxy's records.",
    "Allow it: ACL SETUSER … ~{prefix}:* +eval +evalsha +hget +hset +hdel +hkeys +type +del "
    "+pttl +pexpire +time",
    is_warning=True,
)
STORE_READ_ONLY = Remedy(
    "store-read-only",
    "The store {store} is a read-only replica.",
    "Set store.url to the primary or to its Sentinels.",
    is_warning=True,
)
STORE_FULL = Remedy(
    "store-full",
    "The store {store} is full and evicts nothing.",
    "Raise maxmemory, or set a maxmemory-policy that evicts keys.",
    is_warning=True,
)
STORE_FAILING = Remedy(
    "store-failing",
    "The store {store} responds with an error, or is starting.",
    "Check the store's log.",
    is_warning=True,
)

# This machine.

PORT_TAKEN = Remedy(
    "port-taken",
    "{setting}: {address} is in use by another program{other}.",
    "Find it ({find}) and stop it, or set {setting} to another address{flag}.",
)
PORT_FORBIDDEN = Remedy(
    "port-forbidden",
    "{setting}: this user may not listen on {address}.",
    "Set {setting} to a port from 1024 on.",
)
PORT_ADDRESS = Remedy(
    "port-address",
    "{setting}: {address} is not an address of this machine ({why}).",
    "Set {setting} to 127.0.0.1, or to an address that this machine has.",
)
SOCKET_FOLDER = Remedy(
    "socket-folder",
    "{setting}: the socket's folder {folder} does not exist.",
    "Create it, owned by the user who runs the proxy.",
)
OPEN_FILES = Remedy(
    "open-files",
    "This user may open {limit} files, but the configured connections need {needed}.",
    "ulimit -n {needed}; as a service, LimitNOFILE={needed}.",
    is_warning=True,
)
CERTIFICATE_EXPIRED = Remedy(
    "certificate-expired",
    "{setting}: {file} expired on {until}.",
    "candescent-proxy certificate --renew, or a new certificate from its issuer.",
)
CERTIFICATE_EXPIRING = Remedy(
    "certificate-expiring",
    "{setting}: {file} expires on {until}.",
    "candescent-proxy certificate --renew, or a new certificate from its issuer.",
    is_warning=True,
)

SECRET_CONTENT = {
    problem: Remedy(
        problem.name, f"{{setting}}: {{file}} {problem.text}.", problem.fix, problem.is_doubt
    )
    for problem in PROBLEMS
}
"""The causes in the content of a secret file."""

REMEDIES = {
    remedy.name: remedy
    for remedy in [*globals().values(), *SECRET_CONTENT.values()]
    if isinstance(remedy, Remedy)
}
"""Every cause by its name; names are stable between releases."""
BY_KIND = {remedy.kind: remedy for remedy in REMEDIES.values() if remedy.kind is not None}
"""The causes with a kind of error, by that kind."""
