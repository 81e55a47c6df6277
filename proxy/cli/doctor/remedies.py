"""Every cause that the doctor knows: what it has seen, and the remedy.

A cause that requests have too is a kind of ``proxy.errors.kinds``, with that kind's name and
remedy; the others are the doctor's own. In braces stands what a check has seen: a file, a setting,
a status. Never a secret.
"""

from dataclasses import dataclass
from typing import Self

from proxy.errors import ErrorKind, kinds


# Compared by identity, as kinds are.
@dataclass(frozen=True, slots=True, eq=False)
class Remedy:
    """A cause by its stable name: what is seen, and what cures it.

    ``is_warning``: the proxy works all the same.
    """

    name: str
    text: str
    cure: str
    is_warning: bool = False
    kind: ErrorKind | None = None

    @classmethod
    def of(cls, kind: ErrorKind, text: str, *, is_warning: bool = False) -> Self:
        """Return the cause that is this kind of error, with ``text`` for what is seen."""
        return cls(kind.name, text, kind.remedy, is_warning, kind)


# The configuration.

CONFIG_UNREADABLE = Remedy(
    "config-unreadable",
    "{error}.",
    "Name the right file with --config or CANDESCENT_CONFIG, or write one with candescent-proxy "
    "init.",
)
CONFIG_MISTAKE = Remedy(
    "config-mistake",
    "{error}.",
    "Correct it; docs/configuration.md has every setting and its meaning.",
)
CONFIG_OVERRIDDEN = Remedy(
    "config-overridden",
    "{variable} in the environment takes the place of {setting} in {file}.",
    "If you mean the file: unset {variable}.",
    is_warning=True,
)
CONFIG_WRITABLE = Remedy(
    "config-writable",
    "{file} can be changed by others on this machine, who could send your requests elsewhere.",
    "chmod go-w {file}",
    is_warning=True,
)
FILE_UNUSABLE = Remedy(
    "file-unusable",
    "{error}.",
    "Put the right file there, or name the one that is.",
)

# Files with secrets.

SECRET_MISSING = Remedy(
    "secret-missing",
    "{setting}: {file} is not there.",
    "Write the secret into it, or let {setting} name the file that holds it.",
)
SECRET_UNREADABLE = Remedy(
    "secret-unreadable",
    "{setting}: {file} cannot be read ({why}).",
    "Let it be a plain file that belongs to the user who runs the proxy.",
)
SECRET_EMPTY = Remedy(
    "secret-empty",
    "{setting}: {file} is empty.",
    "Write the secret into it: one line, nothing else.",
)
SECRET_MARK = Remedy(
    "secret-mark",
    "{setting}: {file} is not plain text; it begins with a byte-order mark.",
    "Save it as ASCII without a mark; in PowerShell with Set-Content -Encoding ascii.",
)
SECRET_LINES = Remedy(
    "secret-lines",
    "{setting}: {file} holds {count} lines.",
    "Leave only the line with the secret.",
)
SECRET_LETTERS = Remedy(
    "secret-letters",
    "{setting}: {file} holds something that is no printable ASCII.",
    "Copy the secret anew, as the console shows it: one line of plain letters and signs.",
)
SECRET_WRAPPED = Remedy(
    "secret-wrapped",
    "{setting}: what {file} holds begins or ends with a {what}, and that is sent along.",
    "Take the {what} away, unless the console shows it too.",
    is_warning=True,
)
SECRET_EXPOSED = Remedy(
    "secret-exposed",
    "{setting}: {file} can be read or changed by others on this machine (mode {mode}).",
    "chmod 600 {file}",
    is_warning=True,
)
LOGIN_FOLDER = Remedy(
    "login-folder",
    "refresh_token_file: nothing can be written in {folder}.",
    "Make the folder, and let it belong to the user who runs the proxy.",
)
TOKEN_LOGIN_NEEDED = Remedy.of(
    kinds.TOKEN_LOGIN_NEEDED,
    "{key}: nobody is logged in, or the login has expired.",
)

# The network, from DNS to HTTP.

UPSTREAM_RESOLVE = Remedy.of(
    kinds.UPSTREAM_RESOLVE,
    "The name {host} does not resolve ({why}).",
)
UPSTREAM_CONNECT = Remedy.of(
    kinds.UPSTREAM_CONNECT,
    "{host}:{port} refuses connections.",
)
UPSTREAM_CONNECT_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_CONNECT_TIMEOUT,
    "{host}:{port} does not accept a connection within {seconds} s.",
)
UPSTREAM_UNREACHABLE = Remedy.of(
    kinds.UPSTREAM_UNREACHABLE,
    "The network does not reach {host}:{port} ({why}).",
)
PROXY_UNSET = Remedy(
    "proxy-unset",
    "{host}:{port} is not reached, and {variable} names an HTTP proxy, which this program does "
    "not read.",
    "Set upstream.proxy: {proxy}",
)
UPSTREAM_PROXY_RESOLVE = Remedy.of(
    kinds.UPSTREAM_PROXY_RESOLVE,
    "The name of the outbound proxy {proxy} does not resolve.",
)
UPSTREAM_PROXY_CONNECT = Remedy.of(
    kinds.UPSTREAM_PROXY_CONNECT,
    "The outbound proxy {proxy} cannot be reached.",
)
UPSTREAM_PROXY_LOGIN = Remedy.of(
    kinds.UPSTREAM_PROXY_LOGIN,
    "The outbound proxy {proxy} requires a user and password, or other ones (407).",
)
UPSTREAM_PROXY_REFUSED = Remedy.of(
    kinds.UPSTREAM_PROXY_REFUSED,
    "The outbound proxy {proxy} refused to connect to {host}:{port}. {why}",
)
UPSTREAM_PROXY_MALFORMED = Remedy.of(
    kinds.UPSTREAM_PROXY_MALFORMED,
    "The response of the outbound proxy {proxy} is not HTTP.",
)
UPSTREAM_PROXY_TIMEOUT = Remedy.of(
    kinds.UPSTREAM_PROXY_TIMEOUT,
    "The outbound proxy {proxy} did not connect within {seconds} s.",
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
UPSTREAM_TLS = Remedy.of(
    kinds.UPSTREAM_TLS,
    "The TLS handshake with {host}:{port} failed ({why}).",
)
PLAIN_TLS = Remedy(
    "plain-tls",
    "{host}:{port} speaks TLS, and base_url says http://.",
    "Write https:// in base_url.",
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
    "Let the clock be set from the network (timedatectl set-ntp true; on Windows w32tm /resync).",
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
    "Check the path of base_url: the bank's own begin with /digitalbanking, and stage has "
    "/digitalbanking/stage.",
)
TOKEN_PAGE = Remedy(
    "token-page",
    "{key}: a web page came in place of a token ({said}).",
    "Something stands between: log in to this network with a browser, or set upstream.proxy.",
)
TOKEN_REDIRECT = Remedy(
    "token-redirect",
    "{key}: the token endpoint sends elsewhere ({said}).",
    "Write where it leads to into base_url, if that is the bank; if it is a log-in page of this "
    "network, log in with a browser.",
)
V1_REFUSED = Remedy(
    "v1-refused",
    "{key}: the keys are good for V2 tokens, and not for V1 ones ({said}).",
    "Ask the bank to enable V1 for the application; or take v1 out of token.prefetch and routes, "
    "if nothing calls paths under /fis/.",
)

# The sample call.

CALL_TOKEN_REFUSED = Remedy(
    "call-token-refused",
    "{call}: the bank refused the token that it has just issued ({said}).",
    "Check that base_url leads to the environment that the keys are for.",
)
CALL_FORBIDDEN = Remedy(
    "call-forbidden",
    "{call}: the application may not use this resource ({said}).",
    "Ask the bank to add it to the application's products; or try another with --call PATH.",
    is_warning=True,
)
CALL_THROTTLED = Remedy(
    "call-throttled",
    "{call}: the quota or spike limit is used up ({said}).",
    "Wait, then look again.",
    is_warning=True,
)
CALL_PATH = Remedy(
    "call-path",
    "{call}: there is nothing at this path ({said}).",
    "Check the path of base_url; or try another resource with --call PATH.",
    is_warning=True,
)
CALL_SERVER = Remedy(
    "call-server",
    "{call}: the bank's side is failing ({said}).",
    "Nothing here is wrong: wait, and look at the bank's status page.",
)
CALL_PAGE = Remedy(
    "call-page",
    "{call}: a web page came in place of an answer ({said}).",
    "Something stands between that knows token calls and not others: ask who keeps it.",
)
CALL_SILENT = Remedy(
    "call-silent",
    "{call}: no answer. {why}",
    "Wait and look again; the token call has come through.",
)

# The store of a fleet.

STORE_UNREACHABLE = Remedy(
    "store-unreachable",
    "The store {store} is not reached; each proxy asks the bank for itself meanwhile.",
    "Check store.url, and that the store runs.",
    is_warning=True,
)
STORE_TIMEOUT = Remedy(
    "store-timeout",
    "The store {store} does not answer within {seconds} s.",
    "See whether it speaks TLS (rediss://) or not (redis://), and what keeps it; if it is far "
    "away, raise store.timeout.",
    is_warning=True,
)
STORE_TLS = Remedy(
    "store-tls",
    "The certificate of the store {store} is not trusted here, or not its own.",
    "Set store.ca_file to its authority, and name the store as its certificate does.",
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
    "The store {store} does not let this user run scripts, or touch its records.",
    "Allow it: ACL SETUSER … ~{prefix}:* +eval +evalsha +hget +hset +hdel +hkeys +type +del "
    "+pttl +pexpire +time",
    is_warning=True,
)
STORE_READ_ONLY = Remedy(
    "store-read-only",
    "The store {store} is a replica, which nothing can be written to.",
    "Name the primary in store.url, or the Sentinels, which know it.",
    is_warning=True,
)
STORE_FULL = Remedy(
    "store-full",
    "The store {store} is full, and forgets nothing.",
    "Give it more memory, or a maxmemory-policy that lets old records go.",
    is_warning=True,
)
STORE_FAILING = Remedy(
    "store-failing",
    "The store {store} answers with an error, or is starting.",
    "Look into its log.",
    is_warning=True,
)

# This machine.

PORT_TAKEN = Remedy(
    "port-taken",
    "{setting}: another program listens on {address}.",
    "Stop it (ss -ltnp shows which it is; on Windows netstat -ano), or set {setting} to another "
    "port.",
)
PORT_FORBIDDEN = Remedy(
    "port-forbidden",
    "{setting}: this user may not listen on {address}.",
    "Set {setting} to a port from 1024 on.",
)
PORT_ADDRESS = Remedy(
    "port-address",
    "{setting}: {address} is no address of this machine ({why}).",
    "Set {setting} to 127.0.0.1, or to an address that this machine has.",
)
SOCKET_FOLDER = Remedy(
    "socket-folder",
    "{setting}: there is no folder {folder} for the socket.",
    "Make it, for the user who runs the proxy.",
)
OPEN_FILES = Remedy(
    "open-files",
    "This user may open {limit} files, and as many connections as configured need {needed}.",
    "ulimit -n {needed}; as a service, LimitNOFILE={needed}.",
    is_warning=True,
)
CERTIFICATE_OVER = Remedy(
    "certificate-over",
    "{setting}: {file} ran out on {until}, and nobody takes it any more.",
    "candescent-proxy certificate --renew, or get a new one from whoever issued it.",
)
CERTIFICATE_ENDING = Remedy(
    "certificate-ending",
    "{setting}: {file} runs out on {until}.",
    "candescent-proxy certificate --renew, or get a new one from whoever issued it.",
    is_warning=True,
)

REMEDIES = {
    remedy.name: remedy for remedy in list(globals().values()) if isinstance(remedy, Remedy)
}
"""Every cause by its name, which does not change from release to release."""
BY_KIND = {remedy.kind: remedy for remedy in REMEDIES.values() if remedy.kind is not None}
"""The causes that are kinds of errors."""
