"""results.json and the CSV tables of a simulation."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from routestat.inference.base.estimate import Estimate
from routestat.report.records.model_facts import parameter_record, part_records
from routestat.report.records.plain import Record, plain, reason, write_json, write_rows
from routestat.report.records.simulation_kinds import KINDS
from routestat.report.records.trace_facts import routers_record, source_record
from routestat.serving.cache_estimates import NO_BYTES, NO_SECONDS
from routestat.structure.model_facts import ModelFacts
from routestat.study.simulation_findings import (
    CurvePoint,
    HotSet,
    PlannedCapacity,
    RecoverableGap,
    SimulatedCache,
    Simulation,
    WorkingSet,
)

#: The model of time behind every stall, in words.
OVERLAP_MODEL = (
    "experts come over one link, one after the other in the order of their requests, and no transfer is cancelled; an "
    "event (one step at one layer) begins when its routing is known, requests the experts that it lacks and then the "
    "prefetched ones of a later layer, computes when the last expert that it needs is there, and waits until then: "
    "the wait is the stall"
)
#: Why rates of prefetching are null in a row without any.
NOTHING_AHEAD = "nothing is prefetched"
#: Tables, by their key in results.json.
TABLES = ("simulation", "lru_curve", "recoverable_gap", "hot_sets", "working_sets", "capacity_plan")


def write_results(findings: Simulation, folder: Path) -> Record:
    """Write results.json and tables/*.csv; return the content of results.json."""
    record: Record = plain(results(findings))
    write_json(folder / "results.json", record)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    for name in TABLES:
        write_rows(tables / f"{name}.csv", record[name]["sizes"] if name == "capacity_plan" else record[name])
    return record


def results(findings: Simulation) -> Record:
    """Return the content of results.json."""
    return {
        "format": "routestat-simulation",
        "version": 1,
        "trace": _trace(findings),
        "notes": list(findings.notes),
        "options": dict(findings.options),
        "batch": findings.batch,
        "prefill_chunk": findings.chunk,
        "hardware": hardware_record(findings),
        **({} if findings.facts is None else {"model": model_record(findings.facts)}),
        "kinds": dict(KINDS),
        "simulation": [_cache(findings, one) for one in ordered(findings.caches)],
        "lru_curve": [_point(findings, one) for one in findings.curve],
        "recoverable_gap": [_gap(one) for one in findings.gaps],
        "hot_sets": [_hot_set(one) for one in findings.hot_sets],
        "working_sets": [_working_set(one) for one in findings.working_sets],
        "capacity_plan": _plan(findings),
    }


def ordered(caches: Sequence[SimulatedCache]) -> list[SimulatedCache]:
    """Return settings in their order, each with both phases together first."""
    places: dict[object, int] = {}
    for one in caches:
        places.setdefault(one.setting, len(places))
    return sorted(caches, key=lambda one: (places[one.setting], one.phase != "all"))


def _trace(findings: Simulation) -> Record:
    return {
        **source_record(findings.meta),
        "folder": findings.folder or None,
        "n_tokens": findings.n_tokens,
        "n_documents": findings.n_documents,
        "n_units": findings.n_units,
        **routers_record(findings.routers),
    }


def hardware_record(findings: Simulation) -> Record:
    """Return the machine as it was described, and what is not known of it."""
    machine = findings.hardware
    return {
        "expert_bytes": machine.expert_bytes,
        "bandwidth_bytes_per_second": machine.bandwidth,
        "compute_seconds": machine.compute,
        "transfer_seconds": machine.transfer_seconds,
        "overlap_model": OVERLAP_MODEL,
        **reason(*_unknown(findings)),
    }


def _unknown(findings: Simulation) -> tuple[str, ...]:
    """Return why there are no bytes and no seconds."""
    machine = findings.hardware
    why = (
        (machine.expert_bytes is None, NO_BYTES),
        (machine.transfer_seconds is None, NO_SECONDS),
    )
    return tuple(words for missing, words in why if missing)


def model_record(facts: ModelFacts) -> Record:
    """Return what of the model is loaded and what is active."""
    size = facts.bytes_per_parameter
    return {
        **parameter_record(facts),
        "parts": [
            row
            | {
                "active_bytes": None
                if row["active_parameters"] is None or size is None
                else row["active_parameters"] * size
            }
            for row in part_records(facts)
        ],
        **reason(facts.reason),
    }


def _cache(findings: Simulation, one: SimulatedCache) -> Record:
    setting, size = one.setting, findings.hardware.expert_bytes
    done = not one.reason
    prefetches = setting.lookahead > 0
    key = (setting.predictor, setting.lookahead)
    why = [one.reason] if one.reason else [*_unknown(findings)]
    why += [] if prefetches else [NOTHING_AHEAD]
    estimates = [one.hit_rate, one.served_rate, one.miss_share, one.loads_per_token, one.union_to_capacity]
    estimates += [one.precision, one.recall] if prefetches else []
    # Why there is no stall is said of the machine.
    estimates += [one.stall_per_token] if findings.hardware.transfer_seconds is not None else []
    return {
        "policy": setting.policy,
        "scope": setting.scope,
        "capacity": _whole_where_it_is(setting.capacity),
        "start": setting.start,
        "phase": one.phase,
        "predictor": setting.predictor or None,
        "lookahead": setting.lookahead,
        "candidates": setting.candidates if prefetches else None,
        "half_life": setting.half_life if setting.policy == "lfu-decay" else None,
        "batch": findings.batch,
        "tokens": one.tokens,
        "events": one.events,
        "logical_accesses": one.logical_accesses,
        "accesses": one.accesses,
        **{name: getattr(one, name) if done else None for name in ("hits", "prefetched_hits", "misses")},
        **estimate_record("hit_rate", one.hit_rate),
        **estimate_record("served_rate", one.served_rate),
        **estimate_record("miss_share", one.miss_share),
        **_total("loads", one.loads if done else math.nan, one.loads_per_token, one.tokens),
        **estimate_record("loads_per_token", one.loads_per_token),
        "prefetched_loads": one.prefetched_loads if done else None,
        "wasted_loads": one.prefetched_loads - one.prefetched_hits if done else None,
        **estimate_record("precision_non_resident", one.precision),
        **estimate_record("recall_non_resident", one.recall),
        **({"recall_all": findings.recalls[key]} if prefetches and key in findings.recalls else {}),
        **estimate_record("union_to_capacity", one.union_to_capacity),
        **_total("bytes", one.bytes, scaled(one.loads_per_token, size), one.tokens),
        "bytes_demanded": one.bytes_demanded,
        "bytes_wasted": one.bytes_wasted,
        **estimate_record("bytes_per_token", scaled(one.loads_per_token, size)),
        **_total("stall_seconds", one.stall_seconds, one.stall_per_token, one.tokens),
        **estimate_record("stall_seconds_per_token", one.stall_per_token),
        **reason(*why, *(estimate.reason for estimate in estimates)),
        **({"cautions": list(one.cautions)} if one.cautions else {}),
    }


def estimate_record(name: str, found: Estimate) -> Record:
    """Return a value and its interval."""
    return {name: found.value, f"{name}_ci95": [found.low, found.high]}


def _total(name: str, value: float, per_token: Estimate, tokens: int) -> Record:
    """Return a total, with the interval of its share per token times the tokens."""
    return {name: value, f"{name}_ci95": [per_token.low * tokens, per_token.high * tokens]}


def scaled(found: Estimate, factor: float | None) -> Estimate:
    """Return an estimate in another unit; NaN where the factor is not known."""
    by = math.nan if factor is None else factor
    return replace(
        found,
        value=found.value * by,
        low=found.low * by,
        high=found.high * by,
        standard_error=found.standard_error * by,
    )


def _whole_where_it_is(capacity: float) -> float | int:
    """Return 4 for 4.0: only pools have fractions per layer."""
    return int(capacity) if capacity == int(capacity) else capacity


def _point(findings: Simulation, one: CurvePoint) -> Record:
    layers = len(findings.routers) if one.layer is None else 1
    pool = one.scope == "pool"
    return {
        "scope": one.scope,
        "layer": one.layer,
        "capacity": _whole_where_it_is(one.capacity / len(findings.routers)) if pool else one.capacity,
        "slots": one.capacity if pool else one.capacity * layers,
        **estimate_record("hit_rate", one.hit_rate),
        **reason(one.hit_rate.reason),
    }


def _gap(one: RecoverableGap) -> Record:
    return {
        "scope": one.scope,
        "capacity": _whole_where_it_is(one.capacity),
        "start": one.start,
        "best": one.best or None,
        "best_loads": one.best_loads,
        "optimal_loads": one.optimal_loads,
        **estimate_record("gap", one.gap),
        **reason(one.gap.reason),
    }


def _hot_set(one: HotSet) -> Record:
    return {
        "layer": one.layer,
        "capacity": one.capacity,
        **estimate_record("static_hit_rate", one.static),
        **estimate_record("lru_hit_rate", one.lru),
        "uniform_hit_rate": one.uniform,
        **reason(one.static.reason, one.lru.reason),
    }


def _working_set(one: WorkingSet) -> Record:
    return {
        "layer": one.layer,
        "block_tokens": one.tokens,
        **estimate_record("experts", one.experts),
        "experts_independent": one.independent,
        **reason(one.experts.reason),
    }


def _plan(findings: Simulation) -> Record:
    plan = findings.plan
    return {
        "stall_budget_seconds": plan.stall_budget,
        "smallest": None if plan.smallest is None else _size(findings, plan.smallest),
        **reason(plan.reason),
        "held_out": plan.held_out,
        "sizes": [_size(findings, one) for one in plan.sizes],
    }


def _size(findings: Simulation, one: PlannedCapacity) -> Record:
    return {
        "slots_in_all": one.slots_in_all,
        "bytes_in_all": one.bytes,
        **estimate_record("equal_hit_rate", one.equal_hit_rate),
        **estimate_record("divided_hit_rate", one.divided_hit_rate),
        "slots_per_layer": list(one.slots),
        "stall_seconds_per_token": one.stall_per_token,
        **reason(*_unknown(findings), one.equal_hit_rate.reason, one.divided_hit_rate.reason),
    }
