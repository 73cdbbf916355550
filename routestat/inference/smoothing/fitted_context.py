"""The distribution after a long context by back-off, fitted to all groups, for contexts seen and not seen."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.smoothing.backoff import backed_off, expected_draws
from routestat.inference.smoothing.backoff_step import Lower, Step
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.context_counts import ContextCounts, TokenRows
from routestat.inference.smoothing.context_entries import Level, Places


@dataclass(frozen=True, slots=True, eq=False)
class _Amounts:
    """One context: its observed cells, what they count, and how it backs off to the shorter context.

    Attributes
    ----------
    contexts : int array ``[context, variable]``
        Values of the observed contexts, in lexicographic order.
    starts : int array ``[context + 1]``
        Where the cells of each begin.
    target, amount : arrays ``[cell]``
    total, distinct : float arrays ``[context]``
    fitted : BackoffParameters
    """

    contexts: NDArray[np.int64]
    starts: NDArray[np.int64]
    target: NDArray[np.int64]
    amount: Floats
    total: Floats
    distinct: Floats
    fitted: BackoffParameters


@dataclass(frozen=True, slots=True, eq=False)
class FittedContext:
    """The distribution of a target after a context; see `fit_context`.

    Attributes
    ----------
    names : tuple of str
        Variables, in the order in which back-off adds them.
    n_targets : int
    levels : tuple
        The empty context first.
    """

    names: tuple[str, ...]
    n_targets: int
    levels: tuple[_Amounts, ...]

    @property
    def fitted(self) -> BackoffParameters:
        """How strongly the longest context is smoothed towards the next shorter one."""
        return self.levels[-1].fitted

    def distributions(self, contexts: NDArray[np.integer]) -> Floats:
        """Compute the probabilities ``[context, target]`` after contexts.

        Parameters
        ----------
        contexts : int array ``[context, variable]``
            In the order of `names`; −1 and values that were not seen leave the shorter context.
        """
        values = np.asarray(contexts, np.int64)
        found: Floats = np.full((len(values), self.n_targets), 1.0 / self.n_targets)
        for n, level in enumerate(self.levels):
            place = _places(level.contexts, values[:, :n])
            seen = np.flatnonzero(place >= 0)
            at = place[seen]
            lengths = level.starts[at + 1] - level.starts[at]
            row = np.repeat(np.arange(len(seen)), lengths)
            cell = np.repeat(level.starts[at] - np.cumsum(lengths) + lengths, lengths) + np.arange(len(row))
            amount = np.zeros((len(seen), self.n_targets))
            amount[row, level.target[cell]] = level.amount[cell]
            total, distinct = level.total[at][:, None], level.distinct[at][:, None]
            found[seen] = backed_off(amount, total, distinct, found[seen], level.fitted)
        return found

    def probabilities(self, contexts: NDArray[np.integer], targets: NDArray[np.integer]) -> Floats:
        """Compute the probability of one target after each context ``[context]``.

        Parameters
        ----------
        contexts : int array ``[context, variable]``
            As in `distributions`.
        targets : int array ``[context]``
        """
        values, wanted = np.asarray(contexts, np.int64), np.asarray(targets, np.int64)
        found: Floats = np.full(len(values), 1.0 / self.n_targets)
        for n, level in enumerate(self.levels):
            place = _places(level.contexts, values[:, :n])
            seen = np.flatnonzero(place >= 0)
            at = place[seen]
            of_cell = np.repeat(np.arange(len(level.contexts)), np.diff(level.starts))
            key, sought = of_cell * self.n_targets + level.target, at * self.n_targets + wanted[seen]
            cell = np.minimum(np.searchsorted(key, sought), max(len(key) - 1, 0))
            amount = np.where(key[cell] == sought, level.amount[cell], 0.0) if len(key) else np.zeros(len(at))
            found[seen] = backed_off(amount, level.total[at], level.distinct[at], found[seen], level.fitted)
        return found

    def most(self) -> Floats:
        """Return the largest probability ``[first variable, target]`` over all values of the other variables.

        Contexts that were not seen are included. A bound: not always reached.
        """
        if not self.names:
            return self.distributions(np.empty((1, 0), np.int64))
        n_first = int(self.levels[1].contexts[:, 0].max(initial=-1)) + 1
        found = self._at_level(np.arange(n_first)[:, None], 1)
        above = found
        for n in range(2, len(self.levels)):
            contexts = self.levels[n].contexts
            rows = self._at_level(contexts, n)
            longer = np.zeros_like(found)
            order = np.flatnonzero(np.concatenate([[True], contexts[1:, 0] != contexts[:-1, 0]]))
            if len(contexts):
                longer[contexts[order, 0]] = np.maximum.reduceat(rows, order, axis=0)
            above = np.maximum(above, longer)
        return above

    def _at_level(self, contexts: NDArray[np.int64], n: int) -> Floats:
        shorter = FittedContext(self.names[:n], self.n_targets, self.levels[: n + 1])
        return shorter.distributions(contexts)


def fit_context(rows: TokenRows, names: tuple[str, ...]) -> FittedContext:
    """Fit the distribution after a context, which backs off by dropping the last variable first.

    Strengths and discounts maximise the evidence of all groups, and strengths are then doubled while that improves the
    prediction of single groups left out, as in `routestat.inference.smoothing.held_out`.

    Parameters
    ----------
    rows : TokenRows
    names : tuple of str
        Columns of `rows`.

    Raises
    ------
    RoutestatError
        If there is no token.
    """
    if not len(rows):
        raise RoutestatError("rows: expected a token with a known target, got none")
    # All groups are in one half; the fit is that which would predict the other.
    halves = np.ones(rows.n_groups, np.int64)
    counted: list[ContextCounts] = []
    for n in range(len(names), -1, -1):
        counted.append(ContextCounts(rows, names[:n], counted[-1] if counted else None))
    levels = [Level(counts, halves) for counts in reversed(counted)]
    places = [Places(shorter, longer) for shorter, longer in pairwise(levels)]
    step: Step | None = None
    for n, level in enumerate(levels):
        step = Step(level, Lower(step, places[n - 1]) if step else None, 0, rows.n_targets)
    assert step is not None
    tokens = levels[-1].tokens[1]
    amounts = [tokens]
    if len(levels) > 1:
        draws = expected_draws(tokens, step.weight)
        for place in reversed(places):
            draws = place.summed(draws)
            amounts.append(draws)
    fitted = [*(BackoffParameters(strength) for strength in step.strengths), step.fitted]
    found = [
        _amounts(rows, level.counts, amount, one)
        for level, amount, one in zip(levels, reversed(amounts), fitted, strict=True)
    ]
    return FittedContext(tuple(names), rows.n_targets, tuple(found))


def _amounts(rows: TokenRows, counts: ContextCounts, amount: Floats, fitted: BackoffParameters) -> _Amounts:
    starts = np.searchsorted(counts.context, np.arange(counts.n_contexts + 1)).astype(np.int64)
    some = np.empty(counts.n_cells, np.int64)
    some[counts.cell] = counts.row_of
    first = some[starts[:-1]]
    values = [rows.columns[name][first] for name in counts.names]
    contexts = np.column_stack(values) if values else np.empty((counts.n_contexts, 0))
    return _Amounts(
        read_only(contexts.astype(np.int64)),
        read_only(starts),
        read_only(counts.target.astype(np.int64)),
        read_only(amount),
        read_only(counts.contexts(amount)),
        read_only(counts.contexts(amount > 0)),
        fitted,
    )


def _places(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of the wanted rows is among the known ones, which are in lexicographic order; −1: nowhere."""
    place = np.zeros(len(wanted), np.int64)
    if not len(known):
        return place - 1
    key, wanted_key = np.zeros(len(known), np.int64), np.zeros(len(wanted), np.int64)
    valid = np.ones(len(wanted), bool)
    for own, other in zip(known.T, wanted.T, strict=True):
        size = int(own.max(initial=0)) + 1
        valid &= (other >= 0) & (other < size)
        if int(key.max(initial=0)) >= 2**62 // size:
            names, key = np.unique(key, return_inverse=True)
            at = np.minimum(np.searchsorted(names, wanted_key), len(names) - 1)
            valid &= names[at] == wanted_key
            wanted_key = at.astype(np.int64)
        key = key * size + own
        wanted_key = np.where(valid, wanted_key * size + other, 0)
    place = np.minimum(np.searchsorted(key, wanted_key), len(known) - 1)
    return np.where(valid & (key[place] == wanted_key), place, -1)
