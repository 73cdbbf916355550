"""P-values adjusted within and across families."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from routestat.errors import RoutestatError
from routestat.inference.base.multiplicity import adjust, adjust_families, adjust_log10
from tests.oracle.inference_oracle import step_up


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: adjust([0.5, 1.2]), "0 to 1"),
        (lambda: adjust([-0.1]), "0 to 1"),
        (lambda: adjust([0.5], "bonferroni"), "method"),
        (lambda: adjust_log10([0.3]), "0 or less"),
        (lambda: adjust_log10([-1], "holm"), "method"),
    ],
)
def test_p_values_out_of_range_are_refused(call: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        call()  # type: ignore[operator]


p_lists = st.lists(st.floats(1e-12, 1), min_size=1, max_size=30)


@given(p_lists, st.sampled_from(["bh", "by"]))
@settings(max_examples=60, deadline=None)
def test_adjusted_against_the_definition_and_statsmodels(p: list[float], method: str) -> None:
    q = adjust(p, method)
    np.testing.assert_allclose(q, step_up(p, method == "by"), rtol=1e-12)
    np.testing.assert_allclose(q, multipletests(p, method=f"fdr_{method}")[1], rtol=1e-12)
    np.testing.assert_allclose(10 ** adjust_log10(np.log10(p), method), q, rtol=1e-11)


def test_undefined_p_values_stay_so_and_do_not_count() -> None:
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    q = adjust(p)
    np.testing.assert_allclose(q, [[0.03, np.nan], [0.04, 0.04]])
    np.testing.assert_allclose(adjust_log10(np.log10(p)), np.log10(q))
    assert np.isnan(adjust([np.nan])).all()
    assert adjust([]).size == 0


def test_logs_keep_order_where_p_is_zero() -> None:
    logs = np.array([-4000.0, -217_000.0, -0.1, -350.0])
    # Ranks 2, 1, 4, 3 of four: 4/2, 4/1, 4/4, 4/3 times p.
    np.testing.assert_allclose(
        adjust_log10(logs), logs + np.log10([4 / 2, 4 / 1, 4 / 4, 4 / 3]), rtol=0, atol=1e-9
    )


def test_families_are_adjusted_together() -> None:
    families = {"one": [-3.0, math.nan, -1.0], "two": [-2.0], "none": []}
    found = adjust_families(families)
    together = adjust_log10([-3.0, math.nan, -1.0, -2.0], "by")
    np.testing.assert_array_equal(found["one"], together[:3])
    np.testing.assert_array_equal(found["two"], together[3:])
    assert found["none"].size == 0
    assert adjust_families({}) == {}


def test_q_values_cope_with_tests_that_were_not_made() -> None:
    assert adjust_log10([math.nan, -3.0, math.nan]) == pytest.approx([math.nan, -3.0, math.nan], nan_ok=True)
    assert np.isnan(adjust_log10([math.nan, math.nan])).all()
