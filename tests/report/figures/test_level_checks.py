"""The A/A check on the page, in results.json and in the terminal: one row, one sentence and one panel a family."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from routestat.inference.level_checks.level_check import LevelCheck
from routestat.report.figures import level_checks as level_check_figures
from routestat.report.figures import style as canvas
from routestat.report.terminal.study import summarise

FAMILIES = ["loads", "independence", "order"]
KEYS = {"family", "n_units", "n_draws", "level", "rate_iid", "rate_iid_error", "rate_clustered"} | {
    "rate_clustered_error", "p_histogram", "verdict", "reading"
}  # fmt: skip


def test_families_of_the_page_equal_results(any_report):
    families = any_report.results["calibration"]["families"]
    rows = any_report.page.table("calibration_families")
    assert [row.attributes["data-family"] for row in rows] == FAMILIES
    assert [record["family"] for record in families] == FAMILIES
    for row, record in zip(rows, families, strict=True):
        assert set(record) - {"note", "reason"} == KEYS
        assert (
            ("reason" in record) == (record["verdict"] == "unchecked") == (record["rate_clustered"] is None)
        )
        rates = ("rate_iid", "rate_iid_error", "rate_clustered", "rate_clustered_error")
        shown = [record[name] for name in ("n_units", "n_draws", *rates) if record[name] is not None]
        assert [float(exact) for exact, _ in row.numbers] == shown
        assert " ".join(record["reading"].split()) in any_report.page.text
        assert len(record["p_histogram"]) == 20


def test_a_family_without_a_reason_has_all_its_p_values(reports):
    loads, independence, order = reports("states").results["calibration"]["families"]
    assert sum(loads["p_histogram"]) == loads["n_draws"] * 4
    assert sum(independence["p_histogram"]) == independence["n_draws"] == 240
    # A draw of so few documents may have no p-value of order.
    assert 50 <= sum(order["p_histogram"]) == order["n_draws"] <= 102
    assert independence["rate_clustered"] == pytest.approx(independence["p_histogram"][0] / 240)
    assert independence["rate_iid"] is not None
    wide = reports("experts").results["calibration"]["families"]
    assert wide[1]["rate_iid"] is None
    assert "no test takes tokens as independent" in wide[1]["note"]
    assert wide[2]["verdict"] == "unchecked"


def test_rates_outside_the_families_are_those_of_the_loads(any_report):
    check = any_report.results["calibration"]
    loads = check["families"][0]
    for name in ("rate_iid", "rate_iid_error", "rate_clustered", "rate_clustered_error"):
        assert check[name] == loads[name]


def test_the_answer_leads_and_is_in_the_summary(any_report, capsys):
    check, page = any_report.results["calibration"], any_report.page
    assert check["reading"].startswith(check["answer"])
    section = page.text.split("Can the p-values be trusted?")[-1]
    assert section.startswith(" " + check["answer"])
    summarise(any_report.study, Path("out/index.html"))
    assert check["reading"] in " ".join(capsys.readouterr().out.split())
    tested = [row for row in any_report.results["dependence"] if row["log10_p_clustered"] is not None]
    if any(row["mi_bits"] is not None for row in tested):
        assert page.text.count(check["answer"]) == 2


def test_the_picture_is_there_or_says_why_not(reports):
    images = {image["src"]: image for image in reports("states").page.all("img")}
    assert "Histograms of clustered p-values" in images["figures/calibration.png"]["alt"]
    assert "figures/calibration.png" not in {i["src"] for i in reports("one document").page.all("img")}
    assert (
        level_check_figures.p_histograms(reports("one document").study.level_checks.families)
        == "No test could be checked, so there are no p-values to show."
    )


def test_panels_hold_the_shares_of_the_histograms():
    shares = np.arange(20)
    given = [
        LevelCheck(family="order", n_units=30, n_draws=190, level=0.1, p_histogram=shares),
        LevelCheck(family="loads", n_units=30, n_draws=0, level=0.1, p_histogram=0 * shares, reason="none"),
    ]
    figure = level_check_figures.p_histograms(given)
    (axes,) = figure.axes
    assert axes.get_title() == "order, 190 draws"
    bars = axes.patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], shares / 190)
    np.testing.assert_allclose([bar.get_x() for bar in bars], shares / 20, atol=1e-12)
    colours = [to_hex(bar.get_facecolor()).upper() for bar in bars]
    assert colours == [canvas.VERMILLION] * 2 + [canvas.BLUE] * 18


def test_design_effects_are_named_apart(reports):
    page = reports("states").page.text
    for name in ("loads", "table", "transition probabilities"):
        assert f"design effect of the {name}" in page
    assert "(the design effect)" not in page
