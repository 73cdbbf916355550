"""One step of back-off: a context above its shorter ones, fitted on one half of the groups to predict the other."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.backoff import (
    draws_of_entries,
    left_out_entries,
    probabilities_without,
    summed,
)
from routestat.inference.base.special import LARGEST_SUM_PER_TOKEN
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.backoff import expected_draws
from routestat.inference.smoothing.backoff_strength import BackoffParameters, fit_backoff, fit_strength
from routestat.inference.smoothing.context_entries import Entries, Level, Places


class Step:
    """One context above its shorter ones, fitted on the groups that are not in `half`.

    `plain` ``[cell]`` is the distribution in which every token counts for the shorter context. It determines how many
    tokens were drawn from the base and how many repeat their row.
    """

    plain: Floats

    def __init__(self, level: Level, lower: "Lower | None", half: int, n_targets: int) -> None:
        self.level, self.lower, self.half, self.n_targets = level, lower, half, n_targets
        counts, c = level.counts, level.tokens[1 - half]
        seen = np.flatnonzero(c)
        count, n = c[seen], counts.contexts(c)
        u = counts.contexts(c > 0)
        base = plain = lower.plain() if lower else self._uniform()
        prior = fit_strength(count, plain[seen], n)
        self.weight = prior * plain
        self.plain = _mixed(c, n, plain, prior, counts.context)
        self.strengths: list[float] = []
        if lower:
            base = lower.fit(expected_draws(c, self.weight), self.strengths)
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

    def fit(self, draws: Floats, strengths: list[float]) -> Floats:
        """Fit the distribution ``[cell]`` of draws of the longer context; strengths are appended to a list."""
        base = self.lower.fit(draws, strengths) if self.lower else self._uniform()
        n, seen = self.level.counts.contexts(draws), np.flatnonzero(draws)
        s = fit_strength(draws[seen], base[seen], n)
        strengths.append(s)
        return _mixed(draws, n, base, s, self.level.counts.context)

    def left_out(self, later: bool) -> tuple["LeftOut", ...]:
        """Return what determines the distributions without a group, of all contexts from the shortest on.

        Each group of the half is left out; `later` leaves out all later groups too, and is about all groups.
        """
        entries = self.level.entries(None if later else self.half)
        c = self.level.tokens[0] + self.level.tokens[1]
        own, whole = self._held_back(entries, entries.count, later)
        below: tuple[LeftOut, ...] = ()
        if self.lower:
            fewer = draws_of_entries(entries.cell, c, own, entries.count, self.weight)
            below = self.lower.left_out(expected_draws(c, self.weight), fewer, later, iter(self.strengths))
        to_base = np.full(len(whole), self.fitted.strength)
        if self.fitted.discount:
            counts = self.level.counts
            distinct = counts.contexts(np.ones(counts.n_cells))[entries.context]
            left = c[entries.cell] - own
            distinct -= counts.distinct_held_back(left, True) if later else entries.of_parts(left <= 0)
            to_base += self.fitted.discount * distinct
        return (*below, LeftOut(self.level, entries, c, own, whole, to_base, self.fitted, self.lower))

    def _held_back(self, entries: Entries, values: Floats, later: bool) -> tuple[Floats, Floats]:
        return self.level.counts.held_back(values, True) if later else (values, entries.of_parts(values))

    def draws_left_out(
        self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]
    ) -> tuple["LeftOut", ...]:
        """Return the same of the distribution of draws ``[cell]``, of which a group holds `fewer` ``[entry]``."""
        entries = self.level.entries(None if later else self.half)
        below = self.lower.left_out(draws, fewer, later, strengths) if self.lower else ()
        own, whole = self._held_back(entries, fewer, later)
        fitted = BackoffParameters(next(strengths))
        to_base = np.full(len(whole), fitted.strength)
        return (*below, LeftOut(self.level, entries, draws, own, whole, to_base, fitted, self.lower))


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """What determines the distributions after one context, each without the tokens of one group.

    Attributes
    ----------
    level : Level
    entries : Entries
    amount : float array ``[cell]``
        Tokens, or those drawn for a longer context, of all groups.
    own, whole : float arrays ``[entry]``, ``[part]``
        What is left out of the cell, and of the context.
    to_base : float array ``[part]``
        Tokens that the shorter context's distribution has the weight of.
    fitted : BackoffParameters
    lower : Lower, optional
        The shorter context; without one the base is uniform.
    """

    level: Level
    entries: Entries
    amount: Floats
    own: Floats
    whole: Floats
    to_base: Floats
    fitted: BackoffParameters
    lower: "Lower | None"

    @property
    def total(self) -> Floats:
        """Sum of the amounts of each context ``[context]``."""
        return self.level.counts.contexts(self.amount)


def probabilities(nested: Iterable[LeftOut], n_targets: int) -> Floats:
    """Compute the probability of the targets of the longest context's entries ``[entry]``."""
    found: Floats = np.full(1, 1.0 / n_targets)
    for one in nested:
        entries, fitted = one.entries, one.fitted
        at: NDArray[np.integer] = np.zeros(len(entries.count), np.int32)
        if one.lower:
            at = one.lower.places.entry(None if entries is one.level.all else one.lower.step.half)
        found = probabilities_without(
            *(entries.cell, entries.part, entries.context, one.amount, one.total),
            *(one.own, one.whole, found, at, one.to_base, fitted.strength, fitted.discount),
        )
    return found


class Lower:
    """The step of a shorter context, and the places of the longer one's cells and entries in it."""

    def __init__(self, step: Step, places: Places) -> None:
        self.step, self.places = step, places

    def plain(self) -> Floats:
        """Return the distribution in which every token counts ``[longer cell]``."""
        return self.step.plain[self.places.cell]

    def fit(self, draws: Floats, strengths: list[float]) -> Floats:
        """Fit the distribution of draws, both ``[longer cell]``."""
        return self.step.fit(self.places.summed(draws), strengths)[self.places.cell]

    def left_out(
        self, draws: Floats, fewer: Floats, later: bool, strengths: Iterator[float]
    ) -> tuple[LeftOut, ...]:
        """Return what determines it without the `fewer` of the entry's own group, and of all later ones if `later`."""
        half = None if later else self.step.half
        own = summed(self.places.entry(half), fewer, len(self.step.level.entries(half).count))
        return self.step.draws_left_out(self.places.summed(draws), own, later, strengths)


def _mixed(count: Floats, total: Floats, base: Floats, strength: float, of: NDArray[np.integer]) -> Floats:
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
    entries: Entries, c: Floats, n: Floats, u: Floats, base: Floats
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
    of_part, beyond, (tokens, left, m, distinct), new, alone = left_out_entries(
        entries.cell, entries.part, entries.context, entries.count, c, n, u, base
    )
    # Targets that no other group has depend on nothing but their contexts' numbers of targets. They are summed apart,
    # so that the loss does not move by rounding where no group has seen what another has.
    targets = np.flatnonzero(new)
    new = new[targets]
    totals, weight = _histogram(beyond, of_part)

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
    summed = np.bincount(values.astype(np.int64), weight).astype(np.float64, copy=False)
    found = np.flatnonzero(summed)
    return found.astype(np.float64), summed[found]
