"""results.json and the CSV tables of a comparison."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from routestat.inference.base.estimate import Estimate
from routestat.inference.two_sample.cells import CellDifferences
from routestat.inference.two_sample.distributions import DistributionDifference
from routestat.inference.two_sample.summaries import FigureDifference
from routestat.report.records.comparison_structure import block_cell_rows, route_rows, structure_records
from routestat.report.records.plain import Record, note, plain, reason, subset_words, write_json, write_rows
from routestat.report.records.trace_facts import not_measured_records, units_record
from routestat.study.comparison import LayerComparison, Side, TraceComparison, TransitionComparison
from routestat.traces.metadata import Router

# Cells that results.json lists for a layer or transition, and those that its table holds.
LISTED, TABULATED = 10, 20_000
_LABELS = "the two routers have different numbers of experts: ids are labels and their distributions cannot be compared"


def write_results(findings: TraceComparison, folder: Path) -> Record:
    """Write results.json and tables/*.csv; return the content of results.json."""
    record: Record = plain(results(findings))
    write_json(folder / "results.json", record)
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    for name in ("layers", "transitions"):
        write_rows(tables / f"{name}.csv", [_without(row, "moved") for row in record[name]])
    for stale in tables.glob("moved-*.csv"):
        stale.unlink()
    for layer in findings.layers:
        if layer.cells is not None:
            cells = _cells(findings, layer.cells, (layer.a,), TABULATED)
            write_rows(tables / f"moved-{layer.a.name}.csv", map(plain, cells))
    for item in findings.transitions:
        if item.cells is not None:
            cells = _cells(findings, item.cells, (item.source, item.target), TABULATED)
            write_rows(tables / f"moved-{item.source.name}-{item.target.name}.csv", map(plain, cells))
    for name in ("blocks", "routes"):
        (tables / f"{name}.csv").unlink(missing_ok=True)
    if findings.structure is not None:
        write_rows(tables / "blocks.csv", map(plain, block_cell_rows(findings.structure)))
        write_rows(
            tables / "routes.csv", map(plain, route_rows(findings, findings.structure.routes, TABULATED))
        )
    return record


def results(findings: TraceComparison) -> Record:
    """Return the content of results.json."""
    return {
        "format": "routestat-comparison",
        "version": 1,
        "a": _side(findings.a),
        "b": _side(findings.b),
        "states": findings.states,
        "paired": findings.pairing.paired,
        "n_common_documents": findings.pairing.n_common,
        "pairing": _pairing(findings),
        "notes": list(findings.notes),
        "layers": [_layer(findings, item) for item in findings.layers],
        "transitions": [_transition(findings, item) for item in findings.transitions],
        **structure_records(findings),
    }


def _pairing(findings: TraceComparison) -> Record:
    """How many documents are in both, how that is known, and why the others are not."""
    pairing = findings.pairing
    return {
        "n_paired": pairing.n_common if pairing.paired else 0,
        "by": pairing.by or None,
        "n_missing_rows": pairing.n_missing,
        "unpaired_a": len(pairing.numbers_a) - pairing.n_common,
        "unpaired_b": len(pairing.numbers_b) - pairing.n_common,
        "reasons": list(pairing.reasons),
    }


def _side(side: Side) -> Record:
    meta = side.meta
    return {
        "trace": side.path,
        "name": meta.name,
        "model": meta.model,
        "dataset": meta.dataset,
        "precision": meta.precision,
        "domain": side.domain,
        "n_tokens": side.n_tokens,
        "n_documents": side.n_documents,
        **units_record(side.units),
        "not_measured": not_measured_records(side.not_measured),
        "n_groups": side.n_groups,
    }


def _layer(findings: TraceComparison, item: LayerComparison) -> Record:
    record: Record = {"layer": item.a.layer, **_of_b(findings, layer_b=item.a), "router": item.a.name}
    reasons = [] if item.distribution else [_LABELS]
    if item.distribution is not None and item.cells is not None:
        record |= _distribution(findings, item.distribution) | {
            "p_permutation": item.permutation,
            "log10_q_clustered": item.log10_q,
            "n_moved": int(item.cells.moved.sum()),
            "moved": list(_cells(findings, item.cells, (item.a,), LISTED)),
        }
        reasons.append(item.distribution.reason or "")
    for name, figure in item.figures.items():
        record |= _figure(name, figure)
    record["profile_distance"] = item.profile_distance
    record |= _estimate("flip_rate", item.flips) | _estimate("kept_experts", item.kept)
    return record | reason(*reasons)


def _transition(findings: TraceComparison, item: TransitionComparison) -> Record:
    record: Record = {"source": item.source.layer, "target": item.target.layer}
    record |= _of_b(findings, source_b=item.source, target_b=item.target)
    reasons = [] if item.difference else [_LABELS]
    if item.difference is not None and item.cells is not None:
        joint, conditional = item.difference.joint, item.difference.conditional
        given = _distribution(findings, conditional)
        names = ("chi2", "dof", "g", "log10_p_iid", "design_effect", "p_clustered", "log10_p_clustered", "jsd_bits",
                 "jsd_bits_plugin", "jsd_bits_ci95", "note")  # fmt: skip
        record |= _distribution(findings, joint) | {
            "p_permutation": item.permutation,
            "log10_q_clustered": item.log10_q,
            **{f"conditional_{name}": given[name] for name in names if name in given},
            "conditional_log10_q_clustered": item.log10_q_conditional,
            "conditional_shared": conditional.shared,
            "n_moved": int(item.cells.moved.sum()),
            "moved": list(_cells(findings, item.cells, (item.source, item.target), LISTED)),
        }
        reasons += [joint.reason or "", conditional.reason or ""]
    record |= _figure("mi_bits", item.information)
    record |= {"caution": item.caution} if item.caution else {}
    return record | reason(*reasons)


def _of_b(findings: TraceComparison, **routers: Router) -> Record:
    """Which layers of B they are, where B numbers them otherwise."""
    return {
        key: findings.layers_of_b[router.name]
        for key, router in routers.items()
        if router.name in findings.layers_of_b
    }


def _distribution(findings: TraceComparison, distribution: DistributionDifference) -> Record:
    record: Record = {
        "n_tokens_a": distribution.n_a,
        "n_tokens_b": distribution.n_b,
        "jsd_bits": distribution.jsd_bits,
        "jsd_bits_plugin": distribution.jsd_bits_plugin,
        "jsd_bits_ci95": [distribution.jsd_bits_low, distribution.jsd_bits_high],
        "total_variation": distribution.total_variation,
        "total_variation_chance": distribution.total_variation_chance,
        "p_clustered": distribution.p_clustered,
        "log10_p_clustered": distribution.log10_p_clustered,
        **note(distribution.note),
    }
    if findings.states == "subset":
        record |= {
            "chi2": distribution.chi2,
            "dof": distribution.dof,
            "g": distribution.g,
            "log10_p_iid": distribution.log10_p_iid,
            "design_effect": distribution.design_effect,
            "cramers_v": distribution.cramers_v,
            "cramers_v_corrected": distribution.cramers_v_corrected,
        }
    return record


def _figure(name: str, figure: FigureDifference) -> Record:
    return {
        f"{name}_a": figure.a,
        f"{name}_b": figure.b,
        f"{name}_difference": figure.difference,
        f"{name}_difference_ci95": [figure.low, figure.high],
    }


def _estimate(name: str, estimate: Estimate | None) -> Record:
    if estimate is None:
        return {}
    return {name: estimate.value, f"{name}_ci95": [estimate.low, estimate.high]}


def _cells(
    findings: TraceComparison, cells: CellDifferences, routers: tuple[Router, ...], at_most: int
) -> Iterable[Record]:
    """Cells with their labels, largest difference first."""
    subsets = findings.states == "subset"
    shape = tuple(r.alphabet.size if subsets else r.n_experts for r in routers)
    ids = np.unravel_index(cells.cell[:at_most], shape)
    names = ("state",) if len(routers) == 1 else ("source", "target")
    words = [subset_words(router) if subsets else [] for router in routers]
    for place in range(len(ids[0])):
        record: Record = {}
        for name, axis, labels in zip(names, ids, words, strict=True):
            record[name if subsets or name != "state" else "expert"] = int(axis[place])
            if subsets:
                record["experts" if name == "state" else f"{name}_experts"] = labels[axis[place]]
        ratio = float(cells.log2_ratio[place])
        yield record | {
            "share_a": cells.share_a[place],
            "share_b": cells.share_b[place],
            "difference": cells.difference[place],
            "standard_error": cells.standard_error[place],
            "log2_ratio": ratio if math.isfinite(ratio) else None,
            "log10_p": cells.log10_p[place],
            "log10_q": cells.log10_q[place],
            "moved": bool(cells.moved[place]),
        }


def _without(row: Mapping, key: str) -> Record:
    return {name: value for name, value in row.items() if name != key}
