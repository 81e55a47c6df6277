"""``doctor``: finds what is wrong with an installation, and how to fix it."""

import argparse
import os
import sys

from proxy.cli.commands import FAILED, OK
from proxy.cli.commands.common import add_settings, config_file, flags
from proxy.cli.doctor.bank_check import SAMPLE
from proxy.cli.doctor.checks import ConfigSources, run_checks
from proxy.cli.doctor.report import ResultWriter, document, result_writer, summary
from proxy.cli.doctor.results import CheckResult, has_failed
from proxy.runtime import serve

ABOUT = """\
Checks the configuration, its files, ports, the connection to the bank, the clock, tokens and one
call, and says how to fix what is wrong. A running proxy is not disturbed.
"""
EXAMPLE = """\
  candescent-proxy doctor --config candescent-proxy/proxy.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings, the output format, and the sample call."""
    add_settings(parser, "listen", "admin", "base_url")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--call",
        metavar="PATH",
        default=SAMPLE,
        help=f"path of a sample call to the bank (default {SAMPLE})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run all checks; return 1 if one failed, else 0."""
    sources = ConfigSources(config_file(arguments), os.environ, flags(arguments))
    return serve.run(_examine(sources, arguments.call, as_json=arguments.json))


async def _examine(sources: ConfigSources, call: str, *, as_json: bool) -> int:
    results: list[CheckResult] = []
    tell: ResultWriter = (lambda _: None) if as_json else result_writer(sys.stdout)
    async for result in run_checks(sources, sample=call):
        results.append(result)
        tell(result)
    print(document(results) if as_json else summary(results))
    return FAILED if has_failed(results) else OK
