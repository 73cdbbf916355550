"""Pairs of modules: against slow obvious fits, the co-activation of one step, planted pairs, and none."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.inference.association.cell_tests import cell_tests
from routestat.structure.coactivation import coactivation
from routestat.structure.module_pairs import joint_selection, repeats, successions
from tests.structure.module_tables import made

FOUND = math.log10(0.05)


def without_diagonal(table):
    """Iterative proportional fitting of a table of ones without its diagonal, cell by cell."""
    fitted = 1.0 - np.eye(len(table))
    table = table * fitted
    for _ in range(5000):
        fitted *= (table.sum(axis=1) / fitted.sum(axis=1))[:, None]
        fitted *= table.sum(axis=0) / fitted.sum(axis=0)
    return fitted


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_expected_successions_are_those_of_proportional_fitting(seed):
    tables = np.random.default_rng(seed).integers(1, 30, (2, 7, 4, 4))
    found = successions(tables)
    expected = sum(without_diagonal(table.sum(axis=0)) for table in tables)
    np.testing.assert_allclose(found.expected, expected[found.first, found.second], rtol=1e-6)
    np.testing.assert_allclose(found.observed, tables.sum(axis=(0, 1))[found.first, found.second])
    np.testing.assert_allclose(found.lift, found.observed / found.expected)
    assert len(found.first) == 12
    assert (found.first != found.second).all()


def test_scores_of_successions_are_each_group_less_its_part_of_the_fit():
    table = np.random.default_rng(0).integers(1, 30, (8, 4, 4))
    found, size = successions([table]), table.sum(axis=(1, 2)) - np.trace(table, axis1=1, axis2=2)
    whole = without_diagonal(table.sum(axis=0))
    scores = np.array(
        [one * (1 - np.eye(4)) - whole + without_diagonal(table.sum(axis=0) - one) for one in table]
    )
    total = scores.sum(axis=0)
    spread = 8 / 7 * ((scores - (size / size.sum())[:, None, None] * total) ** 2).sum(axis=0)
    off = table.sum(axis=0) * (1 - np.eye(4))
    r, c = off.sum(axis=1) / off.sum(), off.sum(axis=0) / off.sum()
    variance = whole * np.outer(1 - r, 1 - c)
    cells = found.first, found.second
    effect = spread[cells].sum() / variance[cells].sum()
    np.testing.assert_allclose(
        found.z, total[cells] / np.sqrt((spread + effect * variance)[cells] / 2), rtol=1e-5
    )


def test_repeats_by_hand():
    # One step: of 6 tokens with one module each, 4 use the same again; at the loads 3/6 and 3/6 half would.
    table = np.array([[[2, 1], [1, 2]]] * 8)
    table[0] = [[3, 0], [0, 3]]
    table[1] = [[1, 2], [2, 1]]
    found = repeats([table], [1])
    assert found.share.value == pytest.approx(4 / 6)
    assert found.expected == pytest.approx(1 / 2)
    assert found.z > 1
    # With two modules per token, of which a share of 4/6 · 2 is used again: as many uses as k · tokens.
    assert repeats([table], [2]).share.value == pytest.approx(2 * 4 / 6)


def test_repeats_are_near_those_of_independent_cells():
    tables = made(np.random.default_rng(5), steps=2, repeat=0.1)
    found = repeats(tables.steps, [1])
    own = cell_tests(tables.steps[0])
    assert found.z > 2
    assert np.diag(own.z).mean() > 1


def test_one_step_is_the_coactivation_of_that_step():
    tables = made(np.random.default_rng(6), top_k=3, modules=7, steps=1)
    found = joint_selection([(tables.pairs[0], tables.inclusions[0], tables.tokens)], 3)
    own = coactivation(tables.pairs[0], tables.inclusions[0], tables.tokens, 3)
    np.testing.assert_allclose(found.observed / tables.tokens.sum(), own.observed)
    np.testing.assert_allclose(found.expected / tables.tokens.sum(), own.expected)
    # Its design effect is a mean of ratios, here a ratio of means.
    np.testing.assert_allclose(found.z, own.z, rtol=0.1)


def test_a_planted_succession_departs_most():
    tables = made(np.random.default_rng(7), then=0.25, groups=80)
    found = successions(tables.steps)
    place = int(np.nanargmax(found.z))
    assert (found.first[place], found.second[place]) == (0, 1)
    assert found.log10_q[place] == np.nanmin(found.log10_q) < FOUND
    assert found.lift[place] > 1.1


def test_planted_repeats_do_not_hide_what_follows():
    tables = made(np.random.default_rng(8), repeat=0.6, then=0.3, groups=80)
    found = successions(tables.steps)
    place = np.flatnonzero((found.first == 0) & (found.second == 1))[0]
    assert found.lift[place] == found.lift.max() > 1
    assert found.log10_q[place] < FOUND
    again = repeats(tables.steps, [1, 1, 1])
    assert again.share.low > again.expected
    assert again.log10_p < FOUND


def test_pooled_steps_with_different_loads_are_not_taken_for_dependence():
    """Modules that are frequent at neighbouring depths would follow each other in a table pooled over the steps."""
    tables = made(np.random.default_rng(9), drift=2.5, steps=8, groups=80)
    pooled = cell_tests(sum(tables.steps))
    assert (pooled.log10_q < FOUND).sum() > 10
    assert (successions(tables.steps).log10_q < FOUND).sum() == 0
    assert repeats(tables.steps, [1] * 7).log10_p > -2


def test_rejection_rates_without_an_effect():
    rng, cells, again, joint = np.random.default_rng(10), [], [], []
    for _ in range(40):
        tables = made(rng, top_k=2, modules=6, groups=50, tokens=40)
        cells.append(successions(tables.steps).log10_p < FOUND)
        again.append(repeats(tables.steps, [2] * 3).log10_p < FOUND)
        steps = zip(tables.pairs, tables.inclusions, [tables.tokens] * 4, strict=True)
        joint.append(joint_selection(steps, 2).log10_p < FOUND)
    assert 0.02 <= np.mean(cells) <= 0.08
    assert np.mean(again) <= 0.15
    assert 0.02 <= np.mean(joint) <= 0.08


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (successions([]), "only one step"),
        (successions([np.ones((8, 2, 2), int)]), "2 modules: the margins determine"),
        (successions([np.ones((3, 4, 4), int)]), "3 independent units"),
        (successions([np.zeros((8, 4, 4), int)]), "0 independent units"),
        (joint_selection([], 2), "no tokens"),
        (
            joint_selection([(np.zeros((8, 6), int), np.ones((8, 4), int), np.full(8, 4))], 1),
            "one module per step",
        ),
    ],
)
def test_where_nothing_can_be_tested_there_is_a_reason(found, reason):
    assert reason in found.reason
    assert np.isnan(found.z).all()
    assert np.isnan(found.log10_q).all()


def test_repeats_without_tokens_or_groups_have_a_reason():
    assert "no token" in repeats([], []).reason
    assert "no token" in repeats([np.zeros((4, 3, 3), int)], [1]).reason
    assert "3 independent units" in repeats([np.ones((3, 3, 3), int)], [1]).reason
    assert "do not vary" in repeats([np.ones((8, 3, 3), int)], [1]).reason


def test_other_labels_of_the_modules_change_nothing():
    tables, order = made(np.random.default_rng(11), then=0.2), np.array([3, 0, 5, 1, 4, 2])
    found, other = successions(tables.steps), successions([t[:, order][:, :, order] for t in tables.steps])
    at = {(order[a], order[b]): z for a, b, z in zip(other.first, other.second, other.z, strict=True)}
    np.testing.assert_allclose(
        [at[a, b] for a, b in zip(found.first, found.second, strict=True)], found.z, rtol=1e-6
    )
    assert replace(found, reason="").reason == ""
