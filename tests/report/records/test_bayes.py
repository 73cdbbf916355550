"""Full Bayes in the report: the record, the files, the pictures and the section, on posteriors made by hand."""

import json
import warnings
from dataclasses import replace

import arviz as az
import numpy as np
import pytest
from jinja2 import Environment
from matplotlib.collections import LineCollection

from routestat.inference.base.estimate import Estimate
from routestat.inference.bayes.predictive_checks import STATISTICS
from routestat.inference.bayes.results import Checks, Diagnosis, FullBayes, OrderComparison, OrderPosterior
from routestat.report.figures import bayes as bayes_figures
from routestat.report.html.page import Picture, page_environment
from routestat.report.records.bayes import bayes_file, bayes_record, write_bayes

LAYERS = (3, 4, 7)
BARE = "{% include 'bayes.html' %}"


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        yield


def diagnosis(rhat=1.0, ess=900.0, divergences=0, bfmi=0.9):
    names = {"mu": (), "log_strength": (3,)}
    sizes = {name: np.full(shape, ess) for name, shape in names.items()}
    ranks = {name: np.full(shape, rhat) for name, shape in names.items()}
    return Diagnosis(ranks, sizes, sizes, divergences, np.full(4, bfmi), 4)


def order_of(order, rng):
    units = 3 - order
    checks = Checks(
        STATISTICS,
        rng.random((3, units)),
        rng.random((3, 20, units)),
        rng.random((3, units)),
        np.full(units, np.nan if order == 2 else 9.0),
        np.full(units, np.nan if order == 2 else 0.02),
        "documents are compared at orders 0 and 1" if order == 2 else "",
    )
    strength = rng.normal(2.0, 0.3, (4, 50, units))
    mu = rng.normal(2.0, 0.1, (4, 50))
    data = az.from_dict({"mu": mu, "log_strength": strength})
    paths = tuple(LAYERS[unit : unit + order + 1] for unit in range(units))
    closed = np.full(units, 2.0)
    energy = rng.normal(100, 3, (4, 50))
    return OrderPosterior(
        order, paths, mu, np.exp(mu / 4), strength, closed, energy, diagnosis(), checks, data
    )


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    bits = tuple(Estimate(value, value - 0.2, value + 0.2, 0.1, 20) for value in (-4.0, -3.0, -3.1))
    behind = tuple(Estimate(value, value - 0.02, value + 0.02, 0.01, 20) for value in (1.0, 0.0, 0.1))
    pareto = rng.uniform(-0.2, 0.4, (3, 20))
    pareto[2, 4] = 0.9
    comparison = OrderComparison(
        (0, 1, 2), np.array([-40.0, -30.0, -31.0]), bits, behind, np.array([0, 1.0, 0]), pareto, 0.7, 1, 20, 6000, (7,)
    )  # fmt: skip
    orders = tuple(order_of(order, rng) for order in range(3))
    return FullBayes(LAYERS, orders, comparison, (), 50, 50, 4)


def test_the_record_holds_the_results_and_no_nan(result):
    record = bayes_record(result)
    json.dumps(record, allow_nan=False)
    assert record["layers"] == [3, 4, 7]
    assert [row["order"] for row in record["orders"]] == [0, 1, 2]
    unit, order = record["orders"][1]["units"][1], result.orders[1]
    assert unit["layers"] == [4, 7]
    assert unit["strength_tokens"] == pytest.approx(np.median(np.exp(order.log_strength[..., 1])))
    assert unit["strength_tokens_closed_form"] == pytest.approx(np.exp(2.0))
    assert unit["information_bits"] == order.checks.observed[0, 1]
    assert unit["p_cells"] == order.checks.p_values[1, 1]
    assert "by a factor of about 3" in record["orders"][1]["documents"]
    assert record["orders"][2]["reason"] == "documents are compared at orders 0 and 1"
    assert record["orders"][2]["units"][0]["design_effect"] is None
    rows = record["comparison"]["orders"]
    assert [row["behind_bits_per_token"] for row in rows] == [1.0, 0.0, 0.1]
    assert [row["n_pareto_k_bad"] for row in rows] == [0, 0, 1]
    assert record["comparison"]["chosen_order"] == 1
    assert "1 of 60 terms" in record["comparison"]["reading"]
    assert record["converged"]


def test_what_is_undefined_is_null_with_its_reason(result):
    strange = replace(result.orders[1], log_strength_closed_form=np.array([np.nan, 2.0]))
    record = bayes_record(replace(result, orders=(result.orders[0], strange)))
    units = record["orders"][1]["units"]
    assert units[0]["strength_tokens_closed_form"] is None
    assert units[0]["reason"] == "no token has a choice at all of these layers"
    assert "reason" not in units[1]


def test_a_table_that_was_not_replicated_is_null_with_its_reason(result):
    checks = result.orders[2].checks
    empty = replace(
        checks,
        observed=checks.observed * np.nan,
        replicated=checks.replicated * np.nan,
        p_values=checks.p_values * np.nan,
    )
    order = replace(result.orders[2], checks=empty)
    record = bayes_record(replace(result, orders=(*result.orders[:2], order)))
    json.dumps(record, allow_nan=False)
    unit = record["orders"][2]["units"][0]
    assert unit["p_cells"] is unit["cells"] is unit["cells_replicated"] is None
    assert unit["reason"] == "a table with so many rows is not replicated"


def test_files_are_read_back_and_stale_ones_go(result, tmp_path):
    (tmp_path / "bayes-order9.nc").write_bytes(b"old")
    paths = write_bayes(result, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [bayes_file(order) for order in range(3)]
    for path, order in zip(paths, result.orders, strict=True):
        read = az.from_netcdf(path)
        np.testing.assert_array_equal(read.posterior["log_strength"], order.log_strength)
        np.testing.assert_array_equal(read.posterior["mu"], order.mu)


def test_a_file_that_cannot_be_written_leaves_nothing_half_done(result, tmp_path):
    class Full:
        def to_netcdf(self, name, engine):
            open(name, "w").close()  # noqa: PTH123
            raise OSError("no space left")

    (tmp_path / bayes_file(0)).write_bytes(b"old")
    broken = replace(result.orders[0], inference_data=Full())
    with pytest.raises(OSError, match="no space"):
        write_bayes(replace(result, orders=(broken,)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [bayes_file(0)]


def test_pictures_show_the_draws(result):
    forest = bayes_figures.forest(result)
    for axes, order in zip(forest.axes, result.orders, strict=True):
        flat = np.exp(order.log_strength.reshape(-1, len(order.paths)))
        lines = [item for item in axes.collections if isinstance(item, LineCollection)]
        ends = np.array([segment[:, 0] for segment in lines[0].get_segments()])
        # The quantile of a log is the log of a quantile up to how two neighbours are averaged.
        np.testing.assert_allclose(ends, np.quantile(flat, [0.025, 0.975], axis=0).T, rtol=0.01)
        crosses = next(line for line in axes.lines if line.get_marker() == "x")
        np.testing.assert_allclose(crosses.get_xdata(), np.exp(order.log_strength_closed_form))
    ranks = bayes_figures.ranks(result)
    for patch in ranks.axes[0].patches:
        assert patch.get_data().values.sum() == 50
    trace = bayes_figures.trace(result)
    np.testing.assert_array_equal(trace.axes[1].lines[2].get_ydata(), result.orders[0].mu[2])


def test_every_picture_is_drawn_with_readable_text(result):
    for figure in bayes_figures.all_pictures(result).values():
        figure.canvas.draw()
        sizes = [
            text.get_fontsize()
            for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
            if text.get_text()
        ]
        assert min(sizes) >= 8


def section(result):
    environment: Environment = page_environment()
    pictures = {name: Picture(f"figures/{name}.png", 10, 10) for name in bayes_figures.all_pictures(result)}
    return environment.from_string(BARE).render(record={"bayes": bayes_record(result)}, pictures=pictures)


def test_the_section_says_verdicts_orders_and_what_documents_do(result):
    text = " ".join(section(result).split())
    for name in bayes_figures.all_pictures(result):
        assert f"figures/{name}.png" in text
    assert "All samplers converged" in text
    assert "order 1 is the lowest" in text
    assert text.count('data-table="bayes-samplers"') == text.count('data-table="bayes-orders"') == 3
    assert text.count('data-table="bayes-order1"') == 2
    assert "too narrow by a factor of about 3" in text
    broken = replace(result.orders[0], diagnosis=diagnosis(divergences=3))
    text = section(replace(result, orders=(broken, *result.orders[1:])))
    assert "Not every sampler converged" in text
    assert "3 steps diverged" in text


def test_the_section_of_orders_that_could_not_be_compared(result):
    nan = Estimate(np.nan, np.nan, np.nan, np.nan, 1, "one")
    blank = replace(
        result.comparison,
        elpd_bits=(nan,) * 3,
        behind_bits=(nan,) * 3,
        elpd_nats=np.full(3, np.nan),
        weight=np.full(3, np.nan),
        pareto_k=np.full((3, 1), np.nan),
        good_k=np.nan,
        chosen_order=None,
        reason="the orders cannot be compared: one group",
    )
    text = section(replace(result, comparison=blank))
    assert "the orders cannot be compared: one group" in text
    assert "nan" not in text.lower().split("bayes-title")[1].replace("dominant", "")
