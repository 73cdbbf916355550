"""Tables of experts per fold of documents, and the probabilities of inclusion that the other folds give."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.traces.metadata import Router

FOLDS = 10


def assign_folds(counts: Counts, folds: int = FOLDS) -> NDArray[np.int64]:
    """Deal the groups that hold tokens to folds in turn ``[group]``; empty groups get fold 0."""
    used = np.flatnonzero(counts.tokens)
    assigned = np.zeros(counts.groups, np.int64)
    assigned[used] = np.arange(len(used)) % max(1, min(folds, len(used)))
    return assigned


class FoldTables:
    """The tables of one target in the expert view, by fold.

    Attributes
    ----------
    target : Router
    alpha : str or float
        The prior of rows.
    load_log_weights : float array ``[fold, j]``, optional
        Tempered log weights of the target's load (see `routestat.forecast.tempered.fit_load`).
    """

    def __init__(
        self,
        counts: Counts,
        target: Router,
        folds: NDArray[np.int64],
        alpha: str | float,
        load_log_weights: Floats | None = None,
        beside: Mapping[tuple[Context, str], NDArray[np.unsignedinteger]] | None = None,
    ) -> None:
        self.counts, self.target, self.folds, self.alpha = counts, target, folds, alpha
        self.load_log_weights = load_log_weights
        self._beside, self._found = beside or {}, dict[Context, Floats]()

    def has(self, context: Context) -> bool:
        """Whether the target has every source of a context."""
        place = [router.name for router in self.counts.routers].index(self.target.name)
        return all(place + layer >= 0 for layer, _ in context.sources)

    def sources(self, context: Context) -> tuple[tuple[Router, int], ...]:
        """Return the sources of a context as pairs (router, lag in tokens)."""
        place = [router.name for router in self.counts.routers].index(self.target.name)
        return tuple((self.counts.routers[place + layer], -token) for layer, token in context.sources)

    def inclusion(self, context: Context) -> Floats:
        """P(expert j is chosen | row) ``[fold, row, j]``, each fold's from the other folds' table.

        Rows are the experts of the context's one source; without a source there is one row.
        """
        if context not in self._found:
            key = context, self.target.name
            table = self._beside[key] if key in self._beside else self.counts.table(context, self.target)
            rows = table if table.ndim == 3 else table[:, None, :]
            self._found[context] = held_out_inclusion(rows, self.folds, self.alpha, self.target.top_k)
        return self._found[context]


def held_out_inclusion(
    tables: NDArray[np.integer], folds: NDArray[np.int64], alpha: str | float, top_k: int
) -> Floats:
    """P(expert j is chosen | row) ``[fold, row, j]``, each fold's fitted on the other folds' tables.

    It is k times the posterior mean share of the row's choices. A learned prior comes from the folds of the
    other parity, so that no fold ever scores itself.

    Parameters
    ----------
    tables : counts ``[group, row, j]``
    folds : int array ``[group]``
    alpha : str or float
    top_k : int
        Of the target.
    """
    n_folds = int(folds.max()) + 1
    parts = np.array([tables[folds == fold].sum(axis=0, dtype=np.int64) for fold in range(n_folds)])
    total = parts.sum(axis=0)
    priors = [resolve_alpha(parts[1 - parity :: 2].sum(axis=0), alpha) for parity in (0, 1)]
    found = []
    for fold in range(n_folds):
        rows, prior = total - parts[fold], priors[fold % 2]
        found.append(top_k * (rows + prior) / (rows.sum(axis=1, keepdims=True) + prior.sum()))
    return np.clip(np.array(found), 1e-9, 1 - 1e-9)
