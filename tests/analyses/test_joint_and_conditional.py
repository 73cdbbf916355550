"""Rankings of cells, counted by hand."""

import numpy as np
import pytest

import routestat as rs
from analyses.joint_and_conditional import (
    RULES,
    compare_rules,
    conditional,
    excess,
    frequent_conditional,
    joint,
    select,
    shown,
    transitions,
)

# Row 0 is frequent, row 1 has one token in each fold.
TABLES = np.array([[[60, 30], [0, 1]], [[30, 60], [1, 0]]])


def test_the_rules_by_hand():
    assert conditional(TABLES) == pytest.approx(np.array([[0.5, 0.5], [0.5, 0.5]]))
    assert conditional(TABLES[:1]) == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1]]))
    assert frequent_conditional(TABLES[:1]) == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 0]]))
    assert joint(TABLES[:1]) == pytest.approx(np.array([[60, 30], [0, 1]]) / 91)
    assert excess(TABLES[:1])[0, 0] == pytest.approx(60 / 91 - 90 / 91 * 60 / 91)
    assert excess(TABLES).sum() == pytest.approx(0)


def test_a_rare_row_is_ranked_first_by_the_conditional_probability_and_is_wrong_elsewhere():
    found = select(TABLES, conditional, top=1)
    # Fold 0 selects cell (1, 1), fold 1 cell (1, 0): probability 1 where selected, 0 in the other fold.
    assert (found.mean_fitted, found.mean_held_out.value) == (1.0, 0.0)
    assert found.cells.tolist() == [0.0, 0.0]
    assert (found.n, found.seen) == (2, 2)


def test_the_joint_share_ranks_the_frequent_row_first():
    found = select(TABLES, joint, top=1)
    # Fold 0 selects (0, 0): 30 of 91 tokens of the other fold; fold 1 selects (0, 1): 30 of 91.
    assert found.cells.tolist() == [30.0, 30.0]
    assert found.share.value == pytest.approx(30 / 91)
    assert found.mean_fitted == pytest.approx(2 / 3)
    assert found.mean_held_out.value == pytest.approx(1 / 3)


def test_a_row_that_the_other_fold_lacks_is_counted_and_left_out_of_the_mean():
    tables = np.array([[[5, 5], [9, 0]], [[8, 2], [0, 0]]])
    found = select(tables, conditional, top=1)
    # Fold 0 selects (1, 0), a row without tokens in fold 1; fold 1 selects (0, 0), 5 of 10 in fold 0.
    assert (found.n, found.seen) == (2, 1)
    assert found.mean_held_out.value == pytest.approx(0.5)


def test_the_interval_of_the_mean_is_that_of_a_mean_of_ratios():
    rng = np.random.default_rng(0)
    tables = rng.integers(1, 20, size=(40, 3, 4))
    found = select(tables, joint, top=2)
    # The jackknife over groups, with the selected cells kept, is another first-order error of the same mean.
    fold = np.arange(40) % 2
    cells = []
    for here in (0, 1):
        score = joint(tables[fold == here])
        cells.append(np.unravel_index(np.argsort(-score, axis=None, kind="stable")[:2], score.shape))

    def mean(kept):
        values = []
        for here in (0, 1):
            total = tables[kept & (fold != here)].sum(axis=0)
            values.extend(total[cells[here]] / total.sum(axis=1)[cells[here][0]])
        return np.mean(values)

    left_out = np.array([mean(np.arange(40) != g) for g in range(40)])
    error = np.sqrt(39 / 40 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.mean_held_out.value == pytest.approx(mean(np.ones(40, bool)))
    assert found.mean_held_out.standard_error == pytest.approx(error, rel=0.03)


def test_sums_over_transitions_and_a_part_of_the_groups():
    once = compare_rules([TABLES], {"joint": joint})["joint"]
    twice = compare_rules([TABLES, TABLES], {"joint": joint})["joint"]
    assert twice.share.value == once.share.value
    assert twice.n == 2 * once.n
    half = compare_rules([np.concatenate([TABLES, 9 * TABLES])], {"joint": joint}, every=2)["joint"]
    assert half.tokens.tolist() == [91.0, 91.0]
    assert len(shown({"joint": once}).splitlines()) == 3


def test_all_rules_run_on_transitions_of_a_trace_from_one_and_from_two_layers():
    rng = np.random.default_rng(1)
    meta = rs.TraceMeta(tuple(rs.Router(layer, 4, 2) for layer in range(3)))
    states = rng.integers(6, size=(2000, 3))
    trace = rs.Trace.from_arrays(meta, np.repeat(np.arange(40), 50), None, states)
    one, two = list(transitions(trace, (1,), 32)), list(transitions(trace, (2, 1), 32))
    assert [table.shape[1:] for table in one] == [(6, 6), (6, 6)]
    assert [table.shape[1:] for table in two] == [(36, 6)]
    assert {table.sum() for table in one + two} == {2000}
    found = compare_rules(two, RULES)
    assert list(found) == list(RULES)
    # Choices are independent and uniform, so that no ranking can be right in the other fold.
    for one in found.values():
        assert one.mean_fitted > one.mean_held_out.value
        assert one.mean_held_out.low < 1 / 6 < one.mean_held_out.high
