"""results.json and the CSV tables of `place`."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from routestat.inference.base.estimate import Estimate
from routestat.report.placement_sentences import main_figure, placement_sentences
from routestat.report.records.plain import Record, note, plain, reason, write_json, write_rows
from routestat.report.records.trace_facts import routers_record, source_record
from routestat.study.placement_exports import ExportedFiles
from routestat.study.placement_findings import PinFinding, PlacementFindings, PlacementGain, PlacementResult
from routestat.traces.metadata import Router

#: Parts of results.json that are also tables.
TABLES = ("placements", "layers", "transitions", "pinned", "exports")
#: Figures that a largest value makes too large in few documents, which their estimates allow for.
_CORRECTED = ("balance", "node_balance")
_AFFINITIES = ("device_affinity", "node_affinity")
_ONE_NODE = "all devices are in one node"


def write_results(findings: PlacementFindings, exported: Sequence[ExportedFiles], folder: Path) -> Record:
    """Write results.json and tables/*.csv; return the content of results.json."""
    record: Record = plain(results(findings, exported))
    write_json(folder / "results.json", record)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    for name in TABLES:
        if record[name]:
            write_rows(tables / f"{name}.csv", record[name])
        else:
            (tables / f"{name}.csv").unlink(missing_ok=True)
    return record


def results(findings: PlacementFindings, exported: Sequence[ExportedFiles]) -> Record:
    """Return the content of results.json."""
    placements = [_placement(result) for result in findings.results]
    by_objective = {row["objective"]: row for row in placements}
    pins = _pins(findings.pins)
    record: Record = {
        "format": "routestat-placement",
        "version": 1,
        "trace": _trace(findings),
        "options": dict(findings.options),
        "notes": list(findings.notes),
        "devices": _devices(findings),
        "placements": placements,
        "layers": [row for result in findings.results for row in _layers(findings, result)],
        "transitions": [row for result in findings.results for row in _transitions(findings, result)],
        **({"pins": pins} if pins else {}),
        "pinned": list(_pinned(findings)),
        "exports": [_export(item, by_objective.get(item.objective), pins) for item in exported],
    }
    return record | {"reading": placement_sentences(plain(record))}


def _trace(findings: PlacementFindings) -> Record:
    return {
        **source_record(findings.meta),
        "folder": findings.options.get("trace"),
        "n_tokens": findings.n_tokens,
        "n_documents": findings.n_documents,
        "n_documents_made_from": findings.n_made_from,
        "n_documents_held_out": findings.n_held_out,
        "n_units_made_from": findings.n_units_made_from,
        "n_units_held_out": findings.n_units_held_out,
        **routers_record(findings.routers),
    }


def _devices(findings: PlacementFindings) -> Record:
    devices = findings.devices
    return {
        "n_devices": devices.n_devices,
        "n_nodes": devices.n_nodes,
        "n_redundant_slots": devices.redundant,
        "n_slots": [devices.slots(router.n_experts) for router in findings.routers],
    }


def _placement(result: PlacementResult) -> Record:
    """One placement by both objectives; what the default order has is in the keys with `_default`."""
    one_node = _ONE_NODE if result.placement.devices.n_nodes == 1 else ""
    best = result.optimality
    return {
        "objective": result.objective,
        **_gain("balance", result.balance),
        **_gain("worst_balance", result.worst_balance),
        **_gain("node_balance", result.node_balance, one_node),
        **_gain("device_affinity", result.device_affinity),
        **_gain("node_affinity", result.node_affinity, one_node),
        "found": best.found,
        "optimum": best.optimum,
        "optimality_gap": best.gap,
        "is_optimum": best.used,
        "optimum_method": best.method or None,
        **({"optimum_reason": best.reason} if best.reason else {}),
    }


def _gain(name: str, found: PlacementGain, undefined: str = "") -> Record:
    before, after = _as_counted(found.before), _as_counted(found.after)
    values: Record = {
        **_estimate(f"{name}_default", found.before),
        **_estimate(f"{name}_placed", found.after),
        **_estimate(f"{name}_gain", found.gain),
        **(
            {f"{name}_default_counted": before, f"{name}_placed_counted": after} if name in _CORRECTED else {}
        ),
        **(
            {
                f"{name}_default_by_loads": found.before_by_loads,
                f"{name}_placed_by_loads": found.after_by_loads,
            }
            if name in _AFFINITIES
            else {}
        ),
        f"{name}_default_made_from": found.before_made_from,
        f"{name}_placed_made_from": found.after_made_from,
    }
    why = found.gain.reason
    if undefined:
        values, why = dict.fromkeys(values), undefined
    return values | ({f"{name}_reason": why} if why else {})


def _as_counted(estimate: Estimate) -> float:
    """Return a figure of the held-out documents as they are; where its value is corrected, that is `plugin`."""
    return estimate.value if math.isnan(estimate.plugin) else estimate.plugin


def _estimate(name: str, estimate: Estimate) -> Record:
    return {name: estimate.value, f"{name}_ci95": [estimate.low, estimate.high]}


def _layers(findings: PlacementFindings, result: PlacementResult) -> Iterator[Record]:
    """Rows of the devices' loads, as multiples of their mean, and the expert of every slot."""
    n_devices = findings.devices.n_devices
    for place, router in enumerate(findings.routers):
        before, after = (loads[place] * n_devices for loads in (result.loads_before, result.loads_after))
        yield {
            "objective": result.objective,
            **_router(router),
            "balance_default": before.max(),
            "balance_placed": after.max(),
            "device_loads_default": before,
            "device_loads_placed": after,
            "expert_of_slot": result.placement.experts[place],
        }


def _router(router: Router) -> Record:
    return {"layer": router.layer, "router": router.name}


def _transitions(findings: PlacementFindings, result: PlacementResult) -> Iterator[Record]:
    kinds = {"device_affinity": result.device_affinity}
    if findings.devices.n_nodes > 1:
        kinds["node_affinity"] = result.node_affinity
    for place, (source, target) in enumerate(zip(findings.routers, findings.routers[1:], strict=False)):
        row = {
            "objective": result.objective,
            "source": source.layer,
            "target": target.layer,
            "source_router": source.name,
            "target_router": target.name,
        }
        for name, found in kinds.items():
            row[f"{name}_default"] = found.by_layer_before[place]
            row[f"{name}_placed"] = found.by_layer_after[place]
        yield row


def _pins(found: PinFinding | None) -> Record:
    if found is None:
        return {}
    return {
        "capacity": found.capacity,
        **_estimate("hit_rate", found.static),
        **_estimate("lru_hit_rate", found.lru),
        **_estimate("hit_rate_less_lru", found.difference),
        "uniform_hit_rate": found.uniform,
        **note(found.note),
        **reason(found.static.reason, found.lru.reason, found.difference.reason),
    }


def _pinned(findings: PlacementFindings) -> Iterator[Record]:
    if findings.pins is None:
        return
    rows = zip(findings.routers, findings.pins.experts, findings.loads, strict=True)
    for router, experts, loads in rows:
        total = int(loads.sum())
        yield {
            **_router(router),
            "n_experts": router.n_experts,
            "n_pinned": len(experts),
            "experts": experts,
            "share_of_choices": loads[experts].sum() / total if total else math.nan,
            "uniform_share": len(experts) / router.n_experts,
        }


def _export(item: ExportedFiles, placed: Record | None, pins: Record) -> Record:
    """Return one export, and beside it what its content gains on documents that it was not made from."""
    record: Record = {
        "export": item.export.name,
        "engine": item.export.engine,
        "objective": item.objective or None,
        "files": list(item.files),
        "usage": item.usage or None,
        "experimental": item.export.experimental,
    }
    if placed is not None:
        name = main_figure(item.objective)
        moments = ("default", "placed", "gain", "gain_ci95")
        record |= {"gain_of": name} | {f"held_out_{moment}": placed[f"{name}_{moment}"] for moment in moments}
        if why := placed.get(f"{name}_reason"):
            record["held_out_reason"] = why
    if item.export.name == "pins" and pins:
        names = ("hit_rate", "lru_hit_rate", "hit_rate_less_lru")
        record |= {key: pins[key] for name in names for key in (name, f"{name}_ci95")}
    return record | ({"notes": list(item.notes)} if item.notes else {}) | reason(item.reason)
