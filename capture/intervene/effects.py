"""Effects of a forced choice on later layers, from the traces of a natural and a forced run of the same documents.

The only part of capture that counts and estimates; both are done by `routestat`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.intervene.stored_run import StoredRun
from capture.intervene.treatment import NATURAL, RANDOM, Treatment
from routestat.counting.context import Context
from routestat.counting.counts import Counts, count
from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.two_sample.intervention import InterventionEffect, intervention_effect
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

# Documents beyond this number share groups (document number modulo it), which keeps tables and jackknife small.
MAX_GROUPS = 1024
_ROWS_AT_ONCE = 1 << 18


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
    counts = _source_counts if treatment.kind == RANDOM else _treatment_counts
    tables = counts(observed, forced, treatment, target)
    slots = target.top_k if tables.states == "expert" else 1
    kept = _kept(observed.columns[target.name], forced.columns[target.name], target)
    present = np.flatnonzero(tables.forced.any(axis=(0, 2)))
    found = []
    for done, source in enumerate(present.tolist()):
        progress(done, len(present))
        rows = (tables.source_of_row == source).any(axis=1)
        changed, recall = _changes(kept, rows, observed.cluster, target)
        effect = intervention_effect(tables.forced, tables.observed, source, slots=slots)
        label = source if treatment.kind == RANDOM else None
        found.append(
            TreatmentEffect(treatment, target, horizon, tables.states, label, effect, changed, recall)
        )
    progress(1, 1)
    return found


@dataclass(frozen=True)
class _Tables:
    """Counts ``[group, source, target]`` of both runs, and the sources of each token ``[row, 1 or k]``."""

    forced: NDArray[np.integer[Any]]
    observed: NDArray[np.integer[Any]]
    source_of_row: NDArray[np.integer[Any]]
    states: str


def _source_counts(observed: StoredRun, forced: StoredRun, treatment: Treatment, target: Router) -> _Tables:
    """Count targets by the states, or experts, of the source: random subsets force all of them."""
    source, groups = treatment.router, _n_groups(observed)
    runs = [_count(run.trace((source, target)), Context.layer(1), groups) for run in (forced, observed)]
    states = runs[0].states
    do, free = (one.table(Context.layer(1), target) for one in runs)
    column = forced.columns[source.name]
    return _Tables(do, free, expert_rows(column, source) if states == "expert" else column[:, None], states)


def _treatment_counts(
    observed: StoredRun, forced: StoredRun, treatment: Treatment, target: Router
) -> _Tables:
    """Count targets by two states of the source: the forced choice, and any other."""
    rows = np.ones(len(observed.document), bool)
    if treatment.kind != NATURAL:
        rows = _chose(observed.columns[treatment.router.name], treatment)
    groups = _n_groups(observed)
    parts = [
        _target_counts(forced, target, groups),
        *(_target_counts(observed, target, groups, part) for part in (rows, ~rows)),
    ]
    do, same, other = (part.table(Context(), target) for part in parts)
    return _Tables(
        np.stack([do, np.zeros_like(do)], axis=1),
        np.stack([same, other], axis=1),
        np.zeros((len(rows), 1), np.int64),
        parts[0].states,
    )


def _n_groups(run: StoredRun) -> int:
    return min(int(run.document.max()) + 1, MAX_GROUPS)


def _count(trace: Trace, context: Context, groups: int) -> Counts:
    # The runs have different documents, and their tables must have the same groups.
    return count(trace, contexts=(context,), groups=groups).with_groups(groups)


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
