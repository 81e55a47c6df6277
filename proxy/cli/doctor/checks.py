"""Runs the checks in order; some run only if earlier ones have passed."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.cli.doctor import files, machine, remedies, running_proxy, store_check
from proxy.cli.doctor.bank_check import SAMPLE, BankCheck
from proxy.cli.doctor.network import NetworkCheck
from proxy.cli.doctor.results import CheckResult, has_failed, info, ok, problem, skipped
from proxy.config import loader
from proxy.config.model import Config
from proxy.config.origin_config import OriginConfig
from proxy.errors import ConfigError
from proxy.runtime import build, exposed_files


@dataclass(frozen=True, slots=True)
class ConfigSources:
    """The sources of a configuration; see ``proxy.config.loader.load``."""

    file: Path | None
    environ: Mapping[str, str] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)


async def run_checks(
    sources: ConfigSources, *, sample: str = SAMPLE, wall: Callable[[], float] = time.time
) -> AsyncIterator[CheckResult]:
    """Check the whole installation, and yield each result as soon as it is known.

    ``sample`` is the path of the sample call; ``wall`` returns Unix seconds.
    """
    try:
        config = loader.load(sources.file, sources.environ, sources.flags)
    except ConfigError as error:
        file = sources.file
        is_readable = file is None or (os.access(file, os.R_OK) and not file.is_dir())
        remedy = remedies.CONFIG_INVALID if is_readable else remedies.CONFIG_UNREADABLE
        for message in error.errors:
            yield problem("configuration", remedy, error=message.rstrip("."))
        yield skipped("bank", "Not checked: fix the configuration first.")
        return
    url = config.url.geturl()
    yield ok("configuration", f"{sources.file or 'The environment'}: {config.listen} → {url}")
    for result in overridden(sources):
        yield result
    results = list(_files(sources, config, wall()))
    # In a thread, because another program on a port may respond slowly.
    ports = await asyncio.to_thread(
        lambda: [*machine.ports(config), *running_proxy.check(config.admin)]
    )
    for result in [*results, *ports, *machine.open_files(config)]:
        yield result
    if has_failed(results):
        yield skipped("bank", "Not checked: fix the files first.")
        return
    async for result in store_check.check(config):
        yield result
    async for result in check_bank(config, sources.environ, sample, wall):
        yield result


def overridden(sources: ConfigSources) -> Iterator[CheckResult]:
    """Yield a warning for each setting in the file that an environment variable overrides."""
    if sources.file is None:
        return
    written = loader.read_file(sources.file)
    for variable, text in sorted(sources.environ.items()):
        for path, value in _set_by(variable, text):
            here: Any = written
            for name in path:
                here = here.get(name) if isinstance(here, dict) else None
            if here is not None and here != value:
                yield problem(
                    "configuration",
                    remedies.CONFIG_OVERRIDDEN,
                    variable=variable,
                    setting=".".join(path),
                    file=sources.file,
                )


def _set_by(variable: str, text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the settings that a variable overrides: its own, and its alternative."""
    setting: Any = loader.read_environment({variable: text}, [])
    path: tuple[str, ...] = ()
    while isinstance(setting, dict) and setting:
        ((name, setting),) = setting.items()
        path = (*path, name)
    if not path:
        return
    yield path, setting
    for first, second in loader.ALTERNATIVES:
        if path[-1] in (first, second):
            yield (*path[:-1], second if path[-1] == first else first), ""


def _files(sources: ConfigSources, config: Config, now: float) -> Iterator[CheckResult]:
    if sources.file is not None:
        yield from files.configuration_file(sources.file)
    for setting, file in exposed_files.secret_files(config):
        yield from files.secret_file(setting, file)
    for setting, file in exposed_files.key_files(config):
        yield from files.key_file(setting, file)
    yield from files.login_file(config)
    yield from files.other_files(config)
    yield from files.own_certificates(config, now)


async def check_bank(
    config: Config,
    environ: Mapping[str, str],
    sample: str | None,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[CheckResult]:
    """Check every origin of the bank; with ``sample`` None without a sample call.

    Raises ``ConfigError`` for files that cannot be used.
    """
    for origin in config.origins:
        async for result in _check_origin(config, origin, environ, sample, wall):
            yield result


async def _check_origin(
    config: Config,
    origin: OriginConfig,
    environ: Mapping[str, str],
    sample: str | None,
    wall: Callable[[], float],
) -> AsyncIterator[CheckResult]:
    """Check the network and the bank at one origin."""
    timeout = min(origin.upstream.connect_timeout, config.token.timeout)
    dialer = build.dialer(origin, build.upstream_tls(origin).context, environ=environ)
    settings = replace(origin.upstream, connect_timeout=timeout)
    network = NetworkCheck(dialer.origin, settings, origin.url.path, environ, wall)
    results = []
    async for result in network.results():
        results.append(result)
        yield result
    if has_failed(results):
        yield skipped("token", "Not checked: fix the connection to the bank first.")
        return
    client = build.bank_client(config, origin, dialer)
    bank = BankCheck(config, origin, loader.logins(config), client)
    try:
        if config.bearer_token is not None:
            yield info("token", "bearer_token is set: it is sent unchanged and never renewed.")
        else:
            for key in bank.wanted():
                async for result in bank.token(key):
                    yield result
        if sample is not None:
            async for result in bank.call(sample):
                yield result
            async for result in bank.second_token(sample):
                yield result
    finally:
        await client.close()
