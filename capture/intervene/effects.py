"""Effects of a forced choice on later layers, from the traces of a natural and a forced run of the same documents.

The only part of capture that counts and estimates; both are done by `routestat`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture.intervene.treatment import NATURAL, RANDOM, Treatment
from routestat.counting.context import Context
from routestat.counting.counts import Counts, count
from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.two_sample.intervention import InterventionEffect, intervention_effect
from routestat.progress import Progress
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.store import Trace

# Documents beyond this number share groups (document number modulo it), which keeps tables and jackknife small.
MAX_GROUPS = 1024
_ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class StoredRun:
    """The columns of a trace that are compared, in memory.

    Attributes
    ----------
    store : Path
    meta : TraceMeta
    n_documents : int
        Documents with tokens.
    document, position, token, cluster : int array ``[row]``
        The cluster is the independent unit: documents that share text are in one.
    columns : dict of int arrays
        By router name: states ``[row]``, or sorted experts ``[row, slot]`` where subsets have no index.
    """

    store: Path
    meta: TraceMeta
    n_documents: int
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    cluster: NDArray[np.int32]
    columns: dict[str, NDArray[np.unsignedinteger]]

    def trace(self, routers: Sequence[Router], rows: NDArray[np.bool_] | None = None) -> Trace:
        """Return some routers, and some rows, as a trace in memory."""
        kept = slice(None) if rows is None else rows
        states = {router.name: self.columns[router.name][kept] for router in routers}
        where = self.document[kept], self.position[kept]
        # The same clusters in every part of the trace; its template has been left out already.
        cluster, meta = self.cluster[kept], TraceMeta(tuple(routers))
        return Trace.from_arrays(meta, *where, states, clusters=cluster, template="keep")


@dataclass(frozen=True)
class TreatmentEffect:
    """The effect of one treatment on one later layer.

    Attributes
    ----------
    treatment : Treatment
    target : Router
    horizon : int
        MoE layers between source and target, 1 for the next.
    states : {"subset", "expert"}
        Targets of the distributions; experts where there are too many subsets.
    source : int or None
        State or expert of the source, where each token had its own random subset; None where all had the same.
    effect : InterventionEffect
    changed : Estimate
        Share of the forced tokens whose choice at the target is another subset than in the natural run.
    recall : Estimate
        Mean share of a token's natural experts at the target that it still chose.
    """

    treatment: Treatment
    target: Router
    horizon: int
    states: str
    source: int | None
    effect: InterventionEffect
    changed: Estimate
    recall: Estimate


def read_run(store: Path, routers: Sequence[Router], progress: Progress | None = None) -> StoredRun:
    """Open a trace, check all of it, and read the columns of some routers.

    Raises
    ------
    RoutestatError
        If it is damaged, not complete, or empty.
    """
    trace = Trace.open(store, progress=progress)
    if not trace.complete:
        raise RoutestatError(f"{store}: this run did not finish; continue with --resume")
    if not trace.n_tokens:
        raise RoutestatError(f"{store}: the documents hold no tokens, so that there is no effect to estimate")
    names = [router.name for router in routers]
    batches = list(trace.counted(["token", *names]))
    document = np.concatenate([batch.document for batch in batches])
    return StoredRun(
        store,
        trace.meta,
        len(np.unique(document)),
        document,
        np.concatenate([batch.position for batch in batches]),
        np.concatenate([batch.columns["token"] for batch in batches]),
        trace.units.cluster_of(document),
        {name: np.concatenate([batch.columns[name] for batch in batches]) for name in names},
    )


def treatment_effects(
    observed: StoredRun,
    forced: StoredRun,
    treatment: Treatment,
    target: Router,
    horizon: int,
    progress: Progress,
) -> list[TreatmentEffect]:
    """Estimate the effect of one treatment on one later layer.

    Parameters
    ----------
    observed, forced : StoredRun
        The natural and the forced run of the same documents.
    treatment : Treatment
    target : Router
    horizon : int
        MoE layers between source and target.
    progress : callable(done, total)

    Returns
    -------
    list of TreatmentEffect
        One; under random subsets one for each state, or expert, of the source.

    Raises
    ------
    RoutestatError
        If the two runs are not of the same tokens, or the forced layer executed anything else.
    """
    _require_same_tokens(observed, forced)
    _require_forced(forced, treatment)
    source = treatment.router
    groups = min(int(observed.document.max()) + 1, MAX_GROUPS)
    if treatment.kind == RANDOM:
        pair = (source, target)
        counted = [_count(run.trace(pair), Context.layer(1), groups) for run in (forced, observed)]
        states = counted[0].states
        do, free = (one.table(Context.layer(1), target) for one in counted)
        of = _source_states(forced.columns[source.name], source, states)
    else:
        rows = np.ones(len(observed.document), bool)
        if treatment.kind != NATURAL:
            rows = _chose(observed.columns[source.name], treatment)
        parts = [
            _target_counts(forced, target, groups),
            *(_target_counts(observed, target, groups, part) for part in (rows, ~rows)),
        ]
        states = parts[0].states
        under, same, other = (part.table(Context(), target) for part in parts)
        # Two source states: the forced subset, and any other.
        do, free = np.stack([under, np.zeros_like(under)], axis=1), np.stack([same, other], axis=1)
        of = np.zeros((len(rows), 1), np.int64)
    slots = target.top_k if states == "expert" else 1
    kept = _kept(observed.columns[target.name], forced.columns[target.name], target)
    present = np.flatnonzero(do.any(axis=(0, 2)))
    found = []
    for done, row in enumerate(present.tolist()):
        progress(done, len(present))
        changed, recall = _changes(kept, (of == row).any(axis=1), observed.cluster, target)
        effect = intervention_effect(do, free, row, slots=slots)
        label = row if treatment.kind == RANDOM else None
        found.append(TreatmentEffect(treatment, target, horizon, states, label, effect, changed, recall))
    progress(1, 1)
    return found


def _count(trace: Trace, context: Context, groups: int) -> Counts:
    return count(trace, contexts=(context,), groups=groups)


def _target_counts(
    run: StoredRun, target: Router, groups: int, rows: NDArray[np.bool_] | None = None
) -> Counts:
    return _count(run.trace((target,), rows), Context(), groups)


def _require_same_tokens(observed: StoredRun, forced: StoredRun) -> None:
    for name in ("document", "position", "token"):
        if not np.array_equal(getattr(observed, name), getattr(forced, name)):
            raise RoutestatError(
                f"{forced.store} and {observed.store} hold different tokens (column {name}); run both again"
            )


def _require_forced(forced: StoredRun, treatment: Treatment) -> None:
    if treatment.kind == "subset" and not _chose(forced.columns[treatment.router.name], treatment).all():
        raise RoutestatError(
            f"{forced.store}: layer {treatment.router.layer} executed other experts than were forced; "
            "run it again, and report this"
        )


def _chose(column: NDArray[np.unsignedinteger], treatment: Treatment) -> NDArray[np.bool_]:
    """Return which tokens have the subset of a treatment ``[row]``."""
    if treatment.state is not None:
        return np.asarray(column == treatment.state)
    return np.asarray((column == np.array(treatment.experts)).all(axis=1))


def _source_states(
    column: NDArray[np.unsignedinteger], source: Router, states: str
) -> NDArray[np.unsignedinteger]:
    """Return the sources that a token is counted under ``[row, 1 or k]``: its state, or each of its experts."""
    return expert_rows(column, source) if states == "expert" else column[:, None]


def _kept(
    natural: NDArray[np.unsignedinteger], forced: NDArray[np.unsignedinteger], target: Router
) -> NDArray[np.int64]:
    """Count the natural experts that each token still chose ``[row]``; −1 where a choice is missing."""
    kept = np.empty(len(forced), np.int64)
    for start in range(0, len(forced), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        first, second = (expert_rows(column[part], target) for column in (natural, forced))
        absent = np.iinfo(first.dtype).max
        missing = (first == absent).any(axis=1) | (second == absent).any(axis=1)
        both = (first[:, :, None] == second[:, None, :]).sum(axis=(1, 2))
        kept[part] = np.where(missing, -1, both)
    return kept


def _changes(
    kept: NDArray[np.int64], rows: NDArray[np.bool_], cluster: NDArray[np.int32], target: Router
) -> tuple[Estimate, Estimate]:
    """Estimate the share of tokens whose choice changed, and the mean share of natural experts kept."""
    here = rows & (kept >= 0)
    _, group = np.unique(cluster[here], return_inverse=True)
    tokens = np.bincount(group)
    changed = np.bincount(group, kept[here] < target.top_k)
    return ratio(changed, tokens), ratio(np.bincount(group, kept[here]) / target.top_k, tokens)
