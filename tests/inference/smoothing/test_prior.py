"""The prior by rule, and what is no prior."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.smoothing.backoff import hierarchical_alpha
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.posterior import log_evidence, transition_posterior
from routestat.inference.smoothing.prior import parse_alpha, resolve_alpha

ROWS = np.array([[3, 0, 1], [0, 2, 0], [5, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("rows", [[[4, 1, 0]], [[0, 0, 0], [4, 1, 0]]])
def test_empirical_bayes_of_a_single_row_is_perks_and_no_other_rule_changes(rows) -> None:
    np.testing.assert_array_equal(resolve_alpha(rows, "empirical-bayes"), np.full(3, 1 / 3))
    np.testing.assert_array_equal(resolve_alpha(rows, "jeffreys"), np.full(3, 0.5))
    np.testing.assert_array_equal(resolve_alpha(rows, 2.0), np.full(3, 2.0))
    np.testing.assert_array_equal(resolve_alpha(rows, "hierarchical"), hierarchical_alpha(np.array(rows)))


def test_named_priors() -> None:
    assert resolve_alpha(ROWS, "jeffreys").tolist() == [0.5] * 3
    assert resolve_alpha(ROWS, "perks").tolist() == [1 / 3] * 3
    assert resolve_alpha(ROWS, 2).tolist() == [2.0] * 3
    assert resolve_alpha(ROWS, [1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(resolve_alpha(ROWS, "empirical-bayes"), fit_concentration(ROWS))
    assert resolve_alpha(np.zeros((2, 3), dtype=int), "empirical-bayes").tolist() == [0.5] * 3


def test_the_hierarchical_prior_by_name() -> None:
    rng = np.random.default_rng(11)
    rows = np.array([rng.multinomial(40, rng.dirichlet([0.3, 1.0, 2.5, 0.8])) for _ in range(60)])
    alpha = resolve_alpha(rows, "hierarchical")
    np.testing.assert_array_equal(alpha, hierarchical_alpha(rows))
    assert alpha.shape == (4,)
    assert not alpha.flags.writeable
    # Two numbers fitted one after the other have less evidence than all four at once, and more than a rule of thumb.
    fitted, backed, thumb = (
        np.sum(log_evidence(rows, resolve_alpha(rows, rule)))
        for rule in ("empirical-bayes", "hierarchical", "jeffreys")
    )
    assert thumb < backed <= fitted + 1e-9
    assert fitted - backed < 1
    assert resolve_alpha(np.zeros((2, 3), dtype=int), "hierarchical").tolist() == [0.5] * 3
    assert parse_alpha("hierarchical") == "hierarchical"


@pytest.mark.parametrize("rule", ["uniform", "Hierarchical", "", "hierarchical "])
def test_rules_that_do_not_exist_are_refused(rule: str) -> None:
    for refused in (
        lambda: resolve_alpha(ROWS, rule),
        lambda: transition_posterior(ROWS, rule),
        lambda: parse_alpha(rule),
    ):
        with pytest.raises(
            RoutestatError, match="one of jeffreys, perks, empirical-bayes, hierarchical, got '"
        ):
            refused()
