"""Reports of the bench: JSON, tables, charts."""

from pathlib import Path

import pytest
from defusedxml import ElementTree

from bench import chart
from bench.cases import CASES
from bench.report import METRICS, PAGE, PLACE, CaseResult, markdown, saved

MACHINE = {"processor": "Abacus", "cores": "2", "commit": ""}


def result(name: str, **peers: dict[str, float]) -> CaseResult:
    """Return a result of one round with this measurement of each proxy."""
    case = CASES[name]
    filled = {peer: dict.fromkeys(case.metrics, 10.0) | sample for peer, sample in peers.items()}
    return CaseResult(case, "2026-01-02T03:04:05+00:00", 3, MACHINE, [filled])


def test_every_shown_metric_has_a_name() -> None:
    """Of each case."""
    assert {metric for case in CASES.values() for metric in case.metrics} <= METRICS.keys()


def test_results_can_be_loaded(tmp_path: Path) -> None:
    """In the order of the cases."""
    late, early = result("tls", ours={}), result("small", ours={}, envoy={"cpu_us": 20.0})
    for one in (late, early):
        one.save(tmp_path)
    assert saved(tmp_path) == [early, late]
    assert '"ratio": 0.5' in (tmp_path / "small.json").read_text()


def test_tables_have_figures_and_ratios() -> None:
    """Rows are metrics, columns proxies, with ratios to Envoy."""
    text = markdown([result("small", envoy={"cpu_us": 40.0}, ours={"cpu_us": 30.0})])
    assert "processor Abacus" in text
    assert "commit" not in text
    assert "| | | candescent-proxy | Envoy |" in text
    assert "| plain upstream | CPU a request, µs | 30.0 (0.75) | 40.0 |" in text
    assert "| | requests a second | 10 (1.00) | 10 |" in text


def test_failures_are_shown() -> None:
    """Beside their figure."""
    text = markdown([result("small", ours={"failed": 0.125})])
    assert "| 10.0, 12.5% failed |" in text


def test_cost_of_an_institution() -> None:
    """From one and a thousand."""
    one = result("institutions_1", ours={"resident_mb": 60.0})
    many = result("institutions_1000", ours={"resident_mb": 64.995})
    assert "Each further institution takes 5.0 KB of memory." in markdown([one, many])


def test_documentation_has_a_place_for_the_report() -> None:
    """Both marks in bench/README.md."""
    assert "new" in PLACE.put(PAGE.read_text(encoding="utf-8"), "new")


def test_chart_has_a_bar_for_each_proxy() -> None:
    """The longest has the greatest figure; unknown cases have no chart."""
    figures = {name: {"cpu_us": cpu} for name, cpu in (("ours", 30.0), ("envoy", 60.0))}
    picture = ElementTree.fromstring(chart.svg({"small": figures, "log_on": figures}))
    space = "{http://www.w3.org/2000/svg}"
    bars = [float(bar.attrib["width"]) for bar in picture.findall(f"{space}rect")[1:]]
    texts = [text.text for text in picture.findall(f"{space}text")]
    assert bars[1] == pytest.approx(2 * bars[0], abs=0.1)
    assert len(bars) == 2
    assert texts == [
        "CPU a request, plain upstream",
        "candescent-proxy",
        "30 µs",
        "Envoy",
        "60 µs",
    ]


def test_very_long_bar_is_cut() -> None:
    """With a mark."""
    picture = chart.svg({"small": {"ours": {"cpu_us": 3.0}, "aiohttp": {"cpu_us": 3000.0}}})
    assert "3000 µs (bar cut)" in picture
    assert "3.00 µs<" in picture
