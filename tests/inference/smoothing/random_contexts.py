"""Random tokens with contexts, and their held-out bits by the slow recursion."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike

from routestat.inference.smoothing import backoff_step as step_file
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, held_out
from tests.oracle.backoff_oracle import Rule, Token, slow_held_out

NESTED = [(), ("b",), ("a", "b"), ("c", "b", "a")]


WIDTHS = {"a": 3, "b": 4, "c": 2}


def random_rows(seed: int, n: int, groups: int, n_targets: int, unknown: float = 0.15) -> TokenRows:
    """A distribution of its own after every a, b, c; groups are unequal and some are empty."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.integers(0, width, n) for name, width in WIDTHS.items()}
    steps = rng.dirichlet(np.full(n_targets, 0.6), tuple(WIDTHS.values())).cumsum(axis=-1)
    target = (rng.random((n, 1)) > steps[tuple(columns.values())][:, :-1]).sum(axis=1)
    hidden = {name: np.where(rng.random(n) < unknown, -1, column) for name, column in columns.items()}
    group = rng.choice(groups, n, p=rng.dirichlet(np.full(groups, 0.8)))
    return TokenRows(target, n_targets, group, hidden)


def tokens_of(rows: TokenRows) -> list[Token]:
    return [
        Token(
            int(rows.target[i]),
            int(rows.group[i]),
            {name: int(column[i]) for name, column in rows.columns.items() if column[i] >= 0},
        )
        for i in range(len(rows))
    ]


def taken(rows: TokenRows, order: ArrayLike) -> TokenRows:
    """These rows in this order."""
    place = np.asarray(order)
    columns = {name: column[place] for name, column in rows.columns.items()}
    return replace(rows, target=rows.target[place], group=rows.group[place], columns=columns)


def both_ways(rows: TokenRows, nested: list[tuple[str, ...]]) -> tuple[np.ndarray, np.ndarray]:
    scored = held_out(rows, {"x": nested}, ["x"])
    return scored.bits["x"], scored.forward_bits["x"]


def assert_as_slow(rows: TokenRows, nested: list[tuple[str, ...]], rule: Rule | None = None) -> None:
    for bits, forward in zip(both_ways(rows, nested), (False, True), strict=True):
        slow = slow_held_out(tokens_of(rows), nested, rows.n_targets, forward=forward, rule=rule)
        expected = [slow.get(group, 0.0) for group in range(rows.n_groups)]
        np.testing.assert_allclose(bits, expected, rtol=1e-9, atol=1e-9)


def repeated(rows: TokenRows, times: int) -> TokenRows:
    """Every token so many times, in its own document."""
    return taken(rows, np.repeat(np.arange(len(rows)), times))


def both_strengths(rows: TokenRows, nested: list[tuple[str, ...]]) -> tuple[HeldOut, HeldOut]:
    """Scored as it is, and with the strengths of greatest evidence."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_file.Step, "_strengthened", staticmethod(lambda fitted, *_: fitted))
        by_evidence = held_out(rows, {"x": nested})
    return held_out(rows, {"x": nested}), by_evidence
