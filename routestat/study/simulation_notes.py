"""What a reader has to know of a simulation, and of single settings."""

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.inference.base.units import FEW_UNITS, too_few
from routestat.serving.replay_sums import ReplaySums
from routestat.serving.settings import CacheSetting
from routestat.serving.steps import Steps
from routestat.study.simulation_plan import SimulationPlan
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.dummy_rows.findings import findings_of
from routestat.traces.store import Trace
from routestat.traces.validation import PHASES


def simulation_notes(
    trace: Trace, sample: Sample, steps: Steps, plan: SimulationPlan, not_predicted: str
) -> tuple[str, ...]:
    """Collect what a reader has to know before any number.

    Parameters
    ----------
    trace : Trace
    sample : Sample
        That is replayed.
    steps : Steps
    plan : SimulationPlan
    not_predicted : str
        Why there are no predictions, or empty.
    """
    layers = [router.layer for router in steps.routers]
    prefill, decode = (int(n) for n in steps.tokens.sum(axis=0))
    notes = [
        trace.note,
        f"replayed {sample.note}" if sample.note else "",
        *summarise_units(trace, sample.n_documents, np.unique(sample.cluster)).sentences(),
        *(finding.sentence for finding in findings_of(trace, layers=layers)),
    ]
    # Such as that a file had no positions: a replay depends on the order of tokens.
    notes += [note for note in _said_by_source(trace) if note not in notes]
    if not trace.complete:
        notes.append("the writer of this trace stopped before closing it; what it had finished is replayed")
    if why := too_few(steps.tokens.sum(axis=1)):
        notes.append(f"{why}. Differences between policies may be chance")
    elif steps.n_units < FEW_UNITS:
        notes.append(f"only {steps.n_units} independent units: intervals are approximate below {FEW_UNITS}")
    of_model = None if plan.facts is None else plan.facts.moe_layers
    known = set(trace.meta.layers if of_model is None else of_model)
    if set(layers) < known:
        notes.append(
            f"{len(set(layers))} of {len(known)} layers with experts are replayed: loads, bytes and seconds of a token "
            "are those of these layers"
        )
    if plan.hardware.bandwidth is not None and plan.hardware.expert_bytes is None:
        notes.append(
            "bytes and seconds are not known: --bandwidth needs --expert-bytes or --model-config too"
        )
    if steps.batch > 1:
        # A step of decoding has one token of every document that still runs.
        one = (steps.phase == PHASES.index("decode")) | (steps.chunk == 1)
        if one.any():
            mean = float(np.diff(steps.start)[one].mean())
            notes.append(
                f"of the {steps.batch} documents side by side, {mean:.1f} run on average: they end at different steps, "
                "and the last ones of a unit may be fewer"
            )
    if steps.gaps:
        because = (
            f"the model saw windows of {trace.meta.window} tokens"
            if trace.meta.window
            else "positions are missing"
        )
        notes.append(
            f"{steps.gaps:,} tokens do not follow the one before them in their document ({because}): caches are kept "
            "there, as an engine would keep them, but the next token is not predicted"
        )
    if prefill and decode and plan.chunk == 1:
        notes.append(
            f"{prefill:,} {PHASES[0]} tokens are replayed token by token, where engines take many at once; "
            "--prefill-chunk takes several"
        )
    if set(plan.starts) != {"cold"}:
        notes.append(
            f"curves, hot sets and the plan of capacities are those of LRU from a {plan.starts[0]} start"
        )
    if not_predicted:
        notes.append(not_predicted)
    if len(steps.routers) < 2 and plan.predictors:
        notes.append("one layer: there is no earlier one from which experts could be prefetched")
    return tuple(note for note in notes if note)


def _said_by_source(trace: Trace) -> tuple[str, ...]:
    """Return what was noted when the trace was converted."""
    notes = trace.meta.extra.get("notes", ())
    return tuple(note for note in notes if isinstance(note, str)) if isinstance(notes, list | tuple) else ()


def cautions_of(setting: CacheSetting, steps: Steps, sums: ReplaySums) -> tuple[str, ...]:
    """Return what misleads in one setting.

    Parameters
    ----------
    setting : CacheSetting
    steps : Steps
    sums : ReplaySums
        Of any replay of the steps.
    """
    found = []
    accesses = float(sums.column("accesses").sum())
    cycle, union = accesses / len(steps), accesses / max(float(sums.column("events").sum()), 1.0)
    slots = setting.slots(len(steps.routers))
    if setting.scope == "pool" and setting.policy == "lru" and slots < cycle:
        found.append(
            f"the pool of {slots} experts is smaller than the {cycle:.0f} that one step needs over all layers: LRU "
            "removes every expert before its layer is reached again, so that it gets next to nothing whatever the trace"
        )
    if (
        setting.scope == "layer"
        and setting.policy not in ("none", "static")
        and int(setting.capacity) < union
    ):
        found.append(
            f"an event needs {union:.1f} experts on average, more than the {int(setting.capacity)} that the cache of a "
            "layer holds"
        )
    if setting.start == "warm" and steps.n_units == 1:
        found.append("one independent unit: a warm start is a cold one")
    if setting.lookahead:
        tokens = int(np.diff(steps.start).max())
        most = max(router.n_experts for router in steps.routers)
        beside = setting.lookahead * min(tokens * setting.candidates, most)
        found.append(
            f"prefetched experts wait in up to {beside} slots beside the cache, which its capacity does not count"
        )
    return tuple(found)
