"""Summaries of posterior draws, against values counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from routestat.study.posterior_draws import draw_ranks, energy_changes, strength_draws, typical_strength


def test_ranks_run_over_all_chains_and_ties_share_their_mean():
    draws = np.array([[0.5, 2.0, 2.0], [1.0, 7.0, -1.0]])
    assert draw_ranks(draws).tolist() == [[2, 4.5, 4.5], [3, 6, 1]]


def test_changes_of_the_energy_stay_within_a_chain():
    centred, change = energy_changes(np.array([[1.0, 3.0], [6.0, 2.0]]))
    assert centred.tolist() == [[-2, 0], [3, -1]]
    assert change.tolist() == [[2], [-4]]


def test_strengths_are_in_tokens():
    item = SimpleNamespace(mu=np.log([[2.0, 8.0]]), log_strength=np.log([[[1.0, 9.0], [3.0, 9.0]]]))
    assert typical_strength(item) == pytest.approx(4)
    assert strength_draws(item, 0).mean == pytest.approx(2)
