"""Co-occurrence counts of experts per fold of documents, from which linear predictors are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, Source, missing_of
from routestat.counting.kernels.likelihood import LANES, sum_parts, tempered_log_likelihood
from routestat.counting.kernels.moments import add_moments
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: Tokens kept individually, to fit the few parameters that tables of pairs do not determine.
SAMPLE = 4096
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Design:
    """The inputs of a family of predictors of `target`: its `sources`, in order."""

    target: Router
    sources: tuple[Source, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """First feature of each source, and the end of the last."""
        return tuple(np.cumsum([0, *(router.n_experts for router, _ in self.sources)]).tolist())


@dataclass(frozen=True, slots=True)
class Moments:
    """Co-occurrence counts of the features of a design, per fold, over the tokens that have them all.

    Attributes
    ----------
    design : Design
    within : int array ``[fold, feature, feature]``
        Tokens with both; symmetric, each feature's own tokens on the diagonal.
    across : int array ``[fold, feature, j]``
        Tokens with the feature whose target has expert j.
    features, targets, folds : int arrays ``[row, slot]``, ``[row, k]``, ``[row]``
        Some of those tokens, evenly spread over the trace.
    """

    design: Design
    within: NDArray[np.unsignedinteger]
    across: NDArray[np.unsignedinteger]
    features: NDArray[np.int32]
    targets: NDArray[np.int64]
    folds: NDArray[np.int64]


def count_moments(
    rows: BoardRows,
    designs: Sequence[Design],
    *,
    sample: int = SAMPLE,
    threads: int | None = None,
    tick: Tick = silent,
    what: str = "counting for predictors",
) -> tuple[Moments, ...]:
    """Count every design: Σ (slots² / 2 + slots · k) additions per token.

    Tables take 4 · folds · Σ features · (features + experts) bytes.

    Parameters
    ----------
    rows : BoardRows
    designs : sequence of Design
    sample : int
        Approximate number of tokens to keep individually.
    threads : int, optional
    tick : callable(what, done, total)
    what : str
        Name of this stage.
    """
    # Where some folds alone are scored, nothing of them is needed to choose what they are scored by.
    useful = len(rows) - int(rows.scored.sum()) if rows.scored_folds else len(rows)
    share = min(1.0, sample / max(useful, 1))
    return in_threads([partial(_moments, rows, design, share) for design in designs], threads, tick, what)


def _moments(rows: BoardRows, design: Design, share: float) -> Moments:
    features, experts = design.offsets[-1], design.target.n_experts
    within = np.zeros((rows.n_folds, features, features), np.uint32)
    across = np.zeros((rows.n_folds, features, experts), np.uint32)
    x, target = rows.features(design.sources), rows.experts(design.target)
    runs, missing = rows.runs, missing_of(design.target)
    add_moments(x, target, runs.starts, runs.stops, rows.folds[runs.groups], missing, within, across)
    within |= np.tril(within, -1).swapaxes(1, 2)
    # Multiples of the golden ratio are spread evenly and in phase with no length of documents.
    kept = np.flatnonzero((np.arange(len(rows)) * _GOLDEN) % 1.0 < share)
    if rows.scored_folds:
        kept = kept[~rows.scored[kept]]
    kept = kept[(x[kept] >= 0).all(axis=1) & (target[kept, 0] != missing)]
    for array in (within, across):
        array.flags.writeable = False
    return Moments(design, within, across, x[kept], target[kept].astype(np.int64), rows.fold[kept])


@dataclass(frozen=True, slots=True)
class SampledParts:
    """The parts of the log weights of the sampled tokens, of which models with any exponents are sums.

    Attributes
    ----------
    values : float array ``[block, part, j, lane]``
        Tokens, block by block along the last axis; the first part is the base.
    targets, models : int arrays ``[row, k]``, ``[row]``
        The experts of each token, and the model that it is scored by.
    n_models : int
    """

    values: NDArray[np.float64]
    targets: NDArray[np.int64]
    models: NDArray[np.int64]
    n_models: int


def sampled_parts(
    moments: Moments,
    models: NDArray[np.int64],
    parts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> SampledParts:
    """Sum the parts of every sampled token.

    Parameters
    ----------
    moments : Moments
    models : int array ``[row]``
        The model that each sampled token is scored by.
    parts
        Terms of the log weights: ``base[model, j]``; ``bias[name, model, j]``, ``weights[name, model, feature,
        j]``; and for each further part ``spans[part, (name, first slot, end slot)]``, its features.
    """
    # One model after the other, so that its weights stay in the cache.
    order = np.argsort(models, kind="stable")
    own, (n_models, n_experts) = models[order], parts[0].shape
    values = np.zeros((-(-len(own) // LANES), 1 + len(parts[3]), n_experts, LANES))
    sum_parts(moments.features[order], own, *parts, values)
    return SampledParts(values, moments.targets[order], own, n_models)


def tempered_likelihood(
    of: SampledParts,
    exponents: NDArray[np.float64],
    chosen: Sequence[int] | None = None,
    wanted: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute the log likelihood of the sampled tokens in nats ``[model]``, its gradient and minus its Hessian.

    Parameters
    ----------
    of : SampledParts
    exponents : float array ``[model, part]``
        Factors of the parts.
    chosen : sequence of int, optional
        Which parts (all).
    wanted : bool array ``[model]``, optional
        Which models (all); what is returned of the others is not complete.
    """
    n, c = exponents.shape
    value, slope, curve = np.zeros(n), np.zeros((n, c)), np.zeros((n, c, c))
    which = np.arange(c) if chosen is None else np.array(chosen, np.int64)
    models = np.ones(n, np.bool_) if wanted is None else wanted
    tempered_log_likelihood(of.values, which, of.targets, of.models, exponents, models, value, slope, curve)
    return value, slope, curve
