"""``init``: from Shared Key and Secret Key to a configuration that works, in two minutes."""

import argparse
import getpass
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from proxy import first_steps, runner, settings
from proxy.commands import OK
from proxy.commands.shared import complain, failed
from proxy.config import ENVIRONMENTS, Config
from proxy.credentials import read_secret
from proxy.doctor.examination import examine_bank
from proxy.doctor.findings import has_failed
from proxy.doctor.report import teller
from proxy.errors import ConfigError
from proxy.first_steps import Answers

SANDBOX = Answers("sandbox-client", "sandbox-secret", "00016", base_url="http://127.0.0.1:8081")
"""What ``candescent-proxy sandbox`` takes, unless it is told otherwise."""

_KEYS = {"client_id": "Shared Key", "client_secret": "Secret Key"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where it is written, and an answer to each question; never a secret itself."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("candescent-proxy"),
        metavar="FOLDER",
        help="where it is written (default ./candescent-proxy)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--environment", choices=[*ENVIRONMENTS], help="where the bank's API is")
    place.add_argument("--base-url", metavar="URL", help="the same, as a URL")
    place.add_argument(
        "--sandbox", action="store_true", help="a set-up for candescent-proxy sandbox"
    )
    for name, text in _KEYS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}-file",
            metavar="FILE",
            help=f"a file with the {text}; - for a line of standard input",
        )
    parser.add_argument("--institution", metavar="DIGITS", help="with its leading zeros")
    parser.add_argument("--v1", action="store_true", default=None, help="there are V1 calls too")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where applications will call")
    parser.add_argument("--admin", metavar="HOST:PORT", help="for probes, metrics, status page")
    parser.add_argument("--proxy", metavar="URL", help="a company's HTTP proxy on the way out")
    parser.add_argument(
        "--ca-file", metavar="FILE", help="authorities to trust instead of the system's"
    )
    parser.add_argument("--no-trial", action="store_true", help="do not ask the bank for a token")
    parser.add_argument(
        "--force", action="store_true", help="replace what is there, and keep a copy of it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Get the answers, try them at the bank, write them down. Raises ``ConfigError``."""
    folder: Path = arguments.folder
    there = first_steps.in_the_way(folder)
    if there and not arguments.force:
        raise ConfigError(
            [f"{there[0]}: is there already; --force replaces it and keeps the old one beside it"]
        )
    questions = Questions(arguments, os.environ, can_ask=sys.stdin.isatty())
    answers = questions.answers()
    config = checked(answers)
    while not arguments.no_trial and not runner.run(is_taken(config)):
        if not (questions.can_ask and questions.agree("Try other keys? [Y/n] ")):
            return failed("nothing was written, because the bank gave no token (--no-trial does).")
        answers = questions.other_keys(answers)
        config = checked(answers)
    try:
        kept = first_steps.write(answers, folder)
    except OSError as error:
        return failed(f"{error.filename or folder} cannot be written ({error.strerror})")
    print(farewell(folder, kept, is_sandbox=arguments.sandbox))
    return OK


def checked(answers: Answers) -> Config:
    """Return the configuration that the answers mean. Raises ``ConfigError``."""
    return settings.load(None, {}, answers.settings())


async def is_taken(config: Config) -> bool:
    """Ask the bank for a token of each kind that is wanted, and tell how that went."""
    print("Asking the bank:")
    tell, found = teller(sys.stdout), []
    async for finding in examine_bank(config, os.environ, None):
        found.append(finding)
        tell(finding)
    return not has_failed(found)


def farewell(folder: Path, kept: list[Path], *, is_sandbox: bool) -> str:
    """Return what to say in the end: what is where, and what to do next."""
    file = shlex.quote(str(folder / first_steps.CONFIGURATION))
    lines = ["", "Written, for nobody but you to read:"]
    lines += [f"  {folder / name}" for name in first_steps.FILES]
    if kept:
        lines += ["What was there before:", *(f"  {copy}" for copy in kept)]
    lines += ["", "Next:"]
    if is_sandbox:
        lines.append("  candescent-proxy sandbox        (in a terminal of its own)")
    lines.append(f"  candescent-proxy run --config {file}")
    lines += ["If something does not work:", f"  candescent-proxy doctor --config {file}"]
    return "\n".join(lines)


@dataclass(slots=True)
class Questions:
    """Finds each answer: in a flag, in the environment, or by asking, where somebody is there.

    What is missing where nobody is there is told all at once.
    """

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    can_ask: bool

    def answers(self) -> Answers:
        """Return all of them. Raises ``ConfigError`` for what cannot be had."""
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
        keys = [self._find(missing, partial(self._key, name)) for name in _KEYS]
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
        )

    def other_keys(self, answers: Answers) -> Answers:
        """Ask anew for what the bank may have refused."""
        return replace(
            answers,
            client_id=self._typed(_KEYS["client_id"]),
            client_secret=self._typed(_KEYS["client_secret"]),
            institution=self._ask("Institution", answers.institution, check_institution),
        )

    def agree(self, question: str) -> bool:
        """Ask for a yes, which an empty answer is too."""
        return not input(question).strip().lower().startswith("n")

    def _find(self, missing: list[str], find: Callable[[], str]) -> str:
        try:
            return find()
        except ConfigError as error:
            missing += error.mistakes
            return ""

    def _variable(self, name: str) -> str:
        return self.environ.get(settings.PREFIX + name.upper(), "")

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

    def _key(self, name: str) -> str:
        flag = f"--{name.replace('_', '-')}-file"
        file: str = getattr(self.arguments, f"{name}_file") or self._variable(f"{name}_file")
        if file == "-":
            return checked_key(sys.stdin.readline(), f"{flag} -")
        if file:
            return read_secret(Path(file), flag)
        if given := self._variable(name):
            return checked_key(given, settings.PREFIX + name.upper())
        if not self.can_ask:
            raise ConfigError([f"{name}: give {flag} or {settings.PREFIX}{name.upper()}"])
        return self._typed(_KEYS[name])

    def _typed(self, what: str) -> str:
        while True:
            try:
                return checked_key(getpass.getpass(f"{what} (not shown): "), what)
            except ConfigError as error:
                complain(error.mistakes[0])

    def _ask(self, question: str, otherwise: str, check: Callable[[str], str]) -> str:
        shown = f"{question} [{otherwise}]: " if otherwise else f"{question}: "
        while True:
            try:
                return check(input(shown).strip() or otherwise)
            except ConfigError as error:
                complain(error.mistakes[0])


def absolute(file: str) -> str:
    """Return a path as it is called from everywhere; none stays none."""
    return str(Path(file).absolute()) if file else ""


def checked_key(text: str, where: str) -> str:
    """Return a key without the line's end. Raises ``ConfigError`` for what can be none."""
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


def _checked(answers: Answers, setting: str) -> str:
    try:
        checked(answers)
    except ConfigError as error:
        raise ConfigError(
            [mistake for mistake in error.mistakes if mistake.startswith(setting)]
        ) from None
    return ""
