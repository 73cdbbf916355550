"""Effects of forced choices in ``intervene.json`` and ``intervene.csv``."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.intervene.effects import TreatmentEffect
from capture.intervene.stored_run import StoredRun
from routestat.inference.base.estimate import Estimate
from routestat.inference.base.units import FEW_UNITS
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

JSON_FILE, CSV_FILE = "intervene.json", "intervene.csv"


def write_effects(out: Path, effects: Sequence[TreatmentEffect], natural: StoredRun, weights_of: str) -> None:
    """Write ``intervene.json`` and ``intervene.csv``; their keys are documented in docs/capture.md."""
    source = effects[0].treatment.router
    record: dict[str, Any] = {
        "model": natural.meta.model,
        "layer": source.layer,
        "n_experts": source.n_experts,
        "top_k": source.top_k,
        "weights_of": weights_of,
        "level": effects[0].effect.level,
        "n_tokens": len(natural.document),
        "n_documents": natural.n_documents,
        "notes": notes(natural),
        "effects": [_record(one) for one in effects],
    }
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(out / JSON_FILE, text.encode())
    table = io.StringIO()
    rows = [_flat(effect, row) for effect in record["effects"] for row in effect["next"]]
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(out / CSV_FILE, table.getvalue().encode())


def _record(one: TreatmentEffect) -> dict[str, Any]:
    effect, observed, natural = one.effect, one.effect.beyond_observed, one.effect.beyond_natural
    record: dict[str, Any] = {
        **one.treatment.record,
        **source_fields(one),
        "store": f"do-{one.treatment.name}",
        "next_layer": one.target.layer,
        "horizon": one.horizon,
        "states": one.states,
        "n_tokens_do": effect.do.n_tokens,
        "n_groups_do": effect.do.n_groups,
        "n_tokens_observed": effect.observed.n_tokens,
        "n_groups_observed": effect.observed.n_groups,
        **_estimate("changed_share", one.changed),
        **_estimate("recall_at_k", one.recall),
        **_estimate("js_bits", observed.js_bits),
        "total_variation": _number(observed.total_variation),
        **_estimate("js_bits_from_all", natural.js_bits),
        "total_variation_from_all": _number(natural.total_variation),
    }
    if reason := observed.reason or effect.do.reason:
        record["reason"] = reason
    distributions = {"p_do": effect.do, "p_observed": effect.observed, "p": effect.natural}
    differences = {"difference": observed, "difference_from_all": natural}
    rows = []
    for target in by_difference(one).tolist():
        row = _named(target, one.target, one.states)
        for name, distribution in distributions.items():
            row[name] = _number(distribution.probability[target])
            row[f"{name}_ci95"] = _limits(distribution.low[target], distribution.high[target])
        for name, difference in differences.items():
            row[name] = _number(difference.value[target])
            row[f"{name}_ci95"] = _limits(difference.low[target], difference.high[target])
        rows.append(row)
    record["next"] = rows
    return record


def by_difference(one: TreatmentEffect) -> NDArray[np.int64]:
    """Return the targets by decreasing difference from observation, or from all tokens if the source never occurred."""
    value = one.effect.beyond_observed.value
    value = one.effect.beyond_natural.value if np.isnan(value).all() else value
    # Targets without a difference follow by decreasing probability.
    return np.lexsort((-one.effect.do.probability, -np.abs(value)))


def source_fields(one: TreatmentEffect) -> dict[str, Any]:
    """Return the state or expert of the source, where each token had its own random subset; else nothing."""
    return {} if one.source is None else _named(one.source, one.treatment.router, one.states)


def _named(index: int, router: Router, states: str) -> dict[str, Any]:
    if states == "expert":
        return {"expert": index}
    return {"state": index, "experts": router.alphabet.unrank(index).tolist()}


def _flat(effect: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the CSV: the treatment, then the target; limits in columns of their own."""
    flat = {name: effect.get(name) for name in ("do", "state", "expert", "experts", "next_layer")}
    flat |= {f"next_{name}": row.get(name) for name in ("state", "expert", "experts")}
    for name, value in row.items():
        if name.endswith("_ci95"):
            flat[f"{name}_low"], flat[f"{name}_high"] = value or (None, None)
        elif name not in ("state", "expert", "experts"):
            flat[name] = value
    return {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in flat.items()}


def _estimate(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: _number(estimate.value), f"{name}_ci95": _limits(estimate.low, estimate.high)}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _limits(low: float, high: float) -> list[float] | None:
    return [float(low), float(high)] if math.isfinite(low) else None


def notes(natural: StoredRun) -> list[str]:
    """Return what limits the intervals: few documents, or a single one."""
    if natural.n_documents == 1:
        return ["one document: no intervals, because tokens of one document depend on each other"]
    if natural.n_documents < FEW_UNITS:
        return [f"only {natural.n_documents} documents: the intervals are approximate below {FEW_UNITS}"]
    return []
