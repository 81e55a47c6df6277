"""The compared proxies: a command line each, for the same task.

All listen on a loopback port, forward every request to one upstream, and
add a bearer token. Settings that matter are the same for all of them; the others have
their defaults.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from bench import envoy, machine
from bench.machine import BenchError
from bench.upstream import PREFIX, TOKEN, Upstream

HERE = Path(sys.executable).parent / "candescent-proxy"
COMPILED = machine.ROOT / ".venv-compiled/bin/candescent-proxy"
"""The compiled build of the same sources, made by `make compiled`."""
IN_IMAGE = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "4194304"}
"""The environment that the image sets (see Dockerfile)."""

CROWD = 900
"""Number of clients above which connection limits are raised."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The setup of the proxies in a case. ``access_log`` "default" keeps each proxy's default."""

    tls: bool = False
    access_log: Literal["default", "off", "on"] = "default"
    callers: int = 32
    institutions: int = 1


@dataclass(frozen=True, slots=True)
class Wiring:
    """A proxy's port, its upstream, and a folder for its files."""

    setup: Setup
    upstream: Upstream
    port: int
    admin: int
    folder: Path

    @property
    def url(self) -> str:
        """The upstream's base URL."""
        return self.upstream.url(tls=self.setup.tls)


@dataclass(frozen=True, slots=True)
class Launch:
    """A command and its environment variables."""

    command: Sequence[str | Path]
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: ``name`` on the command line, ``label`` in a report."""

    name: str
    label: str
    launch: Callable[[Wiring], Launch]


def institution(number: int) -> str:
    """Return the id of the n-th institution, from 0."""
    return f"{number + 16:05d}"


def _ours(wiring: Wiring, program: Path = HERE) -> Launch:
    setup = wiring.setup
    variables = {
        **(IN_IMAGE if program == COMPILED else {}),
        "CANDESCENT_CLIENT_ID": "bench",
        "CANDESCENT_CLIENT_SECRET": "bench",
        "CANDESCENT_INSTITUTION_ID": institution(0),
    }
    if setup.tls:
        variables["CANDESCENT_UPSTREAM__CA_FILE"] = str(wiring.upstream.authority)
    if setup.access_log != "default":
        variables["CANDESCENT_LOG__ACCESS"] = setup.access_log
    if setup.callers > CROWD:
        variables["CANDESCENT_LIMITS__MAX_IN_FLIGHT"] = "4096"
        variables["CANDESCENT_UPSTREAM__MAX_WAITING"] = "4096"
    if setup.institutions > 1:
        names = (institution(number) for number in range(setup.institutions))
        variables["CANDESCENT_ALLOWED_INSTITUTIONS"] = ",".join(names)
    return Launch(
        [
            *(program, "run", "--base-url", wiring.url),
            *("--listen", f"127.0.0.1:{wiring.port}", "--admin", f"127.0.0.1:{wiring.admin}"),
        ],
        variables,
    )


def _envoy(wiring: Wiring) -> Launch:
    setup = wiring.setup
    config = envoy.configuration(
        wiring.port,
        wiring.admin,
        wiring.url,
        TOKEN,
        authority=wiring.upstream.authority if setup.tls else None,
        access_log=wiring.folder / "access.log" if setup.access_log == "on" else None,
        many=setup.callers > CROWD,
    )
    file = wiring.folder / "envoy.json"
    file.write_text(json.dumps(config, indent=1), encoding="ascii")
    options = ["--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"]
    return Launch([_tool("envoy"), "--config-path", file, *options])


_NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 16384; }}
http {{
    log_format bench escape=json '{{"timestamp":"$time_iso8601","transactionId":"$request_id",'
        '"method":"$request_method","path":"$uri","status":$status,"ms":$request_time,'
        '"upstream_ms":"$upstream_response_time","upload_bytes":$request_length,'
        '"download_bytes":$body_bytes_sent}}';
    access_log {log};
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {folder}/in;
    proxy_temp_path {folder}/out;
    fastcgi_temp_path {folder}/unused-1;
    uwsgi_temp_path {folder}/unused-2;
    scgi_temp_path {folder}/unused-3;
    upstream bank {{
        server 127.0.0.1:{bank};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://bank;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {prefix}constant";
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_name localhost;
        }}
    }}
}}
"""


def _nginx(wiring: Wiring) -> Launch:
    is_logged = wiring.setup.access_log == "on"
    file = wiring.folder / "nginx.conf"
    scheme = "https" if wiring.setup.tls else "http"
    text = _NGINX.format(
        folder=wiring.folder,
        log=f"{wiring.folder}/access.log bench" if is_logged else "off",
        bank=wiring.upstream.ports[scheme],
        port=wiring.port,
        scheme=scheme,
        prefix=PREFIX,
        authority=wiring.upstream.authority,
    )
    file.write_text(text, encoding="ascii")
    return Launch(["nginx", "-c", file])


def _naive(script: str) -> Callable[[Wiring], Launch]:
    path = Path(__file__).parent / "naive" / script

    def launch(wiring: Wiring) -> Launch:
        authority = str(wiring.upstream.authority) if wiring.setup.tls else ""
        return Launch(
            [_tool("python"), path],
            {"PORT": str(wiring.port), "UPSTREAM": wiring.url, "AUTHORITY": authority},
        )

    return launch


def _tool(name: str) -> Path:
    path = machine.TOOLS / name
    if not path.exists():
        raise BenchError(f"{name} is not installed for the bench; `make bench` does that.")
    return path


PEERS = {
    peer.name: peer
    for peer in (
        Peer("ours", "candescent-proxy", _ours),
        Peer("compiled", "candescent-proxy, compiled", partial(_ours, program=COMPILED)),
        Peer("envoy", "Envoy", _envoy),
        Peer("nginx", "nginx (a constant header)", _nginx),
        Peer("aiohttp", "aiohttp, the obvious way", _naive("aiohttp_proxy.py")),
        Peer("starlette", "Starlette + httpx", _naive("starlette_proxy.py")),
    )
}
"""All proxies, ours first."""


def usual() -> list[str]:
    """Return the names of the proxies that are measured by default."""
    return [name for name in PEERS if name != "compiled" or COMPILED.exists()]


YARDSTICK = "envoy"
"""The proxy that the ratios refer to."""
