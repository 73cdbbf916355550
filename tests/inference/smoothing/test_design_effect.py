import numpy as np
import pytest

from routestat import RoutestatError
from routestat.inference.smoothing.design_effect import transition_design_effect


def by_definition(tables):
    """Cell by cell: the variance over groups of psi, over the tokens of the cell; summed, per degree of freedom."""
    groups = [table for table in tables if table.sum()]
    total = sum(groups)
    spread = freedom = 0
    for i, row in enumerate(total):
        seen = [j for j in range(len(row)) if row[j]]
        freedom += max(len(seen) - 1, 0)
        for j in seen:
            psi = [table[i, j] - row[j] / row.sum() * table[i].sum() for table in groups]
            spread += sum(x * x for x in psi) / row[j]
    return max(1.0, len(groups) / (len(groups) - 1) * spread / freedom)


def test_two_documents_by_hand():
    # Each document has its own target, twice: p = 1/2, psi = ±1 in both cells, (1 + 1)/2 + (1 + 1)/2 = 2 over one
    # degree of freedom, times 2/(2 − 1).
    assert transition_design_effect([[[2, 0]], [[0, 2]]]) == 4.0


def test_it_is_the_definition_in_blocks_or_whole(monkeypatch):
    rng = np.random.default_rng(1)
    distributions = rng.dirichlet(np.full(4, 0.5), (30, 3))
    tables = np.array([[rng.multinomial(20, row) for row in distribution] for distribution in distributions])
    tables[[3, 17]] = 0  # groups without tokens are none
    tables[:, 2, 1:] = 0  # a row with one target has no freedom
    wanted = by_definition(tables)
    assert wanted > 3
    assert transition_design_effect(tables) == pytest.approx(wanted)
    monkeypatch.setattr("routestat.inference.base.chunks.CELLS", 30)
    assert transition_design_effect(tables) == pytest.approx(wanted)


def test_tokens_that_are_repeated_r_times_are_worth_one():
    rng = np.random.default_rng(2)
    once = np.zeros((500, 3, 4), int)
    once[np.arange(500), rng.integers(0, 3, 500), rng.integers(0, 4, 500)] = 1
    plain = by_definition(once * 1000) / 1000
    assert plain == pytest.approx(1, abs=0.1)  # independent tokens
    for times in (2, 8):
        assert transition_design_effect(once * times) == pytest.approx(times * plain)


def test_what_cannot_be_had_is_one():
    assert transition_design_effect(np.ones((1, 3, 3), int)) == 1.0  # one group
    assert transition_design_effect(np.zeros((5, 3, 3), int)) == 1.0  # no token
    assert transition_design_effect(np.tile([[[4, 0], [0, 7]]], (9, 1, 1))) == 1.0  # rows with one target
    assert transition_design_effect(np.full((9, 2, 2), 5)) == 1.0  # groups more alike than chance: not used


def test_relabelling_states_changes_nothing():
    rng = np.random.default_rng(3)
    tables = rng.poisson(rng.gamma(0.5, 4, (20, 4, 5)))
    shuffled = tables[:, rng.permutation(4)][:, :, rng.permutation(5)]
    assert transition_design_effect(shuffled) == pytest.approx(transition_design_effect(tables))


def test_counts_must_be_whole():
    with pytest.raises(RoutestatError, match="tables: expected whole counts"):
        transition_design_effect(np.full((2, 2, 2), 0.5))
