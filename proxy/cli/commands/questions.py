"""The questions of ``init``, answered by flags, the environment, or on a terminal."""

import argparse
import getpass
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from proxy.cli.commands.common import warn
from proxy.cli.init_files import InitOptions
from proxy.config import loader
from proxy.config.explain import PREFIX
from proxy.config.model import Config
from proxy.config.origin_config import ENVIRONMENTS
from proxy.errors import ConfigError
from proxy.tokens.secret_files import read_secret
from proxy.upstream.proxy_environment import parse_proxy_url, proxy_variable
from proxy.upstream.upstream_settings import ENVIRONMENT

SANDBOX = InitOptions("sandbox-client", "sandbox-secret", "00016", base_url="http://127.0.0.1:8081")
"""The defaults of ``candescent-proxy sandbox``."""

KEYS = {"client_id": "Shared Key", "client_secret": "Secret Key"}


def checked(answers: InitOptions) -> Config:
    """Return the configuration for the answers. Raises ``ConfigError``."""
    return loader.load(None, {}, answers.settings())


@dataclass(slots=True)
class Questions:
    """Gets each answer from a flag, the environment, or by a question on a terminal.

    Without a terminal, all missing answers are reported together.
    """

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    can_ask: bool

    def answers(self) -> InitOptions:
        """Return all answers. Raises ``ConfigError`` for missing ones."""
        given = self.arguments
        common = replace(
            SANDBOX,
            v1=bool(given.v1),
            listen=given.listen or self._variable("listen") or SANDBOX.listen,
            admin=given.admin or self._variable("admin") or SANDBOX.admin,
            proxy=given.proxy or self._variable("upstream__proxy"),
            ca_file=absolute(given.ca_file or self._variable("upstream__ca_file")),
        )
        if given.sandbox:
            return common
        missing: list[str] = []
        place = self._find(missing, self._place)
        keys = [self._find(missing, partial(self._key, name)) for name in KEYS]
        institution = self._find(missing, self._institution)
        if missing:
            raise ConfigError(missing)
        is_environment = place in ENVIRONMENTS
        return replace(
            common,
            client_id=keys[0],
            client_secret=keys[1],
            institution=institution,
            environment=place if is_environment else "",
            base_url="" if is_environment else place,
            v1=self._v1(),
            proxy=common.proxy or self._proxy_of_environment(place),
        )

    def other_keys(self, answers: InitOptions) -> InitOptions:
        """Ask again for the answers that the bank may have refused."""
        return replace(
            answers,
            client_id=self._typed(KEYS["client_id"]),
            client_secret=self._typed(KEYS["client_secret"]),
            institution=self._ask("Institution", answers.institution, check_institution),
        )

    def confirm(self, question: str) -> bool:
        """Ask a yes-no question; an empty answer means yes."""
        return not input(question).strip().lower().startswith("n")

    def _find(self, missing: list[str], find: Callable[[], str]) -> str:
        try:
            return find()
        except ConfigError as error:
            missing += error.errors
            return ""

    def _variable(self, name: str) -> str:
        return self.environ.get(PREFIX + name.upper(), "")

    def _place(self) -> str:
        given: str = (
            self.arguments.base_url
            or self.arguments.environment
            or self._variable("base_url")
            or self._variable("environment")
        )
        if given:
            return given
        if not self.can_ask:
            raise ConfigError(["environment: give --environment or --base-url"])
        return self._ask("Environment: stage, production, or a URL", "stage", check_place)

    def _institution(self) -> str:
        given: str = self.arguments.institution or self._variable("institution_id")
        if given:
            return given
        if not self.can_ask:
            raise ConfigError(["institution_id: give --institution or CANDESCENT_INSTITUTION_ID"])
        return self._ask("Institution, with its leading zeros", "", check_institution)

    def _v1(self) -> bool:
        if self.arguments.v1 is not None or not self.can_ask:
            return bool(self.arguments.v1)
        return input("Are there V1 calls too, under /fis/? [y/N] ").strip().lower().startswith("y")

    def _proxy_of_environment(self, place: str) -> str:
        """Ask whether to use the proxy that the environment names for the bank, if any."""
        url = urlsplit(ENVIRONMENTS.get(place, place))
        is_https = url.scheme == "https"
        port = url.port or (443 if is_https else 80)
        found = proxy_variable(self.environ, str(url.hostname), port, https=is_https)
        if found is None or not self.can_ask:
            return ""
        try:
            proxy = parse_proxy_url(found[1])
        except ValueError:
            return ""
        use = self.confirm(f"Use the proxy in {found[0]}, {proxy}? [Y/n] ")
        return ENVIRONMENT if use else ""

    def _key(self, name: str) -> str:
        flag = f"--{name.replace('_', '-')}-file"
        file: str = getattr(self.arguments, f"{name}_file") or self._variable(f"{name}_file")
        if file == "-":
            return checked_key(sys.stdin.readline(), f"{flag} -")
        if file:
            return read_secret(Path(file), flag)
        if given := self._variable(name):
            return checked_key(given, PREFIX + name.upper())
        if not self.can_ask:
            raise ConfigError([f"{name}: give {flag} or {PREFIX}{name.upper()}"])
        return self._typed(KEYS[name])

    def _typed(self, what: str) -> str:
        while True:
            try:
                return checked_key(getpass.getpass(f"{what} (not shown): "), what)
            except ConfigError as error:
                warn(error.errors[0])

    def _ask(self, question: str, otherwise: str, check: Callable[[str], str]) -> str:
        prompt = f"{question} [{otherwise}]: " if otherwise else f"{question}: "
        while True:
            try:
                return check(input(prompt).strip() or otherwise)
            except ConfigError as error:
                warn(error.errors[0])


def absolute(file: str) -> str:
    """Return an absolute path; an empty one stays empty."""
    return str(Path(file).absolute()) if file else ""


def checked_key(text: str, where: str) -> str:
    """Return a key without a line end. Raises ``ConfigError`` if it is invalid."""
    key = text.strip()
    if not key:
        raise ConfigError([f"{where}: is empty"])
    if not (key.isascii() and key.isprintable()):
        raise ConfigError([f"{where}: is not one line of printable ASCII"])
    return key


def check_place(text: str) -> str:
    """Return an environment or a base URL. Raises ``ConfigError``."""
    if text not in ENVIRONMENTS:
        _checked(replace(SANDBOX, base_url=text), "base_url")
    return text


def check_institution(text: str) -> str:
    """Return an institution. Raises ``ConfigError``."""
    return _checked(replace(SANDBOX, institution=text), "institution_id") or text


def _checked(answers: InitOptions, setting: str) -> str:
    try:
        checked(answers)
    except ConfigError as error:
        raise ConfigError([error for error in error.errors if error.startswith(setting)]) from None
    return ""
