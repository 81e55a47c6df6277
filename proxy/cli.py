"""The command line: argv → Config → run. The only place that exits."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from proxy import __version__, logs, probe, settings
from proxy.config import Address, Config
from proxy.credentials import Logins
from proxy.errors import ConfigError

OK, FAILED, WRONG_CONFIGURATION = 0, 1, 2

_FLAGS = {
    "listen": ("HOST:PORT", "where applications call (default 127.0.0.1:8080)"),
    "admin": ("HOST:PORT", "probes and metrics (default 127.0.0.1:9090)"),
    "base_url": ("URL", "the API's base URL, instead of an environment's"),
    "log_level": ("LEVEL", "debug, info, warning or error"),
    "log_format": ("FORMAT", "json, console or auto"),
}

_EPILOG = """\
Every flag has a variable (--base-url: CANDESCENT_BASE_URL), and every setting of the file too.
Least of all that works:

  CANDESCENT_CLIENT_ID=… CANDESCENT_CLIENT_SECRET=… CANDESCENT_INSTITUTION_ID=00016 \\
    CANDESCENT_ENVIRONMENT=stage candescent-proxy run

To try it without a bank: candescent-proxy demo
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 well, 1 failed, 2 wrong arguments or configuration."""
    arguments = parser().parse_args(argv)
    try:
        code = arguments.command(arguments)
    except ConfigError as error:
        complain(error)
        code = WRONG_CONFIGURATION
    except KeyboardInterrupt:
        code = OK
    sys.exit(code)


def parser() -> argparse.ArgumentParser:
    """Return the parser for every command."""
    root = argparse.ArgumentParser(
        prog="candescent-proxy",
        description="A reverse proxy for the Candescent API that brings the tokens itself.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"candescent-proxy {__version__}")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="forward requests until SIGTERM or SIGINT")
    _add_settings(run)
    run.set_defaults(command=_run)

    check = commands.add_parser("check-config", help="print every mistake in the configuration")
    _add_settings(check)
    check.add_argument("--print-schema", action="store_true", help="print the JSON Schema instead")
    check.set_defaults(command=_check_config)

    health = commands.add_parser("healthcheck", help="exit 0 if a running proxy is ready")
    _add_settings(health)
    health.add_argument("--live", action="store_true", help="ask only whether it is alive")
    health.set_defaults(command=_healthcheck)

    wait = commands.add_parser("wait", help="wait until a running proxy is ready")
    _add_settings(wait)
    wait.add_argument("--timeout", type=float, default=60, help="seconds (default 60)")
    wait.set_defaults(command=_wait)

    login = commands.add_parser(
        "login", help="exchange an authorization code, read from standard input"
    )
    _add_settings(login)
    login.add_argument("--institution", help="other than the default one")
    login.set_defaults(command=_login)

    revoke = commands.add_parser("revoke", help="revoke a token, read from standard input")
    _add_settings(revoke)
    revoke.add_argument("--kind", choices=["v2", "v1"], default="v2")
    revoke.add_argument("--institution", help="whose credentials to use, other than the default's")
    revoke.set_defaults(command=_revoke)

    sandbox = commands.add_parser("sandbox", help="run the embedded bank to try things on")
    sandbox.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8081")
    sandbox.add_argument("--lifetime", type=float, default=3600, help="of tokens, in seconds")
    sandbox.add_argument("--base-path", default="", help="such as /digitalbanking/stage")
    sandbox.add_argument("--settings", metavar="JSON", default="{}", help="any of its settings")
    sandbox.add_argument(
        "--fault",
        metavar="JSON",
        action="append",
        default=[],
        help='such as {"where": "token", "code": "CMN_90002", "times": 3}; may be repeated',
    )
    sandbox.set_defaults(command=_sandbox)

    demo = commands.add_parser("demo", help="show the proxy at work in front of the sandbox")
    demo.add_argument("--once", action="store_true", help="show it once and exit")
    demo.set_defaults(command=_demo)
    return root


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file (CANDESCENT_CONFIG)"
    )
    for name, (metavar, text) in _FLAGS.items():
        command.add_argument("--" + name.replace("_", "-"), metavar=metavar, help=text)


def configuration(arguments: argparse.Namespace) -> Config:
    """Return the configuration that file, environment and flags make together."""
    flags: dict[str, Any] = {}
    for name in _FLAGS:
        value = getattr(arguments, name)
        if value is not None:
            section, _, rest = name.partition("_")
            if section == "log":
                flags.setdefault("log", {})[rest] = value
            else:
                flags[name] = value
    return settings.load(_config_file(arguments), os.environ, flags)


def _config_file(arguments: argparse.Namespace) -> Path | None:
    named = arguments.config or os.environ.get("CANDESCENT_CONFIG")
    return Path(named) if named else None


def complain(error: ConfigError) -> None:
    """Print every mistake, a line each, to standard error."""
    for mistake in error.mistakes:
        print(f"candescent-proxy: {mistake}", file=sys.stderr)


def _run(arguments: argparse.Namespace) -> int:
    from proxy import runner

    def reread() -> tuple[Config, Logins]:
        config = configuration(arguments)
        return config, settings.logins(config)

    config, _ = reread()
    logs.set_up(config.log)
    return runner.run(runner.serve(reread, _config_file(arguments)))


def _login(arguments: argparse.Namespace) -> int:
    from proxy import commands, runner

    config = configuration(arguments)
    code = _secret_input("Authorization code: ")
    return runner.run(commands.login(config, settings.logins(config), arguments.institution, code))


def _revoke(arguments: argparse.Namespace) -> int:
    from proxy import commands, runner

    if arguments.kind == "v1":
        print(
            "candescent-proxy: the bank has no way to revoke a V1 token; it runs out by itself.",
            file=sys.stderr,
        )
        return FAILED
    config = configuration(arguments)
    text = _secret_input("Access or refresh token: ")
    logins = settings.logins(config)
    return runner.run(commands.revoke(config, logins, arguments.institution, text))


def _secret_input(prompt: str) -> str:
    """Return one line of standard input, asked for without echo on a terminal."""
    text = getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline()
    if not text.strip():
        raise ConfigError(["standard input: expected one line, and there was none"])
    return text.strip()


def _wait(arguments: argparse.Namespace) -> int:
    return _told(probe.wait(_admin_address(arguments), arguments.timeout))


def _check_config(arguments: argparse.Namespace) -> int:
    if arguments.print_schema:
        print(json.dumps(Config.model_json_schema(), indent=2))
        return OK
    config = configuration(arguments)
    _check_files(config)
    print(f"The configuration is good: {config.listen} → {config.url.geturl()}")
    return OK


def _check_files(config: Config) -> None:
    """Read every file that the configuration names, and report all that cannot be used."""
    from proxy import admission, parts
    from proxy.upstream.tls import UpstreamTls

    mistakes: list[str] = []
    for read in (
        lambda: settings.logins(config),
        lambda: UpstreamTls.load(config.upstream, https=True),
        lambda: parts.outbound_proxy(config),
        lambda: admission.Admission.load(config.callers),
        lambda: admission.server_context(config.callers),
    ):
        try:
            read()
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)


def _healthcheck(arguments: argparse.Namespace) -> int:
    return _told(probe.ask(_admin_address(arguments), "livez" if arguments.live else "readyz"))


def _told(answer: tuple[bool, str]) -> int:
    is_well, said = answer
    print(said.rstrip(), file=sys.stdout if is_well else sys.stderr)
    return OK if is_well else FAILED


def _admin_address(arguments: argparse.Namespace) -> Address:
    # A probe needs one setting only, and must not fail on the others.
    given = arguments.admin or os.environ.get("CANDESCENT_ADMIN")
    file = _config_file(arguments)
    if given is None and file is not None:
        given = settings.read_file(file).get("admin")
    address = settings.address("admin", given or "127.0.0.1:9090")
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound
    return address.model_copy(update={"host": everywhere.get(address.host, address.host)})


def _sandbox(arguments: argparse.Namespace) -> int:
    from proxy import demo, runner, sandbox

    address = settings.address("--listen", arguments.listen)
    wanted = {"lifetime": arguments.lifetime, "base_path": arguments.base_path}
    try:
        bank = sandbox.changed(sandbox.Settings(), wanted | _json_object(arguments.settings))
        faults = [sandbox.fault_from(_json_object(fault)) for fault in arguments.fault]
    except ValueError as error:
        raise ConfigError([f"sandbox: {error}"]) from error
    return runner.run(demo.sandbox(address, bank, faults))


def _json_object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}): {text}") from error
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object, not {text}")
    return document


def _demo(arguments: argparse.Namespace) -> int:
    from proxy import demo, runner

    return runner.run(demo.show(once=arguments.once))
