"""Scores of back-off from the whole distribution over the states that it gives after each context.

The most probable state decides the exact set, the k largest probabilities of inclusion the experts; they differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.distributions import (
    cells_of_entries,
    distributions_without,
    score_distributions,
)
from routestat.counting.score_sums import BINS, raw_sums
from routestat.forecast.scores import Cost
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.backoff_step import LeftOut
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.traces.alphabet import Alphabet

#: Contexts from the shortest on.
Nested = tuple[tuple[str, ...], ...]
#: Takes predictions ``(rows, inclusion[i, expert], order[i, expert], place[row])``: the place of each row's among them.
Keep = Callable[[NDArray[np.integer], Floats, Floats, NDArray[np.integer]], None]
#: Probabilities that are held at a time, of the shorter contexts: as many as stay in the cache.
HELD = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class _Distributions:
    """Distributions of the parts of a range of contexts; see `distributions_without`."""

    bounds: NDArray[np.int64]
    starts: NDArray[np.int64]
    values: Floats
    at: NDArray[np.int64]
    inclusion: Floats
    best: NDArray[np.int32]
    height: Floats

    @classmethod
    def uniform(cls, n_states: int, n_experts: int, top_k: int) -> "_Distributions":
        """One context of one part, whose probabilities are alike."""
        return cls(
            np.array([0, 1, 0, 1]),
            np.array([[0, 1], [0, 1], [0, 1]]),
            np.full(1, 1.0 / n_states),
            np.zeros(1, np.int64),
            np.full((1, n_experts), top_k / n_experts),
            np.zeros(1, np.int32),
            np.full(1, 1.0 / n_states),
        )


class DistributionScores:
    """Sums of scores of one target's tokens, filled while its contexts are fitted.

    An instance is given to `routestat.inference.smoothing.held_out.held_out` as `watch`.

    Parameters
    ----------
    rows : TokenRows
        In the order of `cell`.
    alphabet : Alphabet
        Of the target.
    cell : int array ``[row]``
        Cell of documents, ascending within each group.
    scored : bool array ``[row]``
        Other rows only serve to fit.
    n_cells : int
    wanted : sequence of Nested
        The sequences of contexts to score.
    calibrate : bool
    keep : mapping of Nested to sequence of Keep, optional
        Each is called with the predictions of a sequence for all tokens that are scored.
    """

    def __init__(
        self,
        rows: TokenRows,
        alphabet: Alphabet,
        cell: NDArray[np.integer],
        scored: NDArray[np.bool_],
        n_cells: int,
        wanted: Sequence[Nested],
        calibrate: bool,
        keep: Mapping[Nested, Sequence[Keep]] | None = None,
    ) -> None:
        self.rows, self.alphabet, self.n_cells, self.calibrate = rows, alphabet, n_cells, calibrate
        self.cell, self.scored = np.ascontiguousarray(cell, np.int32), scored
        self._members = alphabet.unrank(np.arange(alphabet.size)).astype(np.int64)
        # Tokens that a sequence predicts from its longest context, and from a shorter one where that is unknown.
        self._next: dict[Nested, dict[tuple[str, ...] | None, None]] = {}
        self._keep: dict[tuple[Nested, tuple[str, ...] | None], list[Keep]] = {}
        for contexts in wanted:
            for n in range(1, len(contexts) + 1):
                longer = contexts[n] if n < len(contexts) else None
                self._next.setdefault(contexts[:n], {})[longer] = None
                if keep and contexts in keep:
                    self._keep.setdefault((contexts[:n], longer), []).extend(keep[contexts])
        self._sums: dict[tuple[Nested, tuple[str, ...] | None], Floats] = {}
        self._cells: dict[tuple[Nested, tuple[str, ...] | None], tuple[NDArray[np.int32], ...]] = {}
        #: What each sequence takes, beyond the shorter ones: seconds of one thread, to fit and to score.
        self.costs: dict[Nested, Cost] = {}
        self._clock: float | None = None
        self._all_scored = bool(scored.all())
        self._known_columns: dict[str, NDArray[np.bool_]] = {}

    def __call__(self, contexts: Nested, half: int, nested: tuple[LeftOut, ...], bits: Floats) -> None:
        """Score the tokens of a half of the groups whose longest known context is the last one."""
        held = {longer: self._tokens(contexts, longer, nested[-1]) for longer in self._next.get(contexts, {})}
        some = {longer: one for longer, one in held.items() if len(one[1])}
        self._score(contexts, half, nested, bits, some)
        if half:
            # Both halves are scored one after the other: what they share is needed no longer.
            for longer in held:
                del self._cells[contexts, longer]
        # The counts of all contexts, made before the first call, are nobody's.
        now = thread_time()
        seconds, self._clock = now - (self._clock or now), now
        before = self.costs.get(contexts)
        size, top_k = self._members.shape
        # Its cells, a strength and a discount; and per state one product, and the sums of inclusion.
        own = Cost(nested[-1].level.counts.n_cells + 2, size * (1.0 + top_k), seconds)
        self.costs[contexts] = own if before is None else replace(own, seconds=before.seconds + seconds)

    def cost(self, contexts: Nested) -> Cost:
        """Return what a sequence takes, with the shorter ones that it backs off to."""
        return sum((self.costs[contexts[:n]] for n in range(2, len(contexts) + 1)), self.costs[contexts[:1]])

    def sums(self, contexts: Nested) -> Floats:
        """Return the sums of a sequence, as `routestat.counting.score_sums.raw_sums` has them."""
        total = self._nothing()
        for n in range(1, len(contexts) + 1):
            longer = contexts[n] if n < len(contexts) else None
            found = self._sums.get((contexts[:n], longer))
            if found is not None:
                total += found
        return total

    def _nothing(self) -> Floats:
        return raw_sums(self.n_cells, self.alphabet.top_k, self.calibrate)

    def _tokens(
        self, contexts: Nested, longer: tuple[str, ...] | None, last: LeftOut
    ) -> tuple[NDArray[np.int32], ...]:
        """Count the tokens that are scored, by entry and cell of documents; those that know `longer` are not."""
        if (key := (contexts, longer)) not in self._cells:
            counts = last.level.counts
            entry, cell = counts.entry_of, self.cell
            if longer or not self._all_scored:
                chosen = self._predicted(longer)
                entry, cell = entry[chosen], cell[chosen]
            self._cells[key] = cells_of_entries(entry, cell, len(counts.count))
        return self._cells[key]

    def _predicted(self, longer: tuple[str, ...] | None) -> NDArray[np.intp]:
        """Return the tokens that are scored and do not know `longer`."""
        return np.flatnonzero(self.scored & ~self._known(longer) if longer else self.scored)

    def _known(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        known = np.ones(len(self.rows), bool)
        for name in names:
            if name not in self._known_columns:
                self._known_columns[name] = self.rows.columns[name] >= 0
            known &= self._known_columns[name]
        return known

    def _score(
        self,
        contexts: Nested,
        half: int,
        nested: tuple[LeftOut, ...],
        bits: Floats,
        held: Mapping[tuple[str, ...] | None, tuple[NDArray[np.int32], ...]],
    ) -> None:
        entries, target = nested[-1].entries, nested[-1].level.counts.target
        at = np.asarray(entries.at)
        parts = {longer: np.zeros(len(nested[-1].whole), bool) for longer in held}
        for longer, (starts, *_) in held.items():
            parts[longer][entries.part[starts[at + 1] > starts[at]]] = True
            self._sums.setdefault((contexts, longer), self._nothing())
        if not any(wanted.any() for wanted in parts.values()):
            return
        every = [np.ones(len(one.whole), bool) for one in nested[:-1]]
        every.append(np.any(list(parts.values()), axis=0))
        chain = _Nested(nested, half, every, self._members, self.alphabet.n_experts)
        kept = [
            (self._by_entry(longer, nested[-1]), self._keep[contexts, longer])
            for longer in held
            if (contexts, longer) in self._keep
        ]
        for found in chain.ranges():
            first, stop = found.starts[2, found.bounds[:2]]
            for (entry, rows), keep in kept:
                low, high = np.searchsorted(entry, (first, stop))
                place = entries.part[entry[low:high]] - found.bounds[2]
                # Scores are rounded alike: see `score_distributions`.
                given = found.inclusion, np.rint(found.inclusion * 1e12), place
                for one in keep:
                    one(rows[low:high], *given)
            for longer, cells in held.items():
                score_distributions(
                    *(first, stop, found.bounds[2], at, entries.cell, entries.part, bits, target),
                    *(self._members, found.inclusion, found.best, parts[longer], *cells),
                    *(BINS if self.calibrate else 0, self._sums[contexts, longer]),
                )

    def _by_entry(
        self, longer: tuple[str, ...] | None, last: LeftOut
    ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """Return the entries of a half, ascending, that predict tokens, and these tokens."""
        chosen = self._predicted(longer)
        of_half = np.full(len(last.level.counts.count), -1)
        of_half[last.entries.at] = np.arange(len(last.entries.cell))
        of_all = last.level.counts.entry_of[chosen]
        entry = np.where(of_all >= 0, of_half[of_all], -1)
        order = np.argsort(entry, kind="stable")
        order = order[np.searchsorted(entry[order], 0) :]
        return entry[order], chosen[order]


class _Nested:
    """Distributions after nested contexts, a range of them at a time."""

    def __init__(
        self,
        nested: tuple[LeftOut, ...],
        half: int,
        wanted: Sequence[NDArray[np.bool_]],
        members: NDArray[np.int64],
        n_experts: int,
    ) -> None:
        self.nested, self.wanted, self.members, self.n_experts = nested, wanted, members, n_experts
        self.starts = [one.level.starts(half) for one in nested]
        self.totals = [one.total for one in nested]
        # The uniform distribution has one context of one part, and the same for all cells.
        self.places: list[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]] = []
        for one in nested:
            if one.lower is None:
                cells, contexts, parts = one.level.counts.n_cells, one.level.counts.n_contexts, len(one.whole)
                nowhere = np.zeros(max(cells, contexts, parts), np.int64)
                self.places.append((nowhere[:cells], nowhere[:contexts], nowhere[:parts]))
            else:
                places, levels = one.lower.places, (one.lower.step.level, one.level)
                self.places.append((places.cell, places.context(*levels), places.part(*levels, half)))

    def ranges(self) -> Iterator[_Distributions]:
        """Yield the distributions of the longest context, one range of contexts after the other."""
        edges = self._edges()
        for first, stop in pairwise(edges):
            bounds = [(int(first), int(stop))]
            for place in self.places[:0:-1]:
                context = place[1]
                low, high = bounds[0]
                bounds.insert(0, (int(context[low]), int(context[high - 1]) + 1))
            found = _Distributions.uniform(len(self.members), self.n_experts, self.members.shape[1])
            for step, (low, high) in enumerate(bounds):
                found = self._above(found, step, low, high)
            yield found

    def _above(self, lower: _Distributions, step: int, first: int, stop: int) -> _Distributions:
        one, starts, keep = self.nested[step], self.starts[step], step + 1 < len(self.nested)
        parts = starts[1, [first, stop]]
        bounds = np.array([first, stop, *parts])
        sizes = _sizes(starts, first, stop)
        values = np.empty(int(sizes.sum() if keep else sizes.max(initial=0)))
        n = int(parts[1] - parts[0])
        inclusion, best, height = np.empty((n, self.n_experts)), np.empty(n, np.int32), np.empty(n)
        entries, fitted = one.entries, one.fitted
        at = distributions_without(
            *(bounds, starts, entries.cell, entries.part, one.own, one.level.counts.target),
            *(one.amount, self.totals[step], one.whole, one.to_base, fitted.strength, fitted.discount),
            *(self.wanted[step], self.members, *self.places[step]),
            *(lower.bounds, lower.starts, lower.values, lower.at, lower.inclusion, lower.best, lower.height),
            *(keep, values, inclusion, best, height),
        )
        return _Distributions(bounds, starts, values, at, inclusion, best, height)

    def _edges(self) -> NDArray[np.int64]:
        """Divide the longest contexts into ranges whose shorter ones hold about `HELD` probabilities each."""
        n = self.starts[-1].shape[1] - 1
        size = np.diff(self.starts[-1][1]).astype(np.float64) * self.n_experts
        context = np.arange(n)
        for step in range(len(self.nested) - 1, 0, -1):
            context = self.places[step][1][context]
            new = np.ones(n, bool)
            np.not_equal(context[1:], context[:-1], out=new[1:])
            held = _sizes(self.starts[step - 1], 0, self.starts[step - 1].shape[1] - 1)
            size += np.where(new, held[context], 0)
        block = (np.cumsum(size) // HELD).astype(np.int64)
        return np.unique(np.append(np.searchsorted(block, np.arange(block.max(initial=0) + 1)), n))


def _sizes(starts: NDArray[np.int64], first: int, stop: int) -> NDArray[np.int64]:
    """Return how many probabilities the parts of each context have together."""
    steps = np.diff(starts[:2, first : stop + 1])
    return np.asarray(steps[0] * steps[1])
