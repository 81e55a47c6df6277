"""The upstream: nginx with static responses, on the load's core.

It returns 401 to requests without a token that it has issued, so a proxy that forgets
the token shows as failures and not as speed.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.machine import BenchError
from bench.processes import Process, can_connect, free_port

SMALL = "/v1/accounts"
"""Returns 700 bytes of JSON, the size of a short list of accounts."""
TOKEN = "/oauth2/v1/token"  # noqa: S105 - where tokens are had, not one
SINK = "/sink"
"""Reads a body of any size, then responds."""
BODIES = {"1k": 1024, "100k": 100 * 1024, "10m": 10 * 1024 * 1024}
"""Bodies to download: /bodies/NAME."""

PREFIX = "bench-"
"""The beginning of every token."""

SLOW_RATE = 600
"""Bytes per second; a token response is longer than this, less than twice, so it takes 1 s."""

_CONFIGURATION = """\
daemon off;
master_process off;
pid {folder}/upstream.pid;
error_log stderr warn;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
    access_log off;
    sendfile on;
    open_file_cache max=16;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {folder}/bodies-in;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/unused-1;
    uwsgi_temp_path {folder}/unused-2;
    scgi_temp_path {folder}/unused-3;
    default_type application/json;
    map $http_authorization $authorized {{ default 0; "~^Bearer {prefix}" 1; }}
    log_format token '$msec';
    server {{
        listen 127.0.0.1:{plain} backlog=4096;
        listen 127.0.0.1:{tls} ssl backlog=4096;
        ssl_certificate {folder}/leaf.pem;
        ssl_certificate_key {folder}/leaf.key;
        location = {token} {{
            access_log {folder}/tokens.log token;
            {slowness}
            return 200 '{{"access_token":"{prefix}{padding}$request_id","expires_in":{lifetime}}}';
        }}
        location = {small} {{
            if ($authorized = 0) {{ return 401; }}
            return 200 '{{"authorized":true,"accounts":"{accounts}"}}';
        }}
        location /bodies/ {{
            if ($authorized = 0) {{ return 401; }}
            root {folder};
        }}
        location = {sink} {{
            if ($authorized = 0) {{ return 401; }}
            # The whole body is read, into memory, before anything is answered; what then
            # answers is not sent it again.
            client_body_buffer_size 11m;
            proxy_pass http://unix:{folder}/answer;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{folder}/answer;
        location / {{ return 200 '{{"taken":true}}'; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens: ``lifetime`` in seconds; with ``slow`` a token call takes a second."""

    lifetime: int = 3600
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Upstream:
    """The running upstream: its files, and its ports by URL scheme."""

    folder: Path
    ports: Mapping[str, int]

    @property
    def authority(self) -> Path:
        """The certificate of its authority."""
        return self.folder / "ca.pem"

    def url(self, *, tls: bool) -> str:
        """Return its base URL."""
        scheme = "https" if tls else "http"
        return f"{scheme}://127.0.0.1:{self.ports[scheme]}"

    def token_calls(self) -> list[float]:
        """Return the Unix times of the token calls so far."""
        return [float(line) for line in (self.folder / "tokens.log").read_text().split()]


@contextmanager
def running_upstream(core: int, tokens: Tokens) -> Iterator[Upstream]:
    """Run the upstream on a core. Raises ``BenchError`` if nginx does not start."""
    with tempfile.TemporaryDirectory(prefix="bench-upstream-") as name:
        bank = Upstream(Path(name), {"http": free_port(), "https": free_port()})
        make_certificates(bank.folder)
        _make_bodies(bank.folder / "bodies")
        file = bank.folder / "nginx.conf"
        file.write_text(_configuration(bank, tokens), encoding="ascii")
        with Process(["nginx", "-c", file], core, bank.folder / "output") as process:
            _wait(process, bank.ports["http"])
            yield bank


def _wait(process: Process, port: int) -> None:
    while not can_connect(port):
        if process.has_ended:
            raise BenchError(f"The upstream does not start:\n{process.last_words()}")
        time.sleep(0.01)


def _make_bodies(folder: Path) -> None:
    folder.mkdir()
    for name, size in BODIES.items():
        (folder / name).write_bytes(b"x" * size)


def _configuration(bank: Upstream, tokens: Tokens) -> str:
    return _CONFIGURATION.format(
        folder=bank.folder,
        files=16_384,
        plain=bank.ports["http"],
        tls=bank.ports["https"],
        token=TOKEN,
        small=SMALL,
        sink=SINK,
        prefix=PREFIX,
        lifetime=tokens.lifetime,
        slowness=f"limit_rate {SLOW_RATE};" if tokens.slow else "",
        padding="x" * 600 if tokens.slow else "",
        accounts="x" * (700 - len('{"authorized":true,"accounts":""}')),
    )


def make_certificates(folder: Path) -> None:
    """Make an authority (ca.pem) and a certificate for loopback (leaf.pem, leaf.key)."""
    names = folder / "names"
    # Python 3.13 verifies strictly: RFC 5280 requires key identifiers, and keyUsage in a CA.
    names.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n",
        encoding="ascii",
    )
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for command in (
        ["req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", *usage, "-subj", "/CN=bench"],
        ["req", *new, "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=localhost"],
        ["x509", "-req", "-in", "leaf.csr", *authority, "-extfile", "names", "-out", "leaf.pem"],
    ):
        subprocess.run(
            ["openssl", *command],
            cwd=folder,
            check=True,
            capture_output=True,
            timeout=30,
        )
