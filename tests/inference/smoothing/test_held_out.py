"""Held-out bits of nested contexts against a slow recursion, as probabilities, and under irrelevant changes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.smoothing import backoff_step as step_file
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, held_out
from tests.inference.smoothing.random_contexts import (
    NESTED,
    WIDTHS,
    assert_as_slow,
    both_ways,
    random_rows,
    repeated,
    taken,
)
from tests.oracle.backoff_oracle import Rule


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(12))
def test_bits_are_those_of_a_recursion_built_up_without_the_group(seed: int, steps: int) -> None:
    rng = np.random.default_rng([seed, 7])
    rows = random_rows(seed, int(rng.integers(6, 110)), int(rng.integers(3, 9)), int(rng.integers(2, 6)))
    assert_as_slow(rows, NESTED[:steps])


@pytest.mark.parametrize("nested", [[(), ("a", "b")], [(), ("c",), ("b", "a", "c")]])
def test_nested_contexts_may_add_two_columns_at_once(nested: list[tuple[str, ...]]) -> None:
    assert_as_slow(random_rows(5, 90, 6, 4), nested)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_so_are_they_under_any_rule_of_strengths(
    seed: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Discounts are rare on small traces: here every step has one, and strengths that depend on all of the cells.
    def strength(counts: np.ndarray, base: np.ndarray, totals: np.ndarray) -> float:
        return 0.3 + float(counts @ base) / (1.0 + float(np.sum(totals)))

    def backoff(counts: np.ndarray, base: np.ndarray, context: np.ndarray, *_: float) -> BackoffParameters:
        n_contexts = len(set(context.tolist()))
        return BackoffParameters(
            0.2 + float(counts @ base) / (1.0 + n_contexts), 0.9 / (1.0 + 0.1 * len(counts))
        )

    monkeypatch.setattr(step_file, "fit_strength", strength)
    monkeypatch.setattr(step_file, "fit_backoff", backoff)
    assert_as_slow(random_rows(seed + 40, 80, 6, 4), NESTED[:steps], Rule(strength, backoff))


def test_bits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a strength of 1 and two targets, p = (c + 1/2) / (n + 1). Group 0 has targets 0, 0, group 1 has 0, 1 and
    # group 2 has 0. Without group 0: 2 of 3 are 0, so 2.5 / 4 twice. Without 1: 3 of 3, so 3.5 / 4 and 0.5 / 4.
    # Without 2: 3 of 4, so 3.5 / 5. Forward: 1/2 twice; 2.5 / 3 and 0.5 / 3; 3.5 / 5.
    # Nor is the strength raised: for group 1 it comes from groups 0 and 2, which have nothing but 0 and predict each
    # other the worse the stronger 1/2 is; for the others from group 1 alone, which has none to learn from.
    monkeypatch.setattr(step_file, "fit_backoff", lambda *_: BackoffParameters(1.0))
    monkeypatch.setattr(step_file, "fit_strength", lambda *_: 1.0)
    rows = TokenRows(np.array([0, 0, 0, 1, 0]), 2, np.array([0, 0, 1, 1, 2]), {})
    bits, forward = both_ways(rows, [()])
    np.testing.assert_allclose(2.0**-bits, [(2.5 / 4) ** 2, 3.5 / 4 * 0.5 / 4, 3.5 / 5], rtol=1e-13)
    np.testing.assert_allclose(2.0**-forward, [1 / 4, 2.5 / 3 * 0.5 / 3, 3.5 / 5], rtol=1e-13)


@pytest.mark.parametrize("steps", [2, 3])
def test_repeated_tokens_are_those_of_the_recursion(steps: int) -> None:
    assert_as_slow(repeated(random_rows(3, 40, 6, 4), 3), NESTED[:steps])


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_all_targets_sum_to_one_whatever_else_its_group_holds(seed: int) -> None:
    # If a token's distribution did not hold its own group, the group's probability with it, summed over its targets,
    # is that of the group without the token. Any leak of a group into its own score breaks this.
    rows = random_rows(seed + 20, 60, 5, 4)
    nested_by_name = {str(steps): NESTED[:steps] for steps in range(1, 5)}

    def every_way(of: TokenRows) -> np.ndarray:
        scored = held_out(of, nested_by_name, list(nested_by_name))
        return np.array([list(scored.bits.values()), list(scored.forward_bits.values())])

    for token in range(0, 60, 15):
        if np.count_nonzero(rows.group == rows.group[token]) < 2:
            continue
        rest = every_way(taken(rows, np.delete(np.arange(60), token)))
        changed = np.arange(60) == token
        every = np.array(
            [
                every_way(replace(rows, target=np.where(changed, z, rows.target)))
                for z in range(rows.n_targets)
            ]
        )
        group = rows.group[token]
        with_token = np.exp2(-every[..., group]).sum(axis=0)
        np.testing.assert_allclose(with_token, np.exp2(-rest[..., group]), rtol=1e-9)


def test_forward_bits_count_nothing_of_groups_still_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    # Strengths are the other half's, and so are the weights of draws against repetitions: both are given here.
    monkeypatch.setattr(step_file.Step, "_strengthened", staticmethod(lambda fitted, *_: fitted))
    monkeypatch.setattr(step_file, "fit_strength", lambda *_: 2.0)
    monkeypatch.setattr(step_file, "fit_backoff", lambda *_: BackoffParameters(2.0, 0.3))
    monkeypatch.setattr(step_file, "expected_draws", lambda counts, _: np.sqrt(counts))

    def between(
        cell: np.ndarray, tokens: np.ndarray, own: np.ndarray, further: np.ndarray, _: object
    ) -> np.ndarray:
        left = tokens[cell] - own
        return np.sqrt(left + further) - np.sqrt(left)

    monkeypatch.setattr(step_file, "draws_of_entries", between)
    rows = random_rows(2, 200, 6, 4)
    last = int(rows.group.max())
    changed = replace(rows, target=(rows.target + (rows.group == last)) % 4)
    for steps in range(1, 5):
        (bits, forward), (bits_then, forward_then) = (both_ways(r, NESTED[:steps]) for r in (rows, changed))
        np.testing.assert_allclose(forward_then[:last], forward[:last], rtol=1e-9)
        assert np.abs(bits_then[:last] - bits[:last]).max() > 0.1


def test_first_group_is_predicted_uniformly_and_the_last_as_among_all() -> None:
    rows = random_rows(8, 150, 5, 4)
    for steps in range(1, 5):
        bits, forward = both_ways(rows, NESTED[:steps])
        first, last = rows.group.min(), rows.group.max()
        assert forward[first] == pytest.approx(2.0 * np.sum(rows.group == first), rel=1e-9)
        assert forward[last] == pytest.approx(bits[last], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    rows = random_rows(seed, 150, 6, 5)
    order = np.random.default_rng(seed).permutation(len(rows))
    for nested in (NESTED[:3], NESTED):
        for one, other in zip(both_ways(rows, nested), both_ways(taken(rows, order), nested), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-13)


def relabelled_target(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    return replace(rows, target=rng.permutation(rows.n_targets)[rows.target])


def relabelled_columns(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    columns = {}
    for name, column in rows.columns.items():
        labels = np.append(rng.permutation(50)[: WIDTHS[name]], -1)
        columns[name] = labels[column]
    return replace(rows, columns=columns)


def columns_in_another_order(rows: TokenRows, rng: np.random.Generator) -> TokenRows:
    return replace(rows, columns=dict(reversed(list(rows.columns.items()))))


@pytest.mark.parametrize("change", [relabelled_target, relabelled_columns, columns_in_another_order])
@pytest.mark.parametrize("seed", range(3))
def test_labels_are_labels(change: Callable[[TokenRows, np.random.Generator], TokenRows], seed: int) -> None:
    rows = random_rows(seed + 60, 300, 6, 5)
    other = change(rows, np.random.default_rng(seed))
    nested_by_name = [NESTED, [tuple(reversed(names)) for names in NESTED]]
    for nested in nested_by_name:
        for one, two in zip(both_ways(rows, NESTED), both_ways(other, nested), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6)


def test_groups_without_tokens_have_no_bits_and_change_none() -> None:
    rows = random_rows(2, 120, 4, 4)
    dense = replace(rows, group=np.unique(rows.group, return_inverse=True)[1])
    spread = replace(dense, group=3 * dense.group + 2)
    for one, other in zip(both_ways(dense, NESTED), both_ways(spread, NESTED), strict=True):
        np.testing.assert_allclose(other[2::3], one, rtol=1e-12)
        assert not np.delete(other, np.s_[2::3]).any()
    tokens = held_out(spread, {"x": [()]}).tokens
    np.testing.assert_array_equal(tokens[2::3], np.bincount(dense.group))
    assert tokens.sum() == len(rows)


def test_where_the_longer_context_is_never_known_the_shorter_one_answers() -> None:
    rows = random_rows(4, 120, 5, 4)
    blind = replace(rows, columns={**rows.columns, "a": np.full(len(rows), -1)})
    scored = held_out(blind, {"1": NESTED[:2], "2": NESTED[:3], "3": NESTED}, ["1", "2", "3"])
    for bits in (scored.bits, scored.forward_bits):
        np.testing.assert_array_equal(bits["1"], bits["2"])
        np.testing.assert_array_equal(bits["1"], bits["3"])


def test_ladders_scored_together_are_those_scored_alone() -> None:
    rows = random_rows(6, 200, 6, 4)
    nested_by_name = {str(steps): NESTED[:steps] for steps in range(1, 5)} | {
        "other": [(), ("a",), ("a", "b")]
    }
    together = held_out(rows, nested_by_name, ["4", "other"])
    assert isinstance(together, HeldOut)
    assert set(together.bits) == set(nested_by_name)
    assert set(together.forward_bits) == {"4", "other"}
    for name, nested in nested_by_name.items():
        alone = both_ways(rows, nested)
        np.testing.assert_array_equal(together.bits[name], alone[0])
        if name in together.forward_bits:
            np.testing.assert_array_equal(together.forward_bits[name], alone[1])
    assert not together.tokens.flags.writeable
    assert not any(array.flags.writeable for array in together.bits.values())


def test_what_predicts_shortens_and_noise_hardly_lengthens() -> None:
    rng, n = np.random.default_rng(1), 6000
    b, a = rng.integers(0, 6, (2, n))
    target = np.where(rng.random(n) < 0.8, b, rng.integers(0, 6, n))
    rows = TokenRows(target, 6, np.arange(n) % 12, {"a": a, "b": b})
    scored = held_out(rows, {str(steps): NESTED[:steps] for steps in (1, 2, 3)})
    zero, one, two = (scored.bits[name].sum() / n for name in "123")
    # Five wrong targets with 1/30 each, the right one with 5/6; the column a has nothing to add.
    entropy = -(5 / 6) * np.log2(5 / 6) - (1 / 6) * np.log2(1 / 30)
    assert zero == pytest.approx(np.log2(6), abs=0.01)
    assert one == pytest.approx(entropy, abs=0.03)
    assert one == pytest.approx(two, abs=0.005)


@pytest.mark.parametrize("groups", [[], [0], [3, 3, 3]])
def test_fewer_than_two_groups_hold_nothing_out(groups: list[int]) -> None:
    group = np.array(groups, int)
    rows = TokenRows(np.zeros(len(group), int), 2, group, {"b": np.zeros(len(group), int)})
    scored = held_out(rows, {"0": NESTED[:1], "1": NESTED[:2]}, ["1"])
    assert (set(scored.bits), set(scored.forward_bits), scored.fitted) == ({"0", "1"}, {"1"}, {})
    for bits in (*scored.bits.values(), *scored.forward_bits.values()):
        assert np.isnan(bits).all()
        assert bits.shape == scored.tokens.shape == (rows.n_groups,)
        assert not bits.flags.writeable
    assert not scored.tokens.flags.writeable
    assert scored.tokens.sum() == len(rows)


@pytest.mark.parametrize("groups", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_bad_questions_are_refused_however_few_the_groups(groups: list[int]) -> None:
    rows = TokenRows(np.zeros(4, int), 2, np.array(groups), {"b": np.zeros(4, int)})
    with pytest.raises(RoutestatError, match="no column d to condition on; there are b"):
        held_out(rows, {"x": [(), ("d",)]})
    with pytest.raises(RoutestatError, match="forward: no contexts 'y'; there are x"):
        held_out(rows, {"x": [()]}, ["x", "y"])
    with pytest.raises(RoutestatError, match="contexts x: expected contexts from"):
        held_out(rows, {"x": [("b",)]})


def test_lists_of_columns_are_contexts_too() -> None:
    rows = random_rows(3, 90, 5, 4)
    listed: list[Any] = [list(names) for names in NESTED]
    lists = held_out(rows, {"x": listed}, ["x"])
    for one, other in zip(both_ways(rows, NESTED), (lists.bits["x"], lists.forward_bits["x"]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_groups_are_enough() -> None:
    rows = random_rows(1, 60, 2, 3)
    assert len(np.unique(rows.group)) == 2
    assert_as_slow(rows, NESTED)


@pytest.mark.parametrize(
    "nested", [[], [("b",)], [("b",), ("a", "b")], [(), ("b",), ("a",)], [(), ("b",), ("b",)], [(), ()]]
)
def test_nested_contexts_begin_with_nothing_and_are_nested(nested: list[tuple[str, ...]]) -> None:
    with pytest.raises(RoutestatError, match="contexts x: expected contexts from"):
        held_out(random_rows(0, 40, 4, 3), {"fine": [()], "x": nested})


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(RoutestatError, match="no column d"):
        held_out(random_rows(0, 40, 4, 3), {"x": [(), ("d",)]})
