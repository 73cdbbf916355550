"""Log loss of nested contexts on held-out documents, by back-off; paired.

Every token with a known target is scored under every sequence of nested contexts, from none to the longest. Where a
context is unknown (a document's first token has no previous one) the shorter one is used, so that all are scored on
the same tokens and their differences are paired.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.backoff import summed
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.smoothing.backoff_step import LeftOut, Lower, Step, probabilities
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.context_counts import ContextCounts, TokenRows
from routestat.inference.smoothing.context_entries import Entries, Level, Places

#: Contexts from the shortest on; each holds all columns of the one before.
NestedContexts = Sequence[tuple[str, ...]]
#: Called with contexts from the shortest on, a half of the groups, what determines the distributions without each
#: group of the half, and −log2 of the probability of each entry's target ``[entry]``.
Watch = Callable[[tuple[tuple[str, ...], ...], int, tuple[LeftOut, ...], Floats], None]


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
    watch: Watch | None = None,
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
    watch : callable, optional
        Called once for every beginning of the sequences and either half; see `Watch`.

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
    scorer = _Scorer(rows, halves, [names for contexts in steps.values() for names in contexts], watch)
    bits = {name: scorer.bits(contexts, False) for name, contexts in steps.items()}
    ahead = {name: scorer.bits(steps[name], True) for name in forward}
    fitted = {
        name: tuple(scorer.step(contexts, half).fitted for half in (0, 1)) for name, contexts in steps.items()
    }
    return HeldOut(bits, ahead, read_only(tokens), fitted)


class _Scorer:
    """Probabilities under all nested contexts of one target, each step computed once."""

    def __init__(
        self,
        rows: TokenRows,
        halves: NDArray[np.int64],
        wanted: Iterable[tuple[str, ...]],
        watch: Watch | None = None,
    ) -> None:
        self.rows, self.halves, self.watch = rows, halves, watch
        self._levels: dict[tuple[str, ...], Level] = {}
        # Longer contexts first: shorter ones are counted from the entries of the smallest that holds them.
        for names in sorted(set(wanted), key=len, reverse=True):
            longer = [level.counts for own, level in self._levels.items() if set(names) < set(own)]
            within = min(longer, key=lambda counts: len(counts.count), default=None)
            self._levels[names] = Level(ContextCounts(rows, names, within), halves)
        self._steps: dict[tuple, Step] = {}
        self._bits: dict[tuple, Floats] = {}
        self._sums: dict[tuple, Floats] = {}

    def bits(self, contexts: tuple[tuple[str, ...], ...], later: bool) -> Floats:
        """Sum −log2 of the probability of every row's target, each from its longest known context ``[group]``."""
        total = np.zeros(self.rows.n_groups)
        for n in range(1, len(contexts) + 1):
            for half in (0, 1):
                total += self._backed_off(contexts[: n + 1], n, half, later)
        return read_only(total)

    def _backed_off(self, contexts: tuple[tuple[str, ...], ...], n: int, half: int, later: bool) -> Floats:
        """Sum over the rows of a half that have the first `n` of the contexts and no longer one ``[group]``."""
        if (key := (contexts, n, half, later)) not in self._sums:
            entries, bits = self._of_entries(contexts[:n], half, later)
            tokens = entries.count
            if n < len(contexts):
                above = self._levels[contexts[n]].halves[half]
                place = self._places(contexts[n - 1], contexts[n]).entry(half)
                tokens = tokens - summed(place, above.count, len(tokens))
            self._sums[key] = summed(entries.group, bits * tokens, self.rows.n_groups)
        return self._sums[key]

    def _of_entries(
        self, contexts: tuple[tuple[str, ...], ...], half: int, later: bool
    ) -> tuple[Entries, Floats]:
        """Compute −log2 of the probability of the targets of a half's entries ``[entry]``."""
        entries = self._levels[contexts[-1]].halves[half]
        if (key := (contexts, half, later)) not in self._bits:
            left_out = self.step(contexts, half).left_out(later)
            found = probabilities(left_out, self.rows.n_targets)
            self._bits[key] = -np.log2(found[entries.at] if later else found)
            if self.watch and not later:
                self.watch(contexts, half, left_out, self._bits[key])
        return entries, self._bits[key]

    def step(self, contexts: tuple[tuple[str, ...], ...], half: int) -> "Step":
        """Return the step of the last context that scores the groups of this half."""
        if (key := (contexts, half)) not in self._steps:
            lower = None
            if len(contexts) > 1:
                lower = Lower(self.step(contexts[:-1], half), self._places(*contexts[-2:]))
            self._steps[key] = Step(self._levels[contexts[-1]], lower, half, self.rows.n_targets)
        return self._steps[key]

    def _places(self, shorter: tuple[str, ...], longer: tuple[str, ...]) -> Places:
        level = self._levels[longer]
        if shorter not in level.below:
            level.below[shorter] = Places(self._levels[shorter], level)
        return level.below[shorter]
