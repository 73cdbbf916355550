"""Co-occurrence counts of experts per fold of documents, from which linear predictors are fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counting_pass import add_cells, cell_type
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.expert_batches import ExpertBatch, Source, feed_expert_batches, missing_of
from routestat.counting.kernels.likelihood import LANES, sum_parts, tempered_log_likelihood
from routestat.counting.kernels.moments import add_moments
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

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
    trace: Trace,
    designs: Sequence[Design],
    folds: NDArray[np.int64],
    *,
    sample: int = SAMPLE,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Moments]:
    """Count every design in one pass: Σ (slots² / 2 + slots · k) additions per token.

    Tables take 4 · folds · Σ features · (features + experts) bytes.

    Parameters
    ----------
    trace : Trace
    designs : sequence of Design
    folds : int array ``[group]``
        A document's group is its number modulo the length.
    sample : int
        Approximate number of tokens to keep individually.
    threads : int, optional
    progress : callable(rows_done, rows_in_all), optional
    """
    if isinstance(trace, TraceOnWorkers):
        of_part = partial(count_moments, designs=designs, folds=folds, sample=sample, threads=1)
        features = [(design.offsets[-1], design.target.n_experts) for design in designs]
        size = 4 * (int(folds.max()) + 1) * sum(own * (own + experts) for own, experts in features)
        return trace.over_parts(of_part, _added, progress, size)
    share = min(1.0, sample / max(trace.n_counted, 1))
    dtype = cell_type(trace)
    tasks = [_MomentTask.make(design, int(folds.max()) + 1, dtype) for design in designs]

    def feed(task: "_MomentTask", piece: ExpertBatch) -> None:
        task.feed(piece, folds, share)

    routers = [r for d in designs for r in (d.target, *(router for router, _ in d.sources))]
    reach = max((lag for d in designs for _, lag in d.sources), default=0)
    feed_expert_batches(trace, routers, reach, len(folds), tasks, feed, threads, progress)
    return [task.finished() for task in tasks]


def _added(first: list[Moments], second: list[Moments]) -> list[Moments]:
    return [
        Moments(
            a.design,
            add_cells(a.within, b.within),
            add_cells(a.across, b.across),
            np.concatenate([a.features, b.features]),
            np.concatenate([a.targets, b.targets]),
            np.concatenate([a.folds, b.folds]),
        )
        for a, b in zip(first, second, strict=True)
    ]


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


@dataclass(frozen=True, slots=True)
class _MomentTask:
    """The tables of one design, filled piece by piece, and the rows it keeps."""

    design: Design
    within: NDArray[np.unsignedinteger]
    across: NDArray[np.unsignedinteger]
    kept: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)

    @classmethod
    def make(cls, design: Design, n_folds: int, dtype: np.dtype) -> "_MomentTask":
        features = design.offsets[-1]
        return cls(
            design,
            np.zeros((n_folds, features, features), dtype),
            np.zeros((n_folds, features, design.target.n_experts), dtype),
        )

    def feed(self, piece: ExpertBatch, folds: NDArray[np.int64], share: float) -> None:
        features, target = piece.features(self.design.sources), piece.columns[self.design.target.name]
        runs, missing = piece.runs, missing_of(self.design.target)
        fold = folds[runs.groups]
        # Runs of one fold after the other, so that its tables stay in the cache.
        by_fold = np.argsort(fold, kind="stable")
        where = (runs.starts[by_fold], runs.stops[by_fold], fold[by_fold], piece.first, missing)
        add_moments(features, target, *where, self.within, self.across)
        # Multiples of the golden ratio are spread evenly and in phase with no length of documents.
        place = piece.row + np.arange(len(target) - piece.first)
        rows = piece.first + np.flatnonzero((place * _GOLDEN) % 1.0 < share)
        rows = rows[(features[rows] >= 0).all(axis=1) & (target[rows, 0] != missing)]
        of_row = np.empty(len(target), np.int64)
        order = np.argsort(runs.starts)
        of_row[:] = np.repeat(fold[order], (runs.stops - runs.starts)[order])
        self.kept.append((features[rows], target[rows].astype(np.int64), of_row[rows]))

    def finished(self) -> Moments:
        self.within[:] |= np.tril(self.within, -1).swapaxes(1, 2)
        slots = sum(router.top_k for router, _ in self.design.sources)
        empty = (np.empty((0, slots), np.int32), np.empty((0, self.design.target.top_k), np.int64))
        kept = [*self.kept, (*empty, np.empty(0, np.int64))]
        features, targets, folds = (np.concatenate(column) for column in zip(*kept, strict=True))
        for array in (self.within, self.across):
            array.flags.writeable = False
        return Moments(self.design, self.within, self.across, features, targets, folds)
