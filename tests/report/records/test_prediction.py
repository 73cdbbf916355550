"""Records of the board: what results.json and the CSV files say is what the scores say."""

import csv

import numpy as np
import pytest

from routestat.forecast import catalogue
from routestat.report.records.plain import plain
from routestat.report.records.prediction import prediction_records, prediction_tables
from routestat.report.records.study import TABLES, tables_of
from routestat.study.board_findings import board_findings
from tests.study.test_board_findings import Rows, board, cells, score

SEVERAL = ("states", "experts", "token ids", "two layers", "top 1", "dead experts")
POOR = ("one layer", "one document", "one layer of one document", "layer without tokens", "constant layer")


@pytest.fixture(scope="module")
def record():
    return plain(prediction_records(board_findings(board(), Rows(cells()))))


@pytest.mark.parametrize("name", SEVERAL)
def test_results_hold_what_the_scores_say(reports, name):
    study, results = reports(name).study, reports(name).results
    by_name = {score.predictor: score for score in study.mean_board}
    assert [row["predictor"] for row in results["prediction_mean"]] == list(by_name)
    for row in results["prediction_mean"]:
        own = by_name[row["predictor"]]
        found = own.estimate("recall_at_k")
        assert (row["recall_at_k"], row["recall_at_k_ci95"]) == (found.value, [found.low, found.high])
        assert row["found"] == plain(own.curve().value[: len(row["fetched"])])
        assert row["family"] == catalogue.family(row["predictor"])
        assert row["baseline"] == (row["predictor"] in catalogue.baselines())
        assert row["parameters"] == own.cost.parameters
    best = [row for row in results["prediction_mean"] if row["is_best"]]
    assert len(best) == 1
    assert best[0]["recall_at_k"] == max(row["recall_at_k"] for row in results["prediction_mean"])
    assert best[0]["recall_less_than_best"] == 0
    assert all(row["recall_less_than_best"] >= 0 for row in results["prediction_mean"])
    worst = [row["log_loss_more_than_best"] for row in results["prediction_mean"]]
    assert min(value for value in worst if value is not None) == 0


@pytest.mark.parametrize("name", SEVERAL + POOR)
def test_what_is_undefined_has_a_reason(reports, name):
    results = reports(name).results
    keys = [key for key in results if key.startswith("prediction") and isinstance(results[key], list)]
    assert {"prediction", "prediction_mean", "prediction_horizons", "prediction_curves"} <= set(keys)
    never = {"source", "fit_seconds", "found_low", "found_high"}
    for key in keys:
        for row in results[key]:
            missing = [
                name for name, value in row.items() if value in (None, [None, None]) and name not in never
            ]
            # A share of 0 or 1 has no interval (the sandwich has no width there).
            missing = [one for one in missing if not (one.endswith("_ci95") and row[one[:-5]] in (0, 1))]
            assert not missing or row.get("reason") or key == "prediction_curves", (key, row)


@pytest.mark.parametrize("name", POOR)
def test_where_little_can_be_predicted_the_report_is_whole(reports, name):
    results = reports(name).results
    if "one" in name.split():
        assert "prediction_reason" in results or name == "one layer of one document"
    for row in results["prediction_mean"]:
        assert row["n_tokens"] >= 0
    assert reports(name).page.text.count("Prediction") >= 1


def test_curves_of_single_targets_have_three_decimals(record):
    rows = [row for row in record["prediction_curves"] if row["predictor"] == "layer-1"]
    assert [(row["target"], row["layers_ahead"]) for row in rows] == [(4, 1), (6, 1), (6, 2)]
    for row in rows:
        assert row["fetched"] == [2, 3, 4, 5]
        assert all(round(value, 3) == value for value in row["found"])
        assert all(
            low < value < high
            for low, value, high in zip(row["found_low"], row["found"], row["found_high"], strict=True)
        )


def test_layers_ahead_and_the_next_token(record):
    assert {row["layers_ahead"] for row in record["prediction_horizons"]} == {1, 2}
    assert all("layers_ahead" not in row for row in record["prediction_next_token"])
    assert {row["horizon"] for row in record["prediction"]} == {0, 1}
    one = next(row for row in record["prediction_horizons"] if row["predictor"] == "ridge-all")
    mean = next(row for row in record["prediction_mean"] if row["predictor"] == "ridge-all")
    assert {key: one[key] for key in ("recall_at_k", "found", "n_targets")} == {
        key: mean[key] for key in ("recall_at_k", "found", "n_targets")
    }


def test_parts_are_absent_where_tokens_are_of_one_kind():
    alike = cells(several=False)
    record = prediction_records(board_findings(board(alike), Rows(alike)))
    assert not {"prediction_by_phase", "prediction_by_domain", "gate_against_table"} & set(record)


def test_a_gate_is_compared_at_every_horizon(record):
    assert "gate_against_table" not in record
    gates = [score("gate", 4, 1, 0.9), score("gate", 6, 1, 0.9), score("gate", 6, 2, 0.6)]
    found = plain(prediction_records(board_findings([*board(), *gates], Rows(cells()))))["gate_against_table"]
    assert (found["predictor"], found["score"], found["first_layers_ahead"]) == (
        "ridge-all",
        "recall_at_k",
        2,
    )
    first, second = found["horizons"]
    assert first["difference"] == pytest.approx(-0.1, abs=1e-9)
    assert second["difference"] == pytest.approx(0.06, abs=1e-9)
    assert (first["n_targets"], second["n_targets"]) == (2, 1)
    assert "reason" not in found
    alone = plain(prediction_records(board_findings([*board(), *gates[:2]], Rows(cells()))))[
        "gate_against_table"
    ]
    assert alone["first_layers_ahead"] is None
    assert alone["reason"] == "there is no horizon from which on ridge-all is clearly better than the gate"


def test_bins_of_the_reliability_curve(record):
    row = record["prediction_calibration"][0]
    (one,) = row["bins"]
    assert one["probability"] == pytest.approx(0.22, abs=1e-12)
    assert one["observed"] == pytest.approx(0.4, abs=1e-12)
    assert isinstance(one["n"], int)
    parts = row["brier_reliability"] - row["brier_resolution"] + row["brier_uncertainty"]
    assert parts == pytest.approx(row["brier"], abs=1e-12)


def test_tables_have_a_column_or_a_row_per_point_of_a_curve(record):
    tables = prediction_tables(record)
    assert set(tables) <= set(TABLES)
    for name in ("prediction_mean", "prediction_horizons", "prediction_next_token"):
        for row, full in zip(tables[name], record[name], strict=True):
            assert "fetched" not in row
            assert [row[f"found_of_{m}"] for m in full["fetched"]] == full["found"]
            assert row["found_of_2_ci95"] == [full["found_low"][0], full["found_high"][0]]
    points = tables["prediction_curves"]
    assert len(points) == 4 * len(record["prediction_curves"])
    assert [point["fetched"] for point in points[:4]] == [2, 3, 4, 5]
    assert points[1]["found"] == record["prediction_curves"][0]["found"][1]
    bins = tables["prediction_calibration"]
    assert [row["predictor"] for row in bins] == ["uniform", "popularity", "layer-1", "ridge-all"]


@pytest.mark.parametrize("name", ["states", "experts", "one document"])
def test_csv_files_hold_the_rows(reports, name):
    report = reports(name)
    rows = tables_of(report.results)
    for key in ("prediction_mean", "prediction_curves", "prediction_calibration"):
        with (report.folder / "tables" / f"{key}.csv").open(newline="") as handle:
            written = list(csv.DictReader(handle))
        assert len(written) == len(rows[key])
        for line, row in zip(written, rows[key], strict=True):
            assert line["predictor"] == row["predictor"]
            assert float(
                line.get("recall_at_k") or line.get("found") or line["probability"]
            ) == pytest.approx(row.get("recall_at_k", row.get("found", row.get("probability"))), abs=1e-15)


def test_numbers_are_finite_or_null(record):
    def numbers(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from numbers(item)
        elif isinstance(value, list):
            for item in value:
                yield from numbers(item)
        elif isinstance(value, float):
            yield value

    found = list(numbers(record))
    assert len(found) > 500
    assert np.isfinite(found).all()
