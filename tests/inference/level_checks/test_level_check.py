"""Rates, bins and words of the checks of level, from p-values that are known."""

import math

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.level_checks.half_splits import half_splits, p_histogram
from routestat.inference.level_checks.level_check import LevelCheck, level_check, loads_check, trust
from routestat.inference.level_checks.null_p_values import PValues


def p_values(clustered, iid=None, reasons=()) -> PValues:
    clustered = np.array(clustered, float)
    return PValues(
        clustered, np.full(len(clustered), np.nan) if iid is None else np.array(iid, float), reasons
    )


def at_rate(family: str, rate: float, n: int = 200) -> LevelCheck:
    rejected = round(rate * n)
    return level_check(family, [p_values([0.01] * rejected + [0.5] * (n - rejected))], n_units=40)


def test_rates_errors_and_bins_by_hand() -> None:
    first = p_values([0.01, 0.04, 0.06, 0.99] * 10, [1e-9] * 30 + [0.5] * 10)
    second = p_values([0.5] * 40, [1e-9] * 40)
    check = level_check("independence", [first, second], n_units=24)
    assert (check.n_draws, check.n_units, check.level) == (80, 24, 0.05)
    assert (check.rate_clustered, check.rate_iid) == (0.25, 0.875)
    assert check.rate_clustered_error == pytest.approx(math.sqrt(0.25 * 0.75 / 80))
    assert check.rate_iid_error == pytest.approx(math.sqrt(0.875 * 0.125 / 80))
    wanted = np.zeros(20, int)
    wanted[[0, 1, 10, 19]] = 20, 10, 40, 10
    assert check.p_histogram.tolist() == wanted.tolist()
    assert not check.p_histogram.flags.writeable
    assert (check.reason, check.note, check.verdict) == (None, None, "above")


def test_draws_without_a_p_value_do_not_count() -> None:
    check = level_check("order", [p_values([0.5] * 60 + [np.nan] * 20, reasons=("no groups",) * 20)], 30)
    assert (check.n_draws, check.rate_clustered, check.p_histogram.sum()) == (60, 0.0, 60)
    assert check.note == "20 of 80 draws had no p-value: no groups"
    none = level_check(
        "order", [p_values([np.nan] * 80, reasons=("too few units",) * 50 + ("other",) * 30)], 30
    )
    assert (none.reason, none.verdict, none.n_draws) == ("too few units", "unchecked", 0)
    assert math.isnan(none.rate_clustered)
    assert none.reading() == "Order: not checked, too few units."
    assert "draws are too few" in str(level_check("order", [p_values([0.5] * 49)], 30).reason)
    assert "draws are too few" in str(level_check("order", [], 30).reason)


@pytest.mark.parametrize(
    ("rate", "verdict"),
    # 0.6 times the level less two Monte-Carlo errors of 200 draws, .006, and 1.4 times it and one error, .088.
    [(0.005, "below"), (0.01, "holds"), (0.05, "holds"), (0.085, "holds"), (0.09, "above"), (1.0, "above")],
)
def test_verdict_allows_for_the_drawing(rate: float, verdict: str) -> None:
    assert at_rate("order", rate).verdict == verdict


def test_readings_have_the_rates_in_them() -> None:
    check = level_check("independence", [p_values([0.01] * 5 + [0.5] * 95, [0.0] * 90 + [1.0] * 10)], 40)
    assert "independent in 90.0% of 100 draws (Monte-Carlo error 3.0%)" in check.reading()
    assert "clustered test in 5.0% (2.2%), at about the nominal level." in check.reading()
    wide = at_rate("independence", 0.2)
    assert "tokens as independent" not in wide.reading()
    assert "clustered test in 20.0% of 200 draws (Monte-Carlo error 2.8%), more often" in wide.reading()
    assert "no test takes tokens as independent" in str(wide.note)


def test_p_values_are_trusted_only_when_all_families_hold() -> None:
    fine = [at_rate(family, 0.05) for family in ("loads", "independence", "order")]
    assert trust(fine).startswith(
        "Clustered p-values of loads, independence and order can be trusted here: in data without"
    )
    assert "Not checked" not in trust(fine)
    bad = trust([*fine[:2], at_rate("order", 0.3)])
    assert "can be trusted here" not in bad
    assert "tests of order (30.0% at a level of 0.05) reject more often" in bad
    assert "independence" not in bad
    careful = trust([fine[0], at_rate("independence", 0.0), at_rate("order", 0.3)])
    assert "tests of order (30.0% at a level of 0.05) reject more often" in careful
    assert "tests of independence (0.0% at a level of 0.05) reject less often" in careful
    unknown = level_check("order", [p_values([np.nan] * 9, reasons=("one layer",) * 9)], 30)
    assert trust([*fine[:2], unknown]).endswith("at about the nominal level. Not checked: order.")
    assert trust([unknown]) == "Whether p-values can be trusted here could not be checked: one layer."


def test_loads_are_a_family_like_the_others() -> None:
    rng = np.random.default_rng(0)
    loads = [rng.multinomial(60, rng.dirichlet(np.full(6, 2.0), 40)) for _ in range(3)]
    halves = half_splits(loads, rng, n_splits=200)
    check = loads_check(halves)
    assert check.p_histogram.sum() == 600
    assert check.p_histogram[0] / 600 == pytest.approx(check.rate_clustered)
    assert (check.rate_clustered, check.rate_iid) == (halves.pooled_clustered, halves.pooled_iid)
    assert (check.n_units, check.n_draws, check.verdict) == (40, 200, "holds")
    none = loads_check(half_splits([loads[0][:5]], rng))
    assert (none.verdict, none.n_draws, none.p_histogram.sum()) == ("unchecked", 0, 0)


def test_p_values_at_the_ends_have_bins_and_nan_has_none() -> None:
    assert p_histogram(np.array([0.0, 1.0, np.nan, 0.05])).tolist() == [1, 1, *[0] * 17, 1]


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(RoutestatError, match="between 0 and 1"):
        level_check("loads", [], 3, level=1.0)
