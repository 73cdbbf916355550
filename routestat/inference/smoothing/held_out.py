"""Log loss of nested contexts on held-out documents, by back-off; paired.

Every token with a known target is scored under every sequence of nested contexts, from none to the longest. Where a
context is unknown (a document's first token has no previous one) the shorter one is used, so that all are scored on
the same tokens and their differences are paired.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.smoothing.backoff import backed_off, expected_draws
from routestat.inference.smoothing.backoff_strength import BackoffParameters, fit_backoff, fit_strength
from routestat.inference.smoothing.context_counts import ContextCounts, TokenRows

#: Contexts from the shortest on; each holds all columns of the one before.
NestedContexts = Sequence[tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Sums per group of whole documents.

    Attributes
    ----------
    bits : mapping of name to float array ``[group]``
        −log2 of the probability of every token of the group, counted and fitted without the group.
    forward_bits : mapping of name to float array ``[group]``
        The same counted in earlier groups only: the sum over the groups approximates a code length, and its negative
        a log evidence. It is approximate because strengths come from the other half of the groups, which holds later
        ones.
    tokens : float array ``[group]``
    fitted : mapping of name to tuple of Strength
        Of the longest context, on either half of the groups.
    """

    bits: Mapping[str, Floats]
    forward_bits: Mapping[str, Floats]
    tokens: Floats
    fitted: Mapping[str, tuple[BackoffParameters, ...]] = field(default_factory=dict)


def held_out(
    rows: TokenRows,
    nested: Mapping[str, NestedContexts] | None = None,
    forward: Sequence[str] = (),
    *,
    ladders: Mapping[str, NestedContexts] | None = None,
) -> HeldOut:
    """Score sequences of nested contexts.

    Group g is predicted from the counts of all other groups; strengths and discounts come from the half of the
    groups that g is not in. They maximise the evidence, which takes tokens as independent, and are then doubled while
    that improves the prediction of single groups of the half: where documents repeat themselves, much of what a long
    context has seen is copies of one token.

    Parameters
    ----------
    rows : TokenRows
        Groups are taken as independent; tokens within a group need not be.
    nested : mapping of name to NestedContexts
        Such as ``{"order 1": [(), ("layer-1",)]}``; the first context is always ``()``.
    forward : sequence of str
        Which of them to score forward too.
    ladders : mapping of name to NestedContexts
        The earlier name of `nested`.

    Raises
    ------
    RoutestatError
        For contexts that do not begin with none, or of which one lacks a column of the one before.
    """
    if (nested is None) == (ladders is None):
        raise RoutestatError("held_out: expected nested contexts, once; pass nested=")
    given = nested if nested is not None else ladders or {}
    steps: dict[str, tuple[tuple[str, ...], ...]] = {
        name: tuple(map(tuple, contexts)) for name, contexts in given.items()
    }
    if strange := [name for name in forward if name not in steps]:
        raise RoutestatError(f"forward: no contexts {strange[0]!r}; there are {', '.join(steps)}")
    if missing := {c for contexts in steps.values() for names in contexts for c in names} - set(rows.columns):
        raise RoutestatError(f"no column {min(missing)} to condition on; there are {', '.join(rows.columns)}")
    for name, contexts in steps.items():
        if not contexts or contexts[0] or any(not set(a) < set(b) for a, b in pairwise(contexts)):
            raise RoutestatError(
                f"contexts {name}: expected contexts from () on, each with more columns than the one before"
            )
    tokens = np.bincount(rows.group, minlength=rows.n_groups).astype(float)
    used = np.flatnonzero(tokens)
    if len(used) < 2:
        nothing = read_only(np.full(len(tokens), np.nan))
        return HeldOut(dict.fromkeys(steps, nothing), dict.fromkeys(forward, nothing), read_only(tokens))
    halves = np.zeros(rows.n_groups, np.int64)
    halves[used] = np.arange(len(used)) % 2
    scorer = _Scorer(rows, halves)
    bits = {name: scorer.bits(contexts, False) for name, contexts in steps.items()}
    ahead = {name: scorer.bits(steps[name], True) for name in forward}
    fitted = {
        name: tuple(scorer.step(contexts, half).fitted for half in (0, 1)) for name, contexts in steps.items()
    }
    return HeldOut(bits, ahead, read_only(tokens), fitted)


class _Scorer:
    """Probabilities under all nested contexts of one target, each step computed once."""

    def __init__(self, rows: TokenRows, halves: NDArray[np.int64]) -> None:
        self.rows, self.halves = rows, halves
        self._levels: dict[tuple[str, ...], ContextCounts] = {}
        self._steps: dict[tuple, _Step] = {}
        self._probabilities: dict[tuple, Floats] = {}

    def bits(self, contexts: tuple[tuple[str, ...], ...], later: bool) -> Floats:
        distribution = self.distribution(contexts, later)
        return read_only(np.bincount(self.rows.group, -np.log2(distribution), self.rows.n_groups))

    def distribution(self, contexts: tuple[tuple[str, ...], ...], later: bool) -> Floats:
        """Compute the probability of every row's target ``[row]``."""
        if (key := (contexts, later)) in self._probabilities:
            return self._probabilities[key]
        level = self.level(contexts[-1])
        shorter = self.distribution(contexts[:-1], later) if len(contexts) > 1 else np.zeros(len(self.rows))
        own = np.empty(len(level.count) + 1)
        for half in (0, 1):
            mine = self.halves[level.group] == half
            own[:-1][mine] = self.step(contexts, half).distribution(later)[mine]
        distribution = np.where(level.entry_of >= 0, own[level.entry_of], shorter)
        self._probabilities[key] = distribution
        return distribution

    def level(self, names: tuple[str, ...]) -> ContextCounts:
        if names not in self._levels:
            self._levels[names] = ContextCounts(self.rows, names)
        return self._levels[names]

    def step(self, contexts: tuple[tuple[str, ...], ...], half: int) -> "_Step":
        if (key := (contexts, half)) not in self._steps:
            below = self.step(contexts[:-1], half) if len(contexts) > 1 else None
            level = self.level(contexts[-1])
            counted = level.count * (self.halves[level.group] != half)
            self._steps[key] = _Step(level, below, counted, self.rows.n_targets)
        return self._steps[key]


class _Step:
    """One context above its shorter ones, fitted on half of the groups.

    `plain` ``[cell]`` is the distribution in which every token counts for the shorter context. It determines how many
    tokens were drawn from the base and how many repeat their row.
    """

    plain: Floats

    def __init__(
        self, level: ContextCounts, below: "_Step | None", counted: NDArray[np.int64], n_targets: int
    ) -> None:
        self.level, self.n_targets = level, n_targets
        self.below = None if below is None else _Below(below, level)
        c = level.cells(counted)
        seen = c > 0
        n, u = level.contexts(c), level.contexts(seen)
        plain = self.below.of_cells(self.below.step.plain) if self.below else self._uniform()
        prior = fit_strength(c[seen], plain[seen], n)
        self.weight = prior * plain
        self.plain = backed_off(c, n[level.context], u[level.context], plain, BackoffParameters(prior))
        base = plain
        self.strengths: list[float] = []
        if self.below:
            base = self.below.fit(expected_draws(c, self.weight), self.strengths)
        self.fitted = self._strengthened(
            fit_backoff(c[seen], base[seen], np.unique(level.context[seen], return_inverse=True)[1]),
            BackoffParameters(fit_strength(c[seen], base[seen], n)),
            self._left_out(counted, c, base),
            LARGEST_SUM_PER_TOKEN * float(n.max(initial=0.0)),
        )

    def _left_out(
        self, counted: NDArray[np.int64], c: Floats, base: Floats
    ) -> Callable[[BackoffParameters], float]:
        """Return the log loss, in nats, of the counted groups, each predicted without its own tokens."""
        level, here = self.level, counted > 0
        own, whole = level.held_back(counted, False)
        left = c[level.cell] - own
        gone = np.bincount(level.part, here & (left <= 0), len(level.part_context))
        n = (level.contexts(c)[level.part_context] - whole)[level.part[here]]
        u = (level.contexts(c > 0)[level.part_context] - gone)[level.part[here]]
        cells, tokens = base[level.cell[here]], counted[here]
        return lambda fitted: -float(tokens @ np.log(backed_off(left[here], n, u, cells, fitted)))

    @staticmethod
    def _strengthened(
        fitted: BackoffParameters,
        plain: BackoffParameters,
        loss: Callable[[BackoffParameters], float],
        largest: float,
    ) -> BackoffParameters:
        """Double the strength while that predicts left-out groups better, with the discount and without it."""
        found = []
        for best in dict.fromkeys((fitted, plain)):
            least, more = loss(best), BackoffParameters(2.0 * best.strength, best.discount)
            while more.strength <= largest and (after := loss(more)) < least:
                best, least, more = more, after, BackoffParameters(2.0 * more.strength, more.discount)
            found.append((least, best))
        return min(found, key=lambda one: one[0])[1]

    def _uniform(self) -> Floats:
        return np.full(self.level.n_cells, 1.0 / self.n_targets)

    def fit(self, draws: Floats, strengths: list[float]) -> Floats:
        """Fit the distribution ``[cell]`` of draws of the longer context; strengths are appended to a list."""
        level = self.level
        base = self.below.fit(draws, strengths) if self.below else self._uniform()
        n, seen = level.contexts(draws), draws > 0
        s = fit_strength(draws[seen], base[seen], n)
        strengths.append(s)
        return backed_off(draws, n[level.context], 0.0, base, BackoffParameters(s))

    def distribution(self, later: bool) -> Floats:
        """Compute the probability of every entry's target without the entry's own group ``[entry]``."""
        level = self.level
        c = level.cells(level.count)
        own, whole = level.held_back(level.count, later)
        left = np.maximum(c[level.cell] - own, 0.0)
        n = level.contexts(c)[level.part_context] - whole
        u = level.contexts(np.ones(level.n_cells))[level.part_context]
        u -= level.distinct_held_back(left, later)
        base = np.full(len(own), 1.0 / self.n_targets)
        if self.below:
            weight = self.weight[level.cell]
            draws = expected_draws(c, self.weight)
            # In the forward pass draws are counted group by group: what each adds to those before it.
            with_own = expected_draws(left + level.count, weight) if later else draws[level.cell]
            fewer = with_own - expected_draws(left, weight)
            base = self.below.fit_without(draws, fewer, later, iter(self.strengths))
        return backed_off(left, n[level.part], u[level.part], base, self.fitted)

    def fit_without(self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]) -> Floats:
        """Fit the distribution ``[entry]`` of draws ``[cell]`` without those of the entry's own group ``[entry]``."""
        level = self.level
        base = np.full(len(fewer), 1.0 / self.n_targets)
        if self.below:
            base = self.below.fit_without(draws, fewer, later, strengths)
        own, whole = level.held_back(fewer, later)
        left = np.maximum(draws[level.cell] - own, 0.0)
        n = np.maximum(level.contexts(draws)[level.part_context] - whole, 0.0)
        return backed_off(left, n[level.part], 0.0, base, BackoffParameters(next(strengths)))


class _Below:
    """The step of the shorter context, and the places of the longer one's cells and entries in it."""

    def __init__(self, step: _Step, above: ContextCounts) -> None:
        self.step = step
        self.entry = step.level.entry_of[above.row_of]
        self.cell = step.level.cell[self.entry[above.first]]

    def of_cells(self, values: Floats) -> Floats:
        return np.asarray(values[self.cell])

    def fit(self, draws: Floats, strengths: list[float]) -> Floats:
        summed = np.bincount(self.cell, draws, self.step.level.n_cells).astype(float)
        return self.of_cells(self.step.fit(summed, strengths))

    def fit_without(self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]) -> Floats:
        summed = np.bincount(self.cell, draws, self.step.level.n_cells).astype(float)
        own = np.bincount(self.entry, fewer, len(self.step.level.count)).astype(float)
        return np.asarray(self.step.fit_without(summed, own, later, strengths)[self.entry])
