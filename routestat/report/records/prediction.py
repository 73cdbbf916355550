"""The scores of predictors: per target, pooled, by layers ahead, phase and domain, and their calibration."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from routestat.forecast import catalogue
from routestat.forecast.calibration import Calibration
from routestat.forecast.gate_horizons import GateHorizons
from routestat.forecast.scores import SCORES, PredictionScore
from routestat.inference.base.estimate import Estimate
from routestat.report.records.memory import partly_known
from routestat.report.records.plain import Record, caution, note, reason
from routestat.study.board_findings import BoardFindings, Comparison, Curve, PartOfTokens, Pooled

#: Scores of the tables of horizons and of the next token.
_FEW_SCORES = ("recall_at_k", "exact_set", "recall_at_2k", "log_loss_bits")
#: Digits of the shares of curves per target, of which there are thousands.
_DIGITS = 3


def prediction_records(board: BoardFindings) -> Record:
    """Return the keys of results.json on the predictors of one trace; what does not apply is absent."""
    means = {one.score.predictor: one.score for one in board.pooled}
    others = [means.get(name) for name in (board.best_by_log_loss, board.baseline_by_log_loss)]
    found: Record = {
        "prediction": [score_record(score) for score in board.one_ahead],
        "prediction_mean": [
            _mean_record(one, compared, *others)
            for one, compared in zip(board.pooled, board.comparisons, strict=True)
        ],
        "prediction_horizons": [_horizon_record(one) for one in board.horizons],
        "prediction_curves": [_curve_record(*one) for one in board.curves],
        "prediction_next_token": [_pooled_record(one) for one in board.next_token],
        "prediction_by_phase": [_part_record("phase", one) for one in board.by_phase],
        "prediction_by_domain": [_part_record("domain", one) for one in board.by_domain],
        "prediction_calibration": [calibration_record(one) for one in board.calibration],
    }
    for name in ("prediction_by_phase", "prediction_by_domain"):
        if not found[name]:
            del found[name]
    if board.gate is not None:
        found["gate_against_table"] = gate_record(board.gate)
    return found | ({"prediction_note": board.note} if board.note else {}) | _why(board)


def _why(board: BoardFindings) -> Record:
    return {"prediction_reason": board.reason} if board.reason else {}


def gate_record(found: GateHorizons) -> Record:
    """Return `gate_against_table`: a predictor and the recorded gate on the same tokens, by layers ahead."""
    rows = zip(
        found.horizons, found.recorded, found.predicted, found.differences, found.n_targets, strict=True
    )
    horizons = [
        {
            "layers_ahead": ahead,
            **_estimate("gate", gate),
            **_estimate("table", table),
            **_estimate("difference", difference),
            "n_targets": targets,
            **reason(difference.reason),
        }
        for ahead, gate, table, difference, targets in rows
    ]
    none = (
        ""
        if found.first is not None
        else f"there is no horizon from which on {found.predictor} is clearly better than the gate"
    )
    return {
        "predictor": found.predictor,
        "score": found.score,
        "horizons": horizons,
        "first_layers_ahead": found.first,
        **reason(none),
    }


def score_record(score: PredictionScore) -> Record:
    """Return an item of `prediction[]`: one predictor at one layer."""
    scores, reasons = _estimates(score, tuple(SCORES))
    return {
        **_named(score),
        "source": score.source if score.source >= 0 else None,
        "target": score.target if score.target >= 0 else None,
        "router": score.router or None,
        "horizon": score.horizon,
        "n_tokens": score.n_tokens,
        **scores,
        **_cost(score),
        **note(score.note),
        **reason(*reasons),
        **_careful(score),
    }


def _named(score: PredictionScore) -> Record:
    return {
        "predictor": score.predictor,
        "family": catalogue.family(score.predictor),
        "baseline": score.predictor in catalogue.baselines(),
    }


def _estimates(score: PredictionScore, names: Sequence[str]) -> tuple[Record, list[str]]:
    found: Record = {}
    reasons = []
    for name in names:
        estimate = score.estimate(name)
        found |= _estimate(name, estimate)
        reasons.append(estimate.reason)
    return found, reasons


def _estimate(name: str, found: Estimate | None) -> Record:
    if found is None:
        return {name: None, f"{name}_ci95": [None, None]}
    return {name: found.value, f"{name}_ci95": [found.low, found.high]}


def _cost(score: PredictionScore) -> Record:
    """Return the cost; predictors that are fitted together have no seconds of their own."""
    return {
        "parameters": score.cost.parameters,
        "multiply_adds_per_token": score.cost.multiply_adds,
        "fit_seconds": score.cost.seconds,
    }


def _mean_record(
    one: Pooled, compared: Comparison, best: PredictionScore | None, baseline: PredictionScore | None
) -> Record:
    """Return an item of `prediction_mean[]`; its log losses are compared with these two."""
    record = score_record(one.score)
    for gone in ("source", "target", "router", "horizon"):
        del record[gone]
    why = record.pop("reason", None)
    differences = {
        name: getattr(compared, name)
        for name in (
            "recall_less_than_best",
            "log_loss_more_than_best",
            "recall_over_best_baseline",
            "log_loss_saved_over_best_baseline",
        )
    }
    record |= {"n_targets": one.n_targets, **_curve(one.curve), "is_best": compared.is_best}
    for name, difference in differences.items():
        record |= _estimate(name, difference)
    # A difference is undefined for the reason for which the score is, or for that of the other predictor.
    reasons = [] if why else [found.reason for found in differences.values() if found is not None]
    careful = caution(
        log_loss_bits=_few_known(one.score),
        log_loss_more_than_best=None if one.score is best else _few_known(one.score, best),
        log_loss_saved_over_best_baseline=None if one.score is baseline else _few_known(one.score, baseline),
    )
    return record | careful | reason(why, one.curve.reason, *reasons)


def _horizon_record(one: Pooled) -> Record:
    """Return an item of `prediction_horizons[]`."""
    record = _pooled_record(one)
    head = {key: record.pop(key) for key in ("predictor", "family", "baseline")}
    return {**head, "layers_ahead": one.layers_ahead, **record}


def _pooled_record(one: Pooled) -> Record:
    scores, reasons = _estimates(one.score, _FEW_SCORES)
    return {
        **_named(one.score),
        "n_tokens": one.score.n_tokens,
        "n_targets": one.n_targets,
        **scores,
        **_curve(one.curve),
        **note(one.score.note),
        **reason(*reasons, one.curve.reason),
        **_careful(one.score),
    }


def _careful(score: PredictionScore) -> Record:
    """Return the caution on the log loss that the memory has on the same context, from the same fit."""
    return caution(log_loss_bits=_few_known(score))


def _few_known(*scores: PredictionScore | None) -> str | None:
    """Return the caution on a log loss, or on a difference of two."""
    found = [partly_known(score.known, score.context) for score in scores if score is not None]
    return "; ".join(dict.fromkeys(text for text in found if text)) or None


def _curve(curve: Curve, digits: int | None = None) -> Record:
    if not curve.fetched:
        return dict.fromkeys(("fetched", "found", "found_low", "found_high"))
    parts = {"found": curve.found.value, "found_low": curve.found.low, "found_high": curve.found.high}
    if digits is not None:
        parts = {name: np.round(values, digits) for name, values in parts.items()}
    return {"fetched": list(curve.fetched), **parts}


def _curve_record(score: PredictionScore, curve: Curve) -> Record:
    """Return an item of `prediction_curves[]`."""
    shown = _curve(curve, _DIGITS)
    return {
        "predictor": score.predictor,
        "target": score.target,
        "router": score.router,
        "layers_ahead": score.horizon,
        **shown,
    }


def _part_record(by: str, one: PartOfTokens) -> Record:
    """Return an item of `prediction_by_phase[]` or `prediction_by_domain[]`."""
    found = {name: getattr(one, name) for name in ("recall_at_k", "exact_set", "log_loss_bits")}
    record: Record = {"predictor": one.predictor, by: one.name, "n_tokens": one.n_tokens}
    for name, estimate in found.items():
        record |= _estimate(name, estimate)
    return record | reason(*(estimate.reason for estimate in found.values()))


def calibration_record(found: Calibration) -> Record:
    """Return an item of `prediction_calibration[]`."""
    seen = found.observed
    rows = zip(found.probability, seen.value, seen.low, seen.high, found.n, strict=True)
    return {
        "predictor": found.predictor,
        **_estimate("ece_debiased", found.error),
        "brier": found.brier,
        "brier_reliability": found.reliability,
        "brier_resolution": found.resolution,
        "brier_uncertainty": found.uncertainty,
        "bins": [
            {"probability": at, "observed": share, "observed_ci95": [low, high], "n": int(n)}
            for at, share, low, high, n in rows
        ],
        **reason(found.error.reason),
    }


def prediction_tables(record: Mapping[str, Any]) -> Record:
    """Return the rows of the CSV files: curves and bins have one row per point, pooled scores a column per point.

    Parameters
    ----------
    record : mapping
        Plain records by their key in results.json.
    """
    found: Record = {}
    for name in ("prediction", "prediction_by_phase", "prediction_by_domain"):
        if name in record:
            found[name] = record[name]
    for name in ("prediction_mean", "prediction_horizons", "prediction_next_token"):
        if name in record:
            found[name] = [_wide(row) for row in record[name]]
    if "gate_against_table" in record:
        gate = record["gate_against_table"]
        found["gate_against_table"] = [
            {"predictor": gate["predictor"], "score": gate["score"], **row} for row in gate["horizons"]
        ]
    if "prediction_curves" in record:
        found["prediction_curves"] = [point for row in record["prediction_curves"] for point in _points(row)]
    if "prediction_calibration" in record:
        found["prediction_calibration"] = [
            {**_without(row, "bins"), **point}
            for row in record["prediction_calibration"]
            for point in row["bins"] or [{}]
        ]
    return found


def _without(row: Record, *names: str) -> Record:
    return {key: value for key, value in row.items() if key not in names}


_CURVE = ("fetched", "found", "found_low", "found_high")


def _wide(row: Record) -> Record:
    points = {}
    for point in _points(row):
        points[f"found_of_{point['fetched']}"] = point["found"]
        points[f"found_of_{point['fetched']}_ci95"] = [point["found_low"], point["found_high"]]
    return _without(row, *_CURVE) | points


def _points(row: Record) -> Iterator[Record]:
    """Yield one row per number of experts fetched."""
    columns = [row[name] or () for name in _CURVE]
    for values in zip(*columns, strict=True):
        yield _without(row, *_CURVE) | dict(zip(_CURVE, values, strict=True))
