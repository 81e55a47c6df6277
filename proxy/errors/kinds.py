"""The catalogue of errors: one constant for each kind.

From it come the responses, the advice of the status page, the doctor's results and
docs/troubleshooting.md (`make errors`). A new error is one constant here.

``closes`` follows RFC 9112: the caller's connection ends where the end of its request is not
known (sections 6.3 and 9.3) or where another reader of the same bytes might see it somewhere else
(section 11.2). A well-framed request that is refused for what it asks leaves the connection open.
"""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Whose error a response is; ``NONE`` for a response of the bank's, whatever its status."""

    NONE = "none"
    CALLER = "caller"
    TOKEN = "token"  # noqa: S105 - the word, not a secret
    UPSTREAM = "upstream"
    PROXY = "proxy"


# Compared by identity: two kinds are never equal, whatever they say.
@dataclass(frozen=True, slots=True, eq=False)
class ErrorKind:
    """A kind of error. ``name`` is stable: the last part of a problem's ``type``.

    ``status`` is the response's; 0 for a kind that is only shown, such as a failed reload.
    ``closes`` says that the rest of the caller's connection cannot be trusted. ``cause`` is a
    sentence that says what went wrong, ``remedy`` what a person does about it. ``retry_after`` is
    in seconds, where waiting helps.
    """

    name: str
    status: int
    source: Source
    cause: str
    remedy: str
    closes: bool = False
    retry_after: float | None = None

    @property
    def page(self) -> str:
        """Where the documentation explains this kind."""
        return f"docs/troubleshooting.md#{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class TokenFailure(ErrorKind):
    """Why there is no token. ``is_refusal``: the same credentials would be refused again."""

    is_refusal: bool = False

    @property
    def label(self) -> str:
        """The ``reason`` label of the failure metric."""
        return self.name.removeprefix("token-").replace("-", "_")


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamFailure(ErrorKind):
    """How the exchange with the bank failed."""


def _caller(name: str, status: int, cause: str, remedy: str, *, closes: bool = False) -> ErrorKind:
    return ErrorKind(name, status, Source.CALLER, cause, remedy, closes=closes)


def _token(name: str, cause: str, remedy: str, *, is_refusal: bool = False) -> TokenFailure:
    return TokenFailure(name, 503, Source.TOKEN, cause, remedy, is_refusal=is_refusal)


def _upstream(name: str, cause: str, remedy: str, *, status: int = 502) -> UpstreamFailure:
    return UpstreamFailure(name, status, Source.UPSTREAM, cause, remedy)


def _busy(name: str, cause: str, remedy: str, retry_after: float = 1) -> ErrorKind:
    return ErrorKind(name, 503, Source.PROXY, cause, remedy, retry_after=retry_after)


# The caller: its request cannot be forwarded as it is. Nothing has gone to the bank.

CALLER_SECRET = _caller(
    "caller-secret",
    403,
    "Proxy-Authorization does not hold one of the proxy's shared secrets.",
    "Send `Proxy-Authorization: Bearer` and a secret from callers.secret_files. Find out who "
    "calls, if nobody should.",
)
PROXY_AUTHENTICATION = _caller(
    "proxy-authentication",
    407,
    "The application uses this proxy as its HTTP proxy without the shared secret.",
    "Put the secret into the URL of the HTTP proxy: `http://any:SECRET@host:port`.",
)
CALLER_CERTIFICATE = _caller(
    "caller-certificate",
    403,
    "Not every name in the caller's client certificate is in callers.client_names.",
    "Add all its names (SAN; CN without one) to callers.client_names, or give the caller another "
    "certificate.",
)
CROSS_SITE = _caller(
    "cross-site",
    403,
    "A web page of another origin called this proxy.",
    "If it is your own page, add its origin to cors.allow_origins; the admin port is for no page. "
    "Others must not act with your credentials.",
)
HOST_NOT_ALLOWED = _caller(
    "host-not-allowed",
    403,
    "The Host header names a host that is not configured, as in DNS rebinding.",
    "Call the proxy as localhost, by an IP address or public_url, or add the name to "
    "allowed_hosts.",
)
WEBSOCKET = _caller(
    "websocket",
    501,
    "The proxy does not carry WebSocket connections.",
    "Use HTTP requests; the API has no WebSocket endpoints.",
)
INSTITUTION_CONFLICT = _caller(
    "institution-conflict",
    400,
    "The request names two institutions.",
    "Send one institutionId header, with the institution of the path in a V1 call.",
)
INSTITUTION_MALFORMED = _caller(
    "institution-malformed",
    400,
    "The institution in the request is not a number.",
    "Send the institution in digits, with leading zeros.",
)
INSTITUTION_NOT_ALLOWED = _caller(
    "institution-not-allowed",
    403,
    "The institution in the request is not configured.",
    "If the application may use it, add it to allowed_institutions.",
)
PATH_POLICY = _caller(
    "path-policy",
    403,
    "The access policy does not allow this resource.",
    "If the application needs it, add it to access.allow.",
)
RESERVED = _caller(
    "reserved",
    403,
    "The application made a token call of its own, which the proxy does not forward.",
    "Remove the token call, and call the API without an Authorization header: the proxy adds a "
    "token to every request. The vendor's SDK takes any bearerToken instead (docs/sdk.md).",
)
METHOD = _caller(
    "method",
    405,
    "The proxy does not forward this method.",
    "Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
)
# What follows a CONNECT may be meant for the tunnel already; it must not be read as requests.
CONNECT = _caller(
    "connect",
    405,
    "The application asks for a tunnel (HTTPS_PROXY), in which the proxy cannot add a token.",
    "Call the bank by http:// through this proxy; the proxy uses TLS to the bank.",
    closes=True,
)
ORIGIN = _caller(
    "origin",
    400,
    "The URL names another host than the bank's.",
    "Exclude other hosts from the proxy (NO_PROXY); compare base_url with the host that the "
    "application calls.",
)
TARGET = _caller(
    "target",
    400,
    "The request-target is neither a path nor a URL, or names a user.",
    "Send the path of the resource, beginning with one slash.",
)
TARGET_CHARACTER = _caller(
    "target-character",
    400,
    "The request-target holds a character that is not permitted there.",
    "Percent-encode it: a space is %20, # is %23. For `{`, `|` and `}` in a query there is "
    "relaxed_query_chars.",
)
# RFC 9112 section 3.2. Not a matter of framing, but two Host fields are how requests are smuggled
# past a front that reads the other one.
BAD_HOST = _caller(
    "bad-host",
    400,
    "The Host header is missing, repeated or invalid.",
    "Send one Host header; every HTTP client library does.",
    closes=True,
)
BAD_HEADER = _caller(
    "bad-header",
    400,
    "A header holds a control character or a byte that is not ASCII.",
    "Encode the value, for example with percent signs.",
    closes=True,
)
BAD_FRAMING = _caller(
    "bad-framing",
    400,
    "The body's length is given twice, or not as a number.",
    "Let the client's library set Content-Length and Transfer-Encoding.",
    closes=True,
)
TRANSFER_ENCODING = _caller(
    "transfer-encoding",
    501,
    "The transfer coding is not chunked.",
    "Compress with Content-Encoding instead, if the bank accepts it.",
    closes=True,
)
VERSION = _caller(
    "version",
    505,
    "The proxy supports HTTP/1.1 only, and the request has another version.",
    "Set the client to HTTP/1.1, without HTTP/2 prior knowledge.",
    closes=True,
)
UNREADABLE = _caller(
    "unreadable",
    400,
    "The request is not valid HTTP/1.1.",
    "Look at what the application sends; try the same URL with `curl`.",
    closes=True,
)
TLS_ON_HTTP = _caller(
    "tls-on-http",
    400,
    "The caller speaks TLS to a port that speaks plain HTTP.",
    "Use http:// in the application, or set callers.certificate_file.",
    closes=True,
)
HTTP_ON_TLS = _caller(
    "http-on-tls",
    400,
    "The caller speaks plain HTTP to a port that speaks TLS.",
    "Use https:// in the application.",
    closes=True,
)
TOO_LARGE = _caller(
    "too-large",
    431,
    "A header is too long, or there are too many.",
    "Send fewer or shorter headers and cookies, or raise limits.max_line, limits.max_headers or "
    "limits.max_head.",
    closes=True,
)
TARGET_TOO_LONG = _caller(
    "target-too-long",
    414,
    "The path and query exceed limits.max_line.",
    "Send a shorter query, or raise limits.max_line.",
    closes=True,
)
BODY_TOO_LARGE = _caller(
    "body-too-large",
    413,
    "The request's body exceeds limits.max_body.",
    "Send less, or raise limits.max_body.",
)
SLOW_HEAD = _caller(
    "slow-head",
    408,
    "The request's headers did not arrive within limits.header_timeout.",
    "None, usually: the client opened a connection and did not use it.",
    closes=True,
)
SLOW_BODY = _caller(
    "slow-body",
    408,
    "The request's body stopped arriving for limits.idle_timeout.",
    "Find out why the application stops, or raise limits.idle_timeout.",
    closes=True,
)
BAD_BODY = _caller(
    "bad-body",
    400,
    "The request's body is shorter than declared, or has a malformed chunk.",
    "Let the client's library frame the body.",
    closes=True,
)

# The token: the bank gave none, so the request could not go out.

TOKEN_BAD_CLIENT = _token(
    "token-bad-client",
    "The bank refused the client id and secret.",
    "Compare client_id and client_secret with Shared Key and Secret Key in the vendor's "
    "console; stage and production have different ones.",
    is_refusal=True,
)
TOKEN_BAD_INSTITUTION = _token(
    "token-bad-institution",
    "The bank refused the institution for this application.",
    "Compare institution_id with the vendor's console, leading zeros included; if it is right, ask "
    "the bank to allow it.",
    is_refusal=True,
)
TOKEN_BAD_USER = _token(
    "token-bad-user",
    "The bank refused the user.",
    "Check username and password_file, and whether the user is blocked; for a person's login run "
    "`candescent-proxy login`.",
    is_refusal=True,
)
TOKEN_LOGIN_NEEDED = _token(
    "token-login-needed",
    "Nobody is logged in, or the login has expired.",
    "Run `candescent-proxy login`.",
    is_refusal=True,
)
TOKEN_BAD_REQUEST = _token(
    "token-bad-request",
    "The bank refused the token request.",
    "Check scopes and grant; the message has the bank's code. Without scopes the bank grants all.",
    is_refusal=True,
)
TOKEN_THROTTLED = _token(
    "token-throttled",
    "The bank's quota or rate limit for token calls is used up.",
    "Wait, and find out who else uses this client id. Many proxies can share a token "
    "(docs/fleet.md).",
)
TOKEN_SERVER = _token(
    "token-server",
    "The bank's token endpoint failed.",
    "Look at the bank's status page. The proxy retries, and uses a valid token until it expires.",
)
TOKEN_MALFORMED = _token(
    "token-malformed",
    "The token endpoint returned a response without a usable token.",
    "Run `candescent-proxy doctor`, which shows the response. If a company's proxy sent it, check "
    "base_url.",
)
TOKEN_WRONG_SERVER = _token(
    "token-wrong-server",
    "The server at base_url is not the bank's API, or has no token endpoint at this path.",
    "Check host, port and path of base_url. If they are right, a network login or a firewall "
    "answers in the bank's place: log in with a browser, or set upstream.proxy.",
)
TOKEN_UNREACHABLE = _token(
    "token-unreachable",
    "The token endpoint cannot be reached.",
    "Run `candescent-proxy doctor`: it finds the step that fails, from DNS to TLS.",
)
TOKEN_TIMEOUT = _token(
    "token-timeout",
    "The token endpoint did not respond within token.timeout.",
    "Check the network and the bank's status page, or raise token.timeout.",
)
TOKEN_SLOW = _token(
    "token-slow",
    "Token calls take so long that tokens expire before the next ones arrive.",
    "Run `candescent-proxy doctor` to see what slows the token endpoint down, and ask the bank for "
    "a longer lifetime. Until then requests wait for tokens.",
)
TOKEN_INTERNAL = _token(
    "token-internal",
    "The token request failed inside the proxy.",
    "Report the log line `token refresh failed` with its traceback; it holds no secret.",
)

# The bank: the exchange failed. 504 when it was slow, 502 otherwise.

UPSTREAM_RESOLVE = _upstream(
    "upstream-resolve",
    "The host name in base_url does not resolve.",
    "Check the spelling of base_url, then DNS on this machine.",
)
UPSTREAM_RESOLVE_TIMEOUT = _upstream(
    "upstream-resolve-timeout",
    "DNS did not resolve the host name in base_url within upstream.connect_timeout.",
    "Check this machine's DNS servers.",
    status=504,
)
UPSTREAM_CONNECT = _upstream(
    "upstream-connect",
    "The host and port of base_url refuse connections.",
    "Check host and port of base_url; for the sandbox run `candescent-proxy sandbox`.",
)
UPSTREAM_UNREACHABLE = _upstream(
    "upstream-unreachable",
    "The network does not reach the bank, or resets the connection.",
    "Check this machine's network, VPN and routes, or set upstream.proxy.",
)
UPSTREAM_CONNECT_TIMEOUT = _upstream(
    "upstream-connect-timeout",
    "No connection to the bank within upstream.connect_timeout.",
    "Most likely a firewall drops the packets: open it, or set upstream.proxy to your company's "
    "proxy.",
    status=504,
)
UPSTREAM_PROXY_RESOLVE = _upstream(
    "upstream-proxy-resolve",
    "The name of the outbound proxy does not resolve.",
    "Check the host name in upstream.proxy.",
)
UPSTREAM_PROXY_CONNECT = _upstream(
    "upstream-proxy-connect",
    "The outbound proxy cannot be reached.",
    "Check host and port of upstream.proxy, and whether the outbound proxy runs.",
)
UPSTREAM_PROXY_LOGIN = _upstream(
    "upstream-proxy-login",
    "The outbound proxy refused the user and password, or got none (407).",
    "Set upstream.proxy_user and upstream.proxy_password_file.",
)
UPSTREAM_PROXY_SCHEME = _upstream(
    "upstream-proxy-scheme",
    "The outbound proxy does not offer Basic authentication (407), the only scheme supported.",
    "Ask its operators to allow this machine, or Basic; or point upstream.proxy to a local proxy "
    "that logs in by NTLM or Kerberos, such as Px or Cntlm.",
)
UPSTREAM_PROXY_TLS = _upstream(
    "upstream-proxy-tls",
    "The TLS handshake with the outbound proxy failed.",
    "Check that upstream.proxy speaks TLS itself (https://), and add its authority to "
    "upstream.ca_file.",
)
UPSTREAM_PROXY_REFUSED = _upstream(
    "upstream-proxy-refused",
    "The outbound proxy refused to connect to the bank.",
    "Ask its operators to allow CONNECT to the host and port of base_url.",
)
UPSTREAM_PROXY_NO_CONNECTION = _upstream(
    "upstream-proxy-no-connection",
    "The outbound proxy could not connect to the bank.",
    "Check host and port of base_url, and ask the operators of the outbound proxy whether it "
    "reaches the bank.",
)
UPSTREAM_PROXY_MALFORMED = _upstream(
    "upstream-proxy-malformed",
    "The outbound proxy does not speak the protocol in upstream.proxy.",
    "Check scheme, host and port of upstream.proxy: http, https, socks5 or socks5h.",
)
UPSTREAM_PROXY_TIMEOUT = _upstream(
    "upstream-proxy-timeout",
    "The outbound proxy did not connect within upstream.connect_timeout.",
    "Check upstream.proxy, and ask its operators whether it reaches the bank.",
    status=504,
)
UPSTREAM_TLS_TIMEOUT = _upstream(
    "upstream-tls-timeout",
    "The bank accepted the connection, and the TLS handshake took longer than "
    "upstream.connect_timeout.",
    "Check devices in between, most of all a firewall that inspects TLS.",
    status=504,
)
UPSTREAM_TLS_EXPIRED = _upstream(
    "upstream-tls-expired",
    "The bank's certificate has expired.",
    "Check this machine's clock; if it is right, the bank must renew its certificate.",
)
UPSTREAM_TLS_NOT_YET_VALID = _upstream(
    "upstream-tls-not-yet-valid",
    "The bank's certificate is not valid yet.",
    "Set this machine's clock; if it is right, tell the bank.",
)
UPSTREAM_TLS_NAME = _upstream(
    "upstream-tls-name",
    "The bank's certificate is for another name than the host in base_url.",
    "Write a name of the certificate into base_url. Names are always checked.",
)
UPSTREAM_TLS_UNTRUSTED = _upstream(
    "upstream-tls-untrusted",
    "The authority that signed the bank's certificate is not trusted.",
    "Set upstream.ca_file to its PEM file (often a company firewall that inspects TLS); set "
    "upstream.system_store if browsers on this machine trust it.",
)
UPSTREAM_TLS_INCOMPLETE = _upstream(
    "upstream-tls-incomplete",
    "The bank's certificate, or one of its chain, lacks a field that RFC 5280 requires.",
    "If a company firewall that inspects TLS issued it, set upstream.ca_file to the firewall's PEM "
    "file: with that, these fields are not required.",
)
UPSTREAM_TLS_SELF_SIGNED = _upstream(
    "upstream-tls-self-signed",
    "The bank's certificate is self-signed.",
    "If it is your own, set upstream.ca_file to its PEM file. Otherwise somebody may be between "
    "you and the bank.",
)
UPSTREAM_TLS_REVOKED = _upstream(
    "upstream-tls-revoked",
    "The bank's certificate is revoked, or its revocation cannot be checked.",
    "Tell the bank. Do not work around it.",
)
UPSTREAM_TLS_UNSUITABLE = _upstream(
    "upstream-tls-unsuitable",
    "The bank's certificate chain is too weak or not for servers.",
    "Ask the bank for another certificate; the message has OpenSSL's reason.",
)
UPSTREAM_TLS_PLAIN_HTTP = _upstream(
    "upstream-tls-plain-http",
    "The server behind base_url speaks plain HTTP, not TLS.",
    "Check the port of base_url; for a local sandbox write http://.",
)
UPSTREAM_TLS_CLIENT_CERTIFICATE = _upstream(
    "upstream-tls-client-certificate",
    "The bank requires a client certificate, or another one.",
    "Set upstream.certificate_file and upstream.key_file to those registered at the bank.",
)
UPSTREAM_TLS_VERSION = _upstream(
    "upstream-tls-version",
    "The bank's server and this machine share no TLS version or cipher.",
    "The server must support TLS 1.2 or later; check base_url and devices in between.",
)
UPSTREAM_TLS = _upstream(
    "upstream-tls",
    "The TLS handshake with the bank failed.",
    "If the bank requires a client certificate, set upstream.certificate_file; else check base_url "
    "and devices in between.",
)
UPSTREAM_FIRST_BYTE_TIMEOUT = _upstream(
    "upstream-first-byte-timeout",
    "The bank did not respond within upstream.first_byte_timeout.",
    "Find out whether it was processed before you send it again. For a slow resource raise "
    "upstream.first_byte_timeout.",
    status=504,
)
UPSTREAM_IDLE_TIMEOUT = _upstream(
    "upstream-idle-timeout",
    "The bank paused for upstream.idle_timeout in the middle of its response.",
    "Send a GET again; if it recurs, check the network and the bank's status page.",
    status=504,
)
UPSTREAM_TOTAL_TIMEOUT = _upstream(
    "upstream-total-timeout",
    "The exchange with the bank took longer than upstream.total_timeout.",
    "Check that the application reads fast enough, or raise upstream.total_timeout.",
    status=504,
)
UPSTREAM_CLOSED = _upstream(
    "upstream-closed",
    "The bank closed the connection without a response.",
    "Find out whether it was processed before you send it again. If it recurs, set "
    "upstream.max_idle_age below the bank's idle timeout.",
)
UPSTREAM_MALFORMED = _upstream(
    "upstream-malformed",
    "The bank's response is not valid HTTP/1.1.",
    "Run `candescent-proxy doctor`, which says what responds; check base_url and devices in "
    "between.",
)
UPSTREAM_CROSS_TALK = _upstream(
    "upstream-cross-talk",
    "The response has the transactionId of another request and was discarded.",
    "Find out whether the request was processed before you send it again, and tell the bank.",
)
UPSTREAM_TRUNCATED = _upstream(
    "upstream-truncated",
    "The bank's response ended too early.",
    "Send a GET again; if it recurs, check the network.",
)

# The proxy itself cannot take the work.

OVERLOADED = _busy(
    "overloaded",
    "The proxy serves limits.max_in_flight requests already.",
    "Find out who sends so many, add proxies, or raise limits.max_in_flight.",
)
TOO_MANY_CONNECTIONS = _busy(
    "too-many-connections",
    "All limits.max_connections connections of callers are in use.",
    "Find out who opens so many, let applications reuse connections, or raise "
    "limits.max_connections.",
)
MEMORY = ErrorKind(
    "memory",
    503,
    Source.PROXY,
    "The unfinished requests of all callers hold limits.max_memory, and this one is among the "
    "largest.",
    "Find out who sends large requests slowly, or many at once; add proxies, or raise "
    "limits.max_memory.",
    closes=True,
    retry_after=1,
)
LOOP = ErrorKind(
    "loop",
    508,
    Source.PROXY,
    "The request has come back to this proxy: base_url leads to it, directly or through others.",
    "Set base_url to the bank's address, or to the next proxy's on the way to the bank.",
)
UPSTREAM_BUSY = _busy(
    "upstream-busy",
    "All upstream.max_connections connections to the bank are in use.",
    "Usually the bank is slow: wait, or raise upstream.max_connections if the bank allows it.",
)
OUT_OF_FILES = _busy(
    "out-of-files",
    "The limit of open files is reached.",
    "Raise it (`ulimit -n`, `LimitNOFILE=`); the log says at start how many are needed.",
)
BUSINESS_USER_UNKNOWN = _busy(
    "business-user-unknown",
    "The bank has no business with this member_number for this login_id.",
    "Compare login_id and member_number with the bank's institution users, or set "
    "institution_customer_id.",
    retry_after=10,
)
BUSINESS_USER_LOOKUP = _busy(
    "business-user-lookup",
    "The business user could not be looked up.",
    "Check the bank's status page and headers.institution_users_path, or set "
    "institution_customer_id.",
    retry_after=10,
)
# What state a bug of ours leaves the connection in is not known.
INTERNAL = ErrorKind(
    "internal",
    500,
    Source.PROXY,
    "The proxy failed on this request.",
    "Report the log line `internal error` with its traceback; it holds no secret.",
    closes=True,
)

# Not errors of a request: what only the status page shows.

BANK_ERROR = ErrorKind(
    "bank-error",
    0,
    Source.NONE,
    "The bank responded with an error of its own.",
    "Check the bank's status page; ask the bank, with the transactionId.",
)
BANK_DENIED = ErrorKind(
    "bank-denied",
    0,
    Source.NONE,
    "The bank refused the application or its user (401, 403), not the token.",
    "Look for the code in the response. If most calls are refused: check that base_url and "
    "client_id belong to the same environment (stage, production), and ask the bank what the "
    "application may call.",
)
BANK_THROTTLED = ErrorKind(
    "bank-throttled",
    0,
    Source.NONE,
    "The bank limits the rate of requests (429).",
    "Find out who sends so many, send fewer, or ask the bank for a higher limit.",
)
TOKEN_REFUSED = ErrorKind(
    "token-refused",
    0,
    Source.TOKEN,
    "The bank refused a token before it expired.",
    "Check that base_url and client_id belong to the same environment (stage, production), that "
    "the application is not revoked, and that nobody else revokes its tokens. If it happened once: "
    "nothing, the proxy has fetched a new one.",
)
TOKEN_CONFLICT = ErrorKind(
    "token-conflict",
    0,
    Source.TOKEN,
    "The bank refuses new tokens soon after it issued them, and accepts the next ones.",
    "Another proxy or program fetches tokens with the same credentials, and each new token "
    "invalidates the one before. Run one proxy, let them share tokens in a store, or give each "
    "its own client id.",
)
RELOAD_FAILED = ErrorKind(
    "reload-failed",
    0,
    Source.PROXY,
    "The changed configuration is invalid; the previous one stays in use.",
    "Correct what the message names; `candescent-proxy check-config` lists every error, and "
    "`candescent-proxy doctor` tries new credentials.",
)

KINDS: tuple[ErrorKind, ...] = tuple(
    kind for kind in list(globals().values()) if isinstance(kind, ErrorKind)
)
"""Every kind, in the order of this module."""
TOKEN_FAILURES = tuple(kind for kind in KINDS if isinstance(kind, TokenFailure))
