"""What the results of full Bayes report."""

import numpy as np
import pytest

from routestat.inference.bayes.results import Diagnosis


def diagnosis(rhat=1.0, ess=900.0, divergences=0, bfmi=0.9):
    """Of two parameters; only the second is in trouble."""
    ranks = {"mu": np.array(1.0), "log_strength": np.array([1.0, rhat, 1.0])}
    sizes = {"mu": np.array(900.0), "log_strength": np.array([900.0, ess, 900.0])}
    return Diagnosis(ranks, sizes, sizes, divergences, np.array([0.9, bfmi]), 4)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ({"rhat": 1.05}, "R-hat 1.0500 of log_strength"),
        ({"rhat": np.nan}, "R-hat nan of log_strength"),
        ({"ess": 100.0}, "only 100, expected 400"),
        ({"ess": np.nan}, "only nan"),
        ({"divergences": 3}, "3 steps diverged"),
        ({"bfmi": 0.1}, "E-BFMI 0.10"),
        ({"bfmi": np.nan}, "E-BFMI nan"),
    ],
)
def test_the_verdict_says_what_is_wrong_and_what_to_do(words, wrong):
    found = diagnosis(**words)
    assert not found.converged
    assert wrong in found.verdict
    assert "use more" in found.verdict


def test_good_chains_have_converged():
    found = diagnosis()
    assert found.converged
    assert found.verdict == "converged"
    assert (found.rhat_max, found.ess_bulk_min, found.ess_tail_min) == (1.0, 900.0, 900.0)
