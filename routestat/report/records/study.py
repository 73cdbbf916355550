"""results.json, the CSV tables and the saved chain: findings framed, never recomputed.

The keys of results.json are stable; units are in their names; what is undefined is null and has a reason.
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from routestat.forecast.scores import SCORES, PredictionScore
from routestat.inference.association.independence import Independence
from routestat.inference.association.minimum_effect import MinimumEffect
from routestat.inference.base.tables import adjusted_residuals
from routestat.inference.markov.chain import Chain
from routestat.report.records.bayes import bayes_record, write_bayes
from routestat.report.records.layers import coactivation_record, coactivation_rows, enough_record, map_records
from routestat.report.records.memory import memory_record, order_records
from routestat.report.records.parts import (
    budget_record,
    calibration_record,
    interval_record,
    not_measured_records,
    parts_record,
    reason,
    scarcity_record,
    units_record,
)
from routestat.structure.load_balance import Balance
from routestat.study.chain_file import CHAIN_FILE, save_chain
from routestat.study.trace_study import BlockFinding, Dependence, LayerLoad, PathFinding, Study
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

_NO_EXPECTATION = "the chain of the expert view walks single experts, tokens take subsets: no expected count"
Record = dict[str, Any]


def results(study: Study) -> Record:
    """The content of results.json as plain Python values."""
    record = {
        "format": "routestat-results",
        "version": 1,
        "trace": _trace(study),
        "states": study.states,
        "calibration": calibration_record(study.calibration, [router.layer for router in study.routers]),
        "layers": [_layer(load) for load in study.loads],
        "dependence": [
            _dependence(item) | parts_record(parts)
            for item, parts in zip(study.dependence, study.parts, strict=True)
        ],
        "order": order_records(
            study.parts, [item.information.mi_bits for item in study.dependence], study.memory
        ),
        "memory": memory_record(study.memory),
        "across_families": {name: values for name, values in study.across.items()},
        "budget": budget_record(study.budget, [item.scarce for item in study.dependence]),
        "map": map_records(study.breadth),
        "coactivation": [coactivation_record(item) for item in study.breadth.within],
        "enough": [enough_record(item) for item in study.breadth.sufficiency],
        "chain": _chain(study.chain),
        "prediction": [_prediction(score) for score in study.board],
        "prediction_mean": [_prediction(score) for score in study.mean_board],
        "paths": _paths(study),
        "biclusters": [_bicluster(item) for item in study.blocks],
    }
    if study.bayes is not None:
        record["bayes"] = bayes_record(study.bayes)
    return _plain(record)


def write_results(study: Study, folder: Path) -> Record:
    """Write results.json, tables/*.csv, routes.graphml and the chain; return the content of results.json."""
    record = results(study)
    replace_file(folder / "results.json", json.dumps(record, indent=1, allow_nan=False).encode())
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    for name in ("layers", "dependence", "order", "map", "enough", "prediction", "paths", "biclusters"):
        _write_rows(tables / f"{name}.csv", record[name])
    for name in ("contexts", "horizons"):
        _write_rows(tables / f"{name}.csv", record["memory"][name])
    _write_rows(tables / "coactivation.csv", coactivation_rows(study.breadth))
    for stale in tables.glob("transition-*.csv"):
        stale.unlink()
    for item in study.dependence:
        _write_rows(tables / f"transition-{item.source.name}-{item.target.name}.csv", _cells(study, item))
    if study.bayes is not None:
        write_bayes(study.bayes, folder)
    else:
        for stale in folder.glob("bayes-order*.nc"):
            stale.unlink()
    save_chain(study.chain, folder / CHAIN_FILE, study.factorised)
    return record


def _trace(study: Study) -> Record:
    meta = study.meta
    return {
        "name": meta.name,
        "model": meta.model,
        "dataset": meta.dataset,
        "source": meta.source,
        "licence": meta.licence,
        "n_tokens": study.n_tokens,
        "n_documents": study.n_documents,
        **units_record(study.units),
        "not_measured": not_measured_records(study.not_measured),
        "n_groups": study.n_groups,
        "layers": [router.layer for router in study.routers],
        "routers": [router.name for router in study.routers],
        "n_experts": [router.n_experts for router in study.routers],
        "top_k": [router.top_k for router in study.routers],
        "n_subsets": [router.alphabet.size for router in study.routers],
        "window": meta.window,
        "complete": study.complete,
        "notes": list(study.notes),
        **_replay(meta.extra.get("replay")),
    }


def _replay(said: Any) -> Record:
    """How many selections changed when the texts were run again, if the trace says so in numbers."""
    if not isinstance(said, Mapping):
        return {}
    compared, changed = said.get("selections"), said.get("changed")
    if type(compared) is not int or type(changed) is not int or not 0 <= changed <= compared or not compared:
        return {}
    return {
        "replay": {"selections": compared, "changed": changed, "changed_percent": 100 * changed / compared}
    }


def _layer(load: LayerLoad) -> Record:
    balance = load.balance
    return {
        "layer": load.router.layer,
        "router": load.router.name,
        "n_tokens": balance.n_tokens,
        "entropy_bits": load.entropy_bits,
        "load_entropy_bits": balance.entropy_bits,
        "load_gini": balance.load_gini,
        "load_max_over_mean": balance.load_max_over_mean,
        "load_cv": balance.coefficient_of_variation,
        "dead_experts": list(balance.dead_experts),
        "load": balance.load,
        "load_ci95": np.column_stack([balance.load_low, balance.load_high]),
        **reason(balance.reason, _no_interval(balance)),
    }


def _no_interval(balance: Balance) -> str:
    flat = np.isnan(balance.load_low).any() and not balance.reason
    return "an expert that every group used never, always or alike has no interval" if flat else ""


def _dependence(item: Dependence) -> Record:
    test, information = item.test, item.information
    record: Record = {
        "source": item.source.layer,
        "target": item.target.layer,
        "n_tokens": item.n_tokens,
        "n_documents": item.n_documents,
    }
    if isinstance(test, Independence):
        record |= {
            "chi2": test.chi2,
            "dof": test.dof,
            "g": test.g,
            "log10_p_iid": test.log10_p_g,
            "design_effect": test.design_effect,
            "log10_p_clustered_first_order": test.log10_p_clustered_first_order,
            "cramers_v": test.cramers_v,
            "cramers_v_corrected": test.cramers_v_corrected,
            **_effect(item.effect),
            "theils_u": test.theils_u,
            "theils_u_reverse": test.theils_u_reverse,
            "gk_tau": test.gk_tau,
            "gk_tau_reverse": test.gk_tau_reverse,
            "gk_lambda": test.gk_lambda,
            "gk_lambda_reverse": test.gk_lambda_reverse,
        }
    return record | {
        "p_clustered": test.p_clustered,
        "log10_p_clustered": test.log10_p_clustered,
        "q_clustered": 10.0**item.log10_q_clustered,
        "log10_q_clustered": item.log10_q_clustered,
        "mi_bits_plugin": information.mi_bits_plugin,
        "mi_bits": information.mi_bits,
        "mi_bits_ci95": interval_record(information.low, information.high, item.scarce),
        **(
            {"mi_bits_iid": item.iid_bits, "mi_estimator_iid": item.iid_estimator}
            if item.iid_estimator
            else {}
        ),
        "mi_bits_unit": "token" if isinstance(test, Independence) else "pair of slots",
        **reason(test.reason, information.reason, item.scarce.reason),
        **({"note": test.note} if test.note else {}),
        **scarcity_record(item.scarce),
    }


def _effect(effect: MinimumEffect | None) -> Record:
    if effect is None:
        return {}
    return {
        "cramers_v_jackknife": effect.v,
        "cramers_v_ci95": [effect.low, effect.high],
        "cramers_v_threshold": effect.threshold,
        "log10_p_above_threshold": effect.log10_p,
    }


def _chain(chain: Chain) -> Record:
    why = (
        "" if chain.states == "subset" else "the k·k cells of a token are not independent draws: no evidence"
    )
    second = [step.fitted if step else None for step in chain.second]
    return {
        "order": chain.order,
        "orders": list(chain.orders),
        "alpha": chain.alpha,
        "concentration": list(chain.concentration),
        "strength_order_2": [fitted.strength if fitted else None for fitted in second],
        "discount_order_2": [fitted.discount if fitted else None for fitted in second],
        "design_effect": list(chain.design_effects),
        "log_evidence": chain.log_evidence,
        **reason(why),
    }


def _prediction(score: PredictionScore) -> Record:
    record: Record = {
        "predictor": score.predictor,
        "source": score.source if score.source >= 0 else None,
        "target": score.target if score.target >= 0 else None,
        "router": score.router or None,
        "horizon": score.horizon,
        "n_tokens": score.n_tokens,
    }
    reasons = []
    for name in SCORES:
        estimate = score.estimate(name)
        record[name] = estimate.value
        record[name + "_ci95"] = [estimate.low, estimate.high]
        reasons.append(estimate.reason)
    return record | reason(*reasons)


def _paths(study: Study) -> list[Record]:
    found: PathFinding = study.paths
    layers = [router.layer for router in study.routers]
    key = "states" if study.states == "subset" else "experts"
    dominant = [
        {
            "kind": "dominant",
            "label": "among the most probable whole-depth paths of the fitted chain of order 1",
            "layers": layers,
            key: states,
            "probability": probability,
            "log2_probability": bits,
            "expected": found.observed.n_tokens * probability if key == "states" else None,
            "count": count,
            "n_documents": documents,
            **reason("" if key == "states" else _NO_EXPECTATION),
        }
        for states, probability, bits, count, documents in zip(
            found.dominant.states,
            found.dominant.probability,
            found.dominant.log2_probability,
            found.dominant_tokens,
            found.dominant_documents,
            strict=True,
        )
    ]
    observed = [
        {
            "kind": "observed",
            "label": "among the most frequent whole-depth paths; frequent is not yet significant",
            "layers": layers,
            **_observed_path(states, study.routers, key),
            "count": count,
            "n_documents": documents,
            "expected": expected,
            "probability": count / found.observed.n_tokens,
            **reason("" if key == "states" else _NO_EXPECTATION),
        }
        for states, count, documents, expected in zip(
            found.observed.states,
            found.observed.tokens,
            found.observed.documents,
            found.expected,
            strict=True,
        )
    ]
    return dominant + observed


def _observed_path(states: np.ndarray, routers: Sequence[Router], key: str) -> Record:
    """States in the state view; in the expert view the k experts of every layer."""
    if key == "states":
        return {"states": states}
    rows, at = [], 0
    for router in routers:
        if router.alphabet.is_ranked:
            rows.append(router.alphabet.unrank(states[at]).tolist())
            at += 1
        else:
            rows.append(states[at : at + router.top_k].tolist())
            at += router.top_k
    return {"experts": rows}


def _bicluster(item: BlockFinding) -> Record:
    blocks = item.blocks
    return {
        "source": item.source.layer,
        "target": item.target.layer,
        "method": blocks.method,
        "n_row_blocks": blocks.n_row_blocks,
        "n_column_blocks": blocks.n_column_blocks,
        "row_labels": blocks.row_labels,
        "column_labels": blocks.column_labels,
        "share_of_mi": blocks.share_of_mi,
        "share_of_mi_noise": item.null.mean_share,
        "stability_ari": item.stability.ari,
        **reason(blocks.reason, item.stability.reason, item.null.reason),
    }


def _cells(study: Study, item: Dependence) -> Iterable[Record]:
    """Every cell of a transition: counts, joint, conditional, lift, residual, and how many tokens the row rests on."""
    table = item.table.astype(np.float64)
    total, rows, columns = table.sum(), table.sum(axis=1), table.sum(axis=0)
    if not total:
        return
    scale = 1 if study.states == "subset" else item.source.top_k * item.target.top_k
    residual = np.full(table.shape, np.nan)
    if study.states == "subset":
        residual[np.ix_(rows > 0, columns > 0)] = adjusted_residuals(item.table)
    clustered = {}
    if item.cells is not None and not item.cells.reason:
        kept = np.ix_(item.cells.rows, item.cells.columns)
        for name in ("z", "log10_q"):
            clustered[f"{name}_clustered"] = np.full(table.shape, np.nan)
            clustered[f"{name}_clustered"][kept] = getattr(item.cells, name)
    words = [_words(router) if study.states == "subset" else [] for router in (item.source, item.target)]
    for i, j in np.argwhere(np.outer(rows > 0, columns > 0)).tolist():
        record: Record = {"source": i, "target": j}
        if study.states == "subset":
            record |= {"source_experts": words[0][i], "target_experts": words[1][j]}
        yield record | {
            "count": int(table[i, j]),
            "row_tokens": int(rows[i] * (1 if scale == 1 else 1 / item.target.top_k)),
            "joint": table[i, j] / total,
            "conditional": table[i, j] / rows[i],
            "lift": table[i, j] * total / (rows[i] * columns[j]),
            "adjusted_residual_iid": residual[i, j],
            **{name: values[i, j] for name, values in clustered.items()},
        }


def _words(router: Router) -> list[str]:
    rows = router.alphabet.unrank(np.arange(router.alphabet.size)).tolist()
    return [" ".join(map(str, row)) for row in rows]


def _plain(value: Any) -> Any:
    """NumPy to Python, NaN and infinities to None: JSON has neither."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _write_rows(path: Path, rows: Iterable[Record]) -> None:
    """One line per record; lists become one cell, separated by spaces, and so do what belongs to single keys."""
    records = [_plain(row) for row in rows]
    columns = list(dict.fromkeys(key for record in records for key in record))
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        for record in records:
            writer.writerow({key: _cell(value) for key, value in record.items()})


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(str(_cell(item)).replace(" ", "+") for item in value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return "" if value is None else value
