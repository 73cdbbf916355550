"""results.json and the CSV tables of `place`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from routestat.inference.base.estimate import Estimate
from routestat.report.placement_sentences import placement_sentences
from routestat.report.records.plain import Record, plain, reason, write_json, write_rows
from routestat.study.placement_exports import ExportedFiles
from routestat.study.placement_findings import Gain, PinnedLayer, PlacementFindings, PlacementResult
from routestat.traces.metadata import Router

#: Names of the tables, which are parts of results.json.
TABLES = ("placements", "layers", "transitions", "pins", "exports")
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
    record: Record = {
        "format": "routestat-placement",
        "version": 1,
        "trace": _trace(findings),
        "options": dict(findings.options),
        "notes": list(findings.notes),
        "devices": _devices(findings),
        "placements": [_placement(result) for result in findings.results],
        "layers": [row for result in findings.results for row in _layers(findings, result)],
        "transitions": [row for result in findings.results for row in _transitions(findings, result)],
        "pins": [_pinned(item) for item in findings.pins],
    }
    gains = {row["objective"]: row for row in record["placements"]}
    record["exports"] = [_export(item, gains.get(item.objective)) for item in exported]
    return record | {"reading": placement_sentences(plain(record))}


def _trace(findings: PlacementFindings) -> Record:
    meta = findings.meta
    return {
        "name": meta.name,
        "model": meta.model,
        "dataset": meta.dataset,
        "folder": findings.folder or None,
        "n_tokens": findings.n_tokens,
        "n_documents_fitted": findings.n_fitted,
        "n_documents_held_out": findings.n_held_out,
        "n_units_held_out": findings.n_held_out_units,
        "layers": [router.layer for router in findings.routers],
        "routers": [router.name for router in findings.routers],
        "n_experts": [router.n_experts for router in findings.routers],
        "top_k": [router.top_k for router in findings.routers],
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
    one_node = result.placement.devices.n_nodes == 1
    return {
        "objective": result.objective,
        **_gain("balance", result.balance),
        **_gain("balance_worst_layer", result.worst_layer),
        **_gain("device_affinity", result.device_affinity),
        **_gain("node_affinity", result.node_affinity, _ONE_NODE if one_node else ""),
        "optimality_gap": result.optimality_gap,
        **({"optimality_gap_reason": result.gap_reason} if result.gap_reason else {}),
    }


def _gain(name: str, found: Gain, undefined: str = "") -> Record:
    values: Record = {
        **_estimate(f"{name}_default", found.before),
        **_estimate(f"{name}_placed", found.after),
        **_estimate(f"{name}_gain", found.gain),
        f"{name}_default_fitted": found.fitted_before,
        f"{name}_placed_fitted": found.fitted_after,
    }
    why = found.gain.reason
    if undefined:
        values, why = dict.fromkeys(values), undefined
    return values | ({f"{name}_reason": why} if why else {})


def _estimate(name: str, estimate: Estimate) -> Record:
    return {name: estimate.value, f"{name}_ci95": [estimate.low, estimate.high]}


def _layers(findings: PlacementFindings, result: PlacementResult) -> Iterator[Record]:
    """Rows of the devices' loads and the expert of every slot."""
    for place, router in enumerate(findings.routers):
        before, after = result.device_loads_before[place], result.device_loads_after[place]
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
    nodes = findings.devices.n_nodes > 1
    pairs = zip(findings.routers, findings.routers[1:], strict=False)
    for place, (source, target) in enumerate(pairs):
        row = {
            "objective": result.objective,
            "source": source.layer,
            "target": target.layer,
            "source_router": source.name,
            "target_router": target.name,
            "device_affinity_default": result.affinity_before[place, 0],
            "device_affinity_placed": result.affinity_after[place, 0],
        }
        if nodes:
            row["node_affinity_default"] = result.affinity_before[place, 1]
            row["node_affinity_placed"] = result.affinity_after[place, 1]
        yield row


def _pinned(item: PinnedLayer) -> Record:
    return {
        **_router(item.router),
        "capacity": len(item.experts),
        "experts": item.experts,
        **_estimate("hit_rate", item.hit_rate),
        **_estimate("lru_hit_rate", item.lru_hit_rate),
        "uniform_hit_rate": len(item.experts) / item.router.n_experts,
        **reason(item.hit_rate.reason, item.lru_hit_rate.reason),
    }


def _export(item: ExportedFiles, placed: Record | None) -> Record:
    """Return one export, with what its placement gains on documents that it was not made from."""
    record: Record = {
        "export": item.export.name,
        "engine": item.export.engine,
        "objective": item.objective or None,
        "files": list(item.files),
        "command": item.command or None,
        "experimental": item.export.experimental,
    }
    if placed is not None:
        name = "balance" if item.objective == "balance" else "device_affinity"
        record |= {"gain_in": name} | {
            key.replace(name, "held_out", 1): placed[key]
            for key in (f"{name}_default", f"{name}_placed", f"{name}_gain", f"{name}_gain_ci95")
        }
    return record | ({"notes": list(item.notes)} if item.notes else {}) | reason(item.reason)
