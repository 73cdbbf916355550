"""Records of a board that has everything: horizons, phases, domains, calibration, a gate, a matrix of domains."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from routestat.forecast import catalogue
from routestat.report.html.study import write_report
from routestat.report.records.study import write_results
from routestat.study.trace_study import Study

SCORES = (
    "exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_k3", "recall_at_2k", "log_loss_bits", "brier",
)  # fmt: skip
#: Share of the experts predicted by each; the others follow from it.
SKILL = {
    "uniform": 0.0, "popularity": 0.16, "repeat-previous-token": 0.2, "previous-token": 0.33, "token-id": 0.52,
    "layer-1": 0.41, "layer-1-naive-bayes": 0.45, "layer-1-factorised": 0.55, "layers-2-factorised": 0.62,
    "ridge-1": 0.58, "ridge-4": 0.66, "ridge-all": 0.75, "ridge-all-token-id": 0.79, "network": 0.788, "gate": 0.74,
}  # fmt: skip
PHASES, DOMAINS = ("prefill", "decode"), ("intent", "law", "summary")
HORIZONS = (1, 2, 3, 4)
_AHEAD = ("layer-1", "ridge-1", "ridge-4", "ridge-all", "ridge-all-token-id", "network", "gate")


def write_full_report(
    study: Study, folder: Path, without: tuple[str, ...] = (), **changes: Any
) -> tuple[Path, dict[str, Any]]:
    """Write the report of a study with a full board; return its page and its record.

    `without` are keys that the record does not have, and `changes` replace others.
    """
    kept = {}

    def written(study: Study, folder: Path) -> dict[str, Any]:
        kept.update(with_board(write_results(study, folder)) | changes)
        for key in without:
            del kept[key]
        return kept

    with patch("routestat.report.html.study.write_results", written):
        return write_report(study, folder), kept


def with_board(results: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Return results with the records of a full board, of random numbers that a board could have."""
    rng, trace = np.random.default_rng(seed), results["trace"]
    made = _Board(rng, trace["n_experts"][0], trace["top_k"][0])
    layers, names = trace["layers"], list(SKILL)
    mean = [made.mean_row(name) for name in names]
    best = max(mean, key=lambda row: row["recall_at_k"])
    best["is_best"] = True
    base = max((row for row in mean if row["baseline"]), key=lambda row: row["recall_at_k"])
    least = min((row for row in mean if row["log_loss_bits"]), key=lambda row: row["log_loss_bits"])
    for row in mean:
        for key, over, score in (
            ("recall_less_than_best", best, "recall_at_k"),
            ("log_loss_more_than_best", least, "log_loss_bits"),
            ("recall_over_best_baseline", base, "recall_at_k"),
            ("log_loss_saved_over_best_baseline", base, "log_loss_bits"),
        ):
            if row[score] is None:
                row |= {key: None, key + "_ci95": None}
                continue
            difference = abs(row[score] - over[score])
            if key == "recall_over_best_baseline":
                difference = row[score] - over[score]
            if key == "log_loss_saved_over_best_baseline":
                difference = over[score] - row[score]
            row |= made.value(key, difference, 0.0 if difference == 0 else 0.01)
    board = {
        "prediction": [
            made.row(name) | {"source": None, "target": layer, "router": f"L{layer:02d}"}
            for layer in layers[1:]
            for name in names
        ],
        "prediction_mean": mean,
        "prediction_horizons": [
            made.short(name, n) | {"layers_ahead": n, "n_targets": len(layers) - n}
            for n in HORIZONS
            for name in names
            if n == 1 or name in _AHEAD or catalogue.specification(name).baseline
        ],
        "prediction_curves": [
            {
                "predictor": name,
                "target": layer,
                "router": f"L{layer:02d}",
                "layers_ahead": n,
                **_rounded(made.curve(name, n)),
            }
            for name in names
            for place, layer in enumerate(layers)
            for n in (
                (0,) if catalogue.specification(name).baseline else HORIZONS if name in _AHEAD else (1,)
            )
            if place >= n
        ],
        "prediction_next_token": [
            made.short(name, 0) for name in names if catalogue.specification(name).baseline
        ],
        "prediction_by_phase": [made.short(name, 0) | {"phase": phase} for phase in PHASES for name in names],
        "prediction_by_domain": [
            made.short(name, 0) | {"domain": domain} for domain in DOMAINS for name in names
        ],
        "prediction_calibration": [
            made.calibration(name) for name in names if name != "repeat-previous-token"
        ],
        "gate_against_table": made.gate(),
        "data_effect": made.effect(),
        "transfer": [
            made.moved(name, one, other)
            for name in ("popularity", "ridge-all")
            for one in DOMAINS
            for other in DOMAINS
        ],
    }
    for key in ("prediction_next_token", "prediction_by_phase", "prediction_by_domain", "transfer"):
        for row in board[key]:
            row.pop("layers_ahead", None)
    return results | board


def _rounded(curve: dict[str, list[float]]) -> dict[str, list[float]]:
    return {key: [round(value, 3) for value in values] for key, values in curve.items()}


class _Board:
    def __init__(self, rng: np.random.Generator, n_experts: int, top_k: int) -> None:
        self.rng, self.k, self.share = rng, top_k, top_k / n_experts
        self.fetched = [one for one in range(top_k, 4 * top_k + 1) if one <= n_experts]

    def value(self, key: str, value: float, half: float) -> dict[str, Any]:
        return {key: value, key + "_ci95": [value - half, value + half]}

    def curve(self, name: str, ahead: int) -> dict[str, list[Any]]:
        skill = SKILL[name] * 0.9 ** max(ahead - 1, 0) + self.rng.uniform(-0.02, 0.02) * (name != "uniform")
        part = np.array(self.fetched) / self.k
        found = 1 - (1 - self.share * part) * (1 - skill) * np.exp(-skill * (part - 1))
        half = 0.0 if name == "uniform" else 0.01
        return {
            "fetched": self.fetched,
            "found": found.tolist(),
            "found_low": np.clip(found - half, 0, 1).tolist(),
            "found_high": np.clip(found + half, 0, 1).tolist(),
        }

    def row(self, name: str) -> dict[str, Any]:
        spec = catalogue.specification(name)
        row: dict[str, Any] = {
            "predictor": name,
            "family": spec.family,
            "baseline": spec.baseline,
            "horizon": 0 if spec.baseline else 1,
            "n_tokens": 30000,
        }
        skill = SKILL[name] + self.rng.uniform(0, 0.02) * (name != "uniform")
        for place, score in enumerate(SCORES):
            value = (
                26 * (1 - 0.8 * skill)
                if score == "log_loss_bits"
                else self.share + (0.9 - self.share) * skill
            )
            row |= self.value(score, value * (1 + 0.001 * place), 0.01)
        if name == "repeat-previous-token":
            row |= {
                "log_loss_bits": None,
                "log_loss_bits_ci95": [None, None],
                "brier": None,
                "brier_ci95": [None, None],
            }
            row["reason"] = "this predictor ranks experts but gives no probabilities"
        cost = int(1e6 * SKILL[name] ** 4)
        return row | {"parameters": cost, "multiply_adds_per_token": cost / 3, "fit_seconds": 0.5, "note": ""}

    def mean_row(self, name: str) -> dict[str, Any]:
        row = self.row(name) | {"source": None, "target": None, "router": None, "is_best": False}
        row |= self.curve(name, 1)
        row["recall_at_k"], row["recall_at_k_ci95"] = (
            row["found"][0],
            [row["found_low"][0], row["found_high"][0]],
        )
        return row

    def short(self, name: str, ahead: int) -> dict[str, Any]:
        row = self.row(name)
        kept = ("predictor", "family", "baseline", "n_tokens", "reason")
        scores = ("recall_at_k", "exact_set", "recall_at_2k", "log_loss_bits")
        short = {key: row[key] for key in kept if key in row}
        for score in scores:
            for key in (score, score + "_ci95"):
                short[key] = row[key]
        short |= self.curve(name, ahead)
        short["recall_at_k"] = short["found"][0]
        short["recall_at_k_ci95"] = [short["found_low"][0], short["found_high"][0]]
        return short

    def calibration(self, name: str) -> dict[str, Any]:
        places = (np.arange(10) + 0.5) / 10
        observed = np.clip(places**1.1 + self.rng.uniform(-0.02, 0.02, 10), 0.001, 0.999)
        bins = [
            {
                "probability": p,
                "observed": o,
                "observed_ci95": [max(o - 0.03, 0), min(o + 0.03, 1)],
                "n": int(1000 / p),
            }
            for p, o in zip(places.tolist(), observed.tolist(), strict=True)
        ]
        bins[-1] |= {"observed": None, "observed_ci95": [None, None], "n": 0}
        return {
            "predictor": name,
            **self.value("ece_debiased", self.rng.uniform(0, 0.03), 0.004),
            "brier": 0.05,
            "brier_reliability": 0.001,
            "brier_resolution": 0.031,
            "brier_uncertainty": 0.08,
            "bins": bins,
        }

    def gate(self) -> dict[str, Any]:
        rows = []
        for n in HORIZONS:
            gate, table = 0.85 - 0.12 * n, 0.78 - 0.06 * n
            row = {"layers_ahead": n, "n_targets": 5, "gate": gate, "table": table}
            rows.append(row | self.value("difference", table - gate, 0.01))
        return {
            "predictor": "ridge-all", "score": "recall_at_k", "horizons": rows, "first_layers_ahead": 2, "reason": None
        }  # fmt: skip

    def effect(self) -> list[dict[str, Any]]:
        terms = (("domain law", "domain intent"), ("phase decode", "phase prefill"), ("depth", None))
        about = {"predictor": "network", "score": "recall_at_k", "n_tokens": 30000, "n_groups": 60, "dof": 59}
        rows = [
            about
            | self.value("estimate", self.rng.normal(0, 0.05), 0.02)
            | {"term": term, "log10_p": -3.2, "reference": level}
            for term, level in terms
        ]
        gone = dict.fromkeys(("estimate", "estimate_ci95", "log10_p", "reference"))
        return [*rows, about | gone | {"term": "phase other", "reason": "one cell only"}]

    def moved(self, name: str, train: str, test: str) -> dict[str, Any]:
        row = self.short(name, 0) | {
            "train": train,
            "test": test,
            "held_out": train == test,
            "n_train_tokens": 900,
        }
        return (
            row if train == test else row | self.value("recall_less_than_own", self.rng.uniform(0, 0.1), 0.01)
        )
