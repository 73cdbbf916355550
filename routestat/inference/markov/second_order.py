"""One layer given the two before it: observed counts, and the distribution after any two sources by back-off."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.special import SMALLEST_ALPHA
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.smoothing.backoff import backed_off, fit_distribution
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.inference.smoothing.posterior import TransitionPosterior, transition_posterior
from routestat.inference.smoothing.prior import resolve_alpha

#: Tables [before, source, target] of more cells than this are refused: 160 states a layer still fit.
MOST_CELLS = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class SecondOrderStep:
    """Counts and back-off of one step of order 2.

    Attributes
    ----------
    contexts : int array ``[context]``
        ``before · n_sources + source`` of the observed contexts, ascending.
    starts : int array ``[context + 1]``
        Where the cells of each begin.
    targets, counts : int arrays ``[cell]``
    base : float array ``[source, target]``
        The distribution after a context without tokens.
    fitted : BackoffParameters
        How strongly the others are smoothed towards it.
    n_befores : int
        States of the layer before the source.
    """

    contexts: NDArray[np.int64]
    starts: NDArray[np.int64]
    targets: NDArray[np.int64]
    counts: NDArray[np.int64]
    base: Floats
    fitted: BackoffParameters
    n_befores: int

    def row(self, before: int, source: int) -> NDArray[np.int64]:
        """Return the tokens by target ``[target]`` after these two choices."""
        key = before * len(self.base) + source
        row = np.zeros(self.base.shape[1], np.int64)
        place = int(np.searchsorted(self.contexts, key))
        if place < len(self.contexts) and self.contexts[place] == key:
            cells = slice(int(self.starts[place]), int(self.starts[place + 1]))
            row[self.targets[cells]] = self.counts[cells]
        return row

    def distribution(self, before: int, source: int) -> Floats:
        """Compute the probabilities ``[target]`` after these two choices."""
        row = self.row(before, source)
        return backed_off(row, row.sum(), np.count_nonzero(row), self.base[source], self.fitted)

    def dense(self) -> NDArray[np.int64]:
        """Return the counts ``[before, source, target]``."""
        sources, targets = self.base.shape
        table = np.zeros((self.n_befores * sources, targets), np.int64)
        table[np.repeat(self.contexts, np.diff(self.starts)), self.targets] = self.counts
        return table.reshape(self.n_befores, sources, targets)

    def distributions(self, counts: NDArray[np.int64]) -> Floats:
        """Compute the probabilities of all contexts of such a dense table, in its shape."""
        total, distinct = counts.sum(axis=2, keepdims=True), np.count_nonzero(counts, axis=2, keepdims=True)
        return backed_off(counts, total, distinct, self.base, self.fitted)

    def weights(self, counts: NDArray[np.int64]) -> Floats:
        """Compute the prior weights ``[before, source]`` of all contexts of such a dense table."""
        return np.asarray(self.fitted.strength + self.fitted.discount * np.count_nonzero(counts, axis=2))

    def posterior(self) -> TransitionPosterior:
        """Compute the posterior of all contexts ``[before, source, target]``, with tokens taken as independent.

        Raises
        ------
        RoutestatError
            Where a discount was fitted: the posterior is then not Dirichlet.
        """
        if self.fitted.discount:
            raise RoutestatError(
                f"posterior: a discount of {self.fitted.discount:.3g} was fitted, which no Dirichlet has; "
                "use distributions()"
            )
        return transition_posterior(
            self.dense(), np.maximum(self.fitted.strength * self.base, SMALLEST_ALPHA)
        )

    def law(self, before: int, source: int) -> Floats:
        """Return `distribution` under its earlier name."""
        return self.distribution(before, source)

    def laws(self, counts: NDArray[np.int64]) -> Floats:
        """Return `distributions` under their earlier name."""
        return self.distributions(counts)

    def weight(self, before: int, source: int) -> float:
        """Compute the prior weight of that distribution, in tokens."""
        seen = int(np.count_nonzero(self.row(before, source)))
        return self.fitted.strength + self.fitted.discount * seen


def fit_second_order(
    table: ArrayLike, alpha: str | float = "empirical-bayes", strength: BackoffParameters | None = None
) -> SecondOrderStep:
    """Fit one step of order 2.

    Parameters
    ----------
    table : whole counts ``[before, source, target]``
    alpha : str or float
        "empirical-bayes" and "hierarchical" back off to order 1 with the strength of maximal evidence; a number,
        "jeffreys" and "perks" are the symmetric prior of every row, as in order 1.
    strength : BackoffParameters, optional
        Of the back-off, where it was estimated on held-out documents (see `held_out`): the evidence takes tokens as
        independent, so that its strength is too small where documents repeat themselves.

    Raises
    ------
    RoutestatError
        For a table of other than three axes or of more than 4 million cells.
    """
    counts = whole_counts(table, "table").astype(np.int64)
    if counts.ndim != 3:
        raise RoutestatError(
            f"table: expected counts [before, source, target], got {counts.ndim} axes; count two sources"
        )
    if counts.size > MOST_CELLS:
        raise RoutestatError(
            f"order 2 has {counts.size:,} cells here, more than {MOST_CELLS:,}; use order 1 for so many states"
        )
    if alpha in ("empirical-bayes", "hierarchical"):
        distribution = fit_distribution(counts)
        base, fitted = distribution.base, strength or distribution.fitted
    else:
        prior = resolve_alpha(counts.reshape(-1, counts.shape[2])[:1], alpha)
        base = read_only(np.tile(prior / prior.sum(), (counts.shape[1], 1)))
        fitted = BackoffParameters(float(prior.sum()))
    rows = counts.reshape(-1, counts.shape[2])
    context, target = np.nonzero(rows)
    contexts, first = np.unique(context, return_index=True)
    seen = rows[context, target]
    starts = np.append(first, len(context)).astype(np.int64)
    return SecondOrderStep(
        read_only(contexts.astype(np.int64)),
        read_only(starts),
        read_only(target.astype(np.int64)),
        read_only(seen),
        base,
        fitted,
        len(counts),
    )
