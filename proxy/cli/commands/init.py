"""``init``: writes a working configuration from Shared Key and Secret Key."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from proxy.cli import init_files
from proxy.cli.commands import OK
from proxy.cli.commands.common import report_failure
from proxy.cli.commands.questions import KEYS, Questions, checked
from proxy.cli.doctor.checks import check_bank
from proxy.cli.doctor.report import result_writer
from proxy.cli.doctor.results import CheckResult, has_failed
from proxy.cli.typed_name import typed_name
from proxy.config.model import Config
from proxy.config.origin_config import ENVIRONMENTS
from proxy.errors import ConfigError
from proxy.runtime import serve

ABOUT = """\
Asks for the environment, both keys and the institution, requests a token with them, and writes
a configuration that only you can read. In a script, flags answer the questions.
"""
EXAMPLE = """\
  candescent-proxy init
  candescent-proxy init --environment stage --institution 00016 \\
      --client-id-file key.txt --client-secret-file - < secret.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder and a flag for each answer; secrets are given as files, never as values."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("candescent-proxy"),
        metavar="FOLDER",
        help="folder for the files (default ./candescent-proxy)",
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--environment", choices=[*ENVIRONMENTS], help="Candescent environment")
    place.add_argument("--base-url", metavar="URL", help="base URL instead of an environment")
    place.add_argument(
        "--sandbox", action="store_true", help="a configuration for candescent-proxy sandbox"
    )
    for name, text in KEYS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}-file",
            metavar="FILE",
            help=f"a file with the {text}; - for a line of standard input",
        )
    parser.add_argument("--institution", metavar="DIGITS", help="with its leading zeros")
    parser.add_argument("--v1", action="store_true", default=None, help="there are V1 calls too")
    parser.add_argument("--listen", metavar="HOST:PORT", help="address that applications call")
    parser.add_argument("--admin", metavar="HOST:PORT", help="for probes, metrics, status page")
    parser.add_argument(
        "--proxy", metavar="URL", help="outbound proxy, or environment for that in HTTPS_PROXY"
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", help="authorities to trust instead of the system's"
    )
    parser.add_argument(
        "--no-trial", action="store_true", help="do not request a token from the bank"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace existing files, with a backup"
    )


def run(arguments: argparse.Namespace) -> int:
    """Get the answers, verify them with the bank, write the files. Raises ``ConfigError``."""
    folder: Path = arguments.folder
    old_files = init_files.existing_files(folder)
    if old_files and not arguments.force:
        raise ConfigError(
            [f"{old_files[0]}: exists already; --force replaces it and keeps a backup"]
        )
    questions = Questions(arguments, os.environ, can_ask=sys.stdin.isatty())
    answers = questions.answers()
    config = checked(answers)
    while not arguments.no_trial and has_failed(results := serve.run(verify(config))):
        is_refused = any(result.check == "token" and result.is_problem for result in results)
        may_ask = is_refused and questions.can_ask
        if not (may_ask and questions.confirm("Try other keys? [Y/n] ")):
            return report_failure(
                "nothing was written, because the bank issued no token (--no-trial skips this)."
            )
        answers = questions.other_keys(answers)
        config = checked(answers)
    try:
        backups = init_files.write(answers, folder)
    except OSError as error:
        return report_failure(f"{error.filename or folder} cannot be written ({error.strerror})")
    print(next_steps(folder, backups, is_sandbox=arguments.sandbox))
    return OK


async def verify(config: Config) -> list[CheckResult]:
    """Request a token of each kind that is needed, and print the results."""
    print("Verifying with the bank:")
    tell, results = result_writer(sys.stdout), list[CheckResult]()
    async for result in check_bank(config, os.environ, None):
        results.append(result)
        tell(result)
    return results


def next_steps(folder: Path, backups: list[Path], *, is_sandbox: bool) -> str:
    """Return the text after success: the files, and what to do next."""
    file = shlex.quote(str(folder / init_files.CONFIGURATION))
    lines = ["", "Written, readable only for you:"]
    lines += [f"  {folder / name}" for name in init_files.FILES]
    if backups:
        lines += ["Backups of the old files:", *(f"  {copy}" for copy in backups)]
    program = typed_name()
    lines += ["", "Next:"]
    if is_sandbox:
        lines.append(f"  {program} sandbox        (in another terminal)")
    lines.append(f"  {program} run --config {file}")
    lines += ["If something does not work:", f"  {program} doctor --config {file}"]
    return "\n".join(lines)
