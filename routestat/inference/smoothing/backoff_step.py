"""One step of back-off: a context above its shorter ones, fitted on one half of the groups to predict the other."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.backoff import backed_off, draws_between, expected_draws
from routestat.inference.smoothing.backoff_strength import BackoffParameters, fit_backoff, fit_strength
from routestat.inference.smoothing.context_entries import Entries, Level, Places


class Step:
    """One context above its shorter ones, fitted on the groups that are not in `half`.

    `plain` ``[cell]`` is the distribution in which every token counts for the shorter context. It determines how many
    tokens were drawn from the base and how many repeat their row.
    """

    def __init__(self, level: Level, lower: "tuple[Step, Places] | None", half: int, n_targets: int) -> None:
        self.level, self.half, self.n_targets = level, half, n_targets
        self.lower, self.places = lower or (None, None)
        counts, c = level.counts, level.tokens[1 - half]
        seen = np.flatnonzero(c)
        count, n = c[seen], counts.contexts(c)
        u = np.bincount(counts.context[seen], minlength=counts.n_contexts)
        base = plain = self.lower.plain[self.places.cell] if self.lower else self._uniform()
        prior = fit_strength(count, plain[seen], n)
        self.weight = prior * plain
        self.plain = _plain(c, n, plain, prior, counts.context)
        self.strengths: list[float] = []
        if self.lower:
            base = self._lower_fit(expected_draws(c, self.weight), self.strengths)
        strength = prior if base is plain else fit_strength(count, base[seen], n)
        self.fitted = self._strengthened(
            fit_backoff(count, base[seen], _renumbered(counts.context[seen]), strength),
            BackoffParameters(strength),
            _left_out(level.halves[1 - half], c, n, u, base),
            LARGEST_SUM_PER_TOKEN * float(n.max(initial=0.0)),
        )

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
        return np.full(self.level.counts.n_cells, 1.0 / self.n_targets)

    def _lower_fit(self, draws: Floats, strengths: list[float]) -> Floats:
        """Fit the shorter context's distribution of draws, both ``[cell]``; its strengths are appended to a list."""
        return self.lower._fit(self.places.summed(draws), strengths)[self.places.cell]

    def _fit(self, draws: Floats, strengths: list[float]) -> Floats:
        base = self._lower_fit(draws, strengths) if self.lower else self._uniform()
        n, seen = self.level.counts.contexts(draws), np.flatnonzero(draws)
        s = fit_strength(draws[seen], base[seen], n)
        strengths.append(s)
        return _plain(draws, n, base, s, self.level.counts.context)

    def distribution(self, later: bool) -> Floats:
        """Compute the probability of entries' targets without the entry's own group ``[entry]``.

        The entries are those of the half; `later` leaves out all later groups too, and the entries are then those of
        all groups.
        """
        counts, among = self.level.counts, None if later else self.half
        entries = self.level.entries(among)
        c = self.level.tokens[0] + self.level.tokens[1]
        own, whole = self._held_back(entries, entries.count, later)
        left = np.maximum(c[entries.cell] - own, 0.0)
        n = counts.contexts(c)[entries.context] - whole
        fitted, base = self.fitted, 1.0 / self.n_targets
        if self.lower:
            fewer = draws_between(left, entries.count, self.weight[entries.cell])
            base = self._lower_without(expected_draws(c, self.weight), fewer, later, iter(self.strengths))
        if not fitted.discount:
            return _mixed(left, n, base, fitted.strength, entries.part)
        u = np.bincount(counts.context, minlength=counts.n_contexts)[entries.context]
        u = u - (counts.distinct_held_back(left, True) if later else entries.of_parts(left <= 0))
        return backed_off(left, n[entries.part], u[entries.part], base, fitted)

    def _held_back(self, entries: Entries, values: Floats, later: bool) -> tuple[Floats, Floats]:
        return self.level.counts.held_back(values, True) if later else (values, entries.of_parts(values))

    def _lower_without(self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]) -> Floats:
        """Fit the shorter context's distribution of draws ``[cell]`` without each entry's own group ``[entry]``."""
        at = self.places.entry(None if later else self.half)
        n = len(self.lower.level.entries(None if later else self.half).count)
        found = self.lower._without(self.places.summed(draws), np.bincount(at, fewer, n), later, strengths)
        return found[at]

    def _without(self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]) -> Floats:
        entries = self.level.entries(None if later else self.half)
        base = 1.0 / self.n_targets
        if self.lower:
            base = self._lower_without(draws, fewer, later, strengths)
        own, whole = self._held_back(entries, fewer, later)
        left = np.maximum(draws[entries.cell] - own, 0.0)
        n = np.maximum(self.level.counts.contexts(draws)[entries.context] - whole, 0.0)
        return _mixed(left, n, base, next(strengths), entries.part)


def _plain(
    count: Floats, total: Floats, base: Floats, strength: float, context: NDArray[np.integer]
) -> Floats:
    return _mixed(count, total, base, strength, context)


def _mixed(
    count: Floats, total: Floats, base: Floats | float, strength: float, of: NDArray[np.integer]
) -> Floats:
    """Return (count + s base) / (total + s), with `total` of each context and the context `of` each count."""
    mixed = strength * base + count
    mixed *= (1.0 / (total + strength))[of]
    return mixed


def _renumbered(context: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the numbers 0, 1, … of ordered contexts, without gaps."""
    changed = np.zeros(len(context), bool)
    np.not_equal(context[1:], context[:-1], out=changed[1:])
    return np.cumsum(changed)


def _left_out(
    entries: Entries, c: Floats, n: Floats, u: NDArray[np.int64], base: Floats
) -> Callable[[BackoffParameters], float]:
    """Return the log loss, in nats, of the groups that hold the entries, each predicted without its own tokens.

    Parameters
    ----------
    entries : Entries
    c, base : float array ``[cell]``
        Tokens in these groups, and the shorter context's distribution.
    n, u : array ``[context]``
        Tokens and distinct targets in these groups.
    """
    tokens, left, m = entries.count, c[entries.cell] - entries.count, base[entries.cell]
    gone = left <= 0
    distinct = (u[entries.context] - entries.of_parts(gone))[entries.part]
    # Targets that no other group has depend on nothing but their contexts' numbers of targets.
    new = np.bincount(distinct[gone].astype(np.int64), tokens[gone])
    targets = np.flatnonzero(new)
    new, alone = new[targets], float(tokens[gone] @ np.log(m[gone]))
    met = np.flatnonzero(~gone)
    tokens, left, m, distinct = tokens[met], left[met], m[met], distinct[met]
    totals, weight = _histogram(n[entries.context] - entries.tokens, entries.tokens)

    def loss(fitted: BackoffParameters) -> float:
        s, d = fitted.strength, fitted.discount
        top = left - d + (s + d * distinct) * m if d else left + s * m
        return (
            float(weight @ np.log(totals + s) - new @ np.log(s + d * targets) - tokens @ np.log(top)) - alone
        )

    return loss


def _histogram(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Return distinct whole values and their summed weights, or all where they are few."""
    most = int(values.max(initial=0))
    if most >= len(values):
        return values, weight
    summed = np.bincount(values.astype(np.int64), weight)
    found = np.flatnonzero(summed)
    return found.astype(np.float64), summed[found]
