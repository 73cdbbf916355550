"""predict --board as a user runs it: on a trace, on a saved report, with a training set; good and bad input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from routestat.analyze import app as analyze_app
from routestat.predict import app
from routestat.traces.synthetic import chain, write
from tests.commands.harness import ask, complaint

ROOT = Path(__file__).parents[2]


def run(*arguments):
    """The command in this process."""
    return ask(app, "routestat predict", *arguments)


def made(folder, *, documents=40, layers=3, n_experts=6, seed=0, mean_length=30):
    rng = np.random.default_rng(seed)
    trace = chain(
        coupling=0.7,
        rng=rng,
        n_experts=n_experts,
        top_k=2,
        layers=layers,
        documents=documents,
        mean_length=mean_length,
    )
    return write(trace, folder)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    return made(tmp_path_factory.mktemp("traces") / "t")


@pytest.fixture(scope="module")
def board(trace, tmp_path_factory):
    """The folder of the report on the board of the trace."""
    out = tmp_path_factory.mktemp("boards") / "b"
    result = run("--board", trace, "--layers", "0-2", "--horizons", "1,2", "--out", out, "--threads", 1)
    assert result.returncode == 0, result.stderr
    return out, result


def record_of(folder):
    return json.loads((folder / "results.json").read_text())


def untimed(record):
    """A record without the seconds that fits took."""
    if isinstance(record, dict):
        return {key: untimed(value) for key, value in record.items() if key != "fit_seconds"}
    return [untimed(value) for value in record] if isinstance(record, list) else record


def test_the_board_alone(board, trace):
    out, result = board
    record = record_of(out)
    assert record["parts"] == ["prediction"]
    assert record["trace"]["folder"] == str(trace.resolve())
    names = {row["predictor"] for row in record["prediction_mean"]}
    assert {"uniform", "popularity", "previous-token", "layer-1", "layer-1-naive-bayes"} <= names
    assert {row["layers_ahead"] for row in record["prediction_horizons"]} == {1, 2}
    assert "memory" not in record
    assert {path.name for path in (out / "tables").glob("prediction*.csv")} >= {
        "prediction.csv", "prediction_mean.csv", "prediction_horizons.csv", "prediction_curves.csv",
    }  # fmt: skip
    assert (out / "index.html").is_file()
    lines = result.stdout.splitlines()
    assert any(line.startswith("popularity ") for line in lines)
    assert lines[-1] == f"Report {out}/index.html"


def test_layers_further_ahead_are_predicted_worse(board):
    rows = {
        (row["predictor"], row["layers_ahead"]): row for row in record_of(board[0])["prediction_horizons"]
    }
    one, two = rows["layer-1", 1], rows["layer-1", 2]
    assert two["recall_at_k"] < one["recall_at_k"]
    assert two["log_loss_bits"] > one["log_loss_bits"]
    assert (one["n_targets"], two["n_targets"]) >= (1, 1)


def test_a_saved_report_gives_the_board_of_its_trace(board, tmp_path):
    again = run("--board", board[0], "--horizons", "1-2", "--out", tmp_path / "c", "--threads", 2)
    assert again.returncode == 0, again.stderr
    assert untimed(record_of(tmp_path / "c")) == untimed(record_of(board[0]))


def test_options_of_a_report_hold_unless_others_are_given(trace, tmp_path):
    analysed = ask(
        analyze_app, "routestat analyze", trace, "--layers", "0-1", "--groups", 20, "--only", "prediction",
        "--cluster", "document", "--alpha", "0.5", "--template", "keep", "--out", tmp_path / "a",
    )  # fmt: skip
    assert analysed.returncode == 0, analysed.stderr
    kept = record_of(tmp_path / "a")["trace"]
    assert kept["options"] == {
        "cluster": "document", "template": "keep", "dummy_rows": "keep", "groups": 20,
    }  # fmt: skip
    assert run("--board", tmp_path / "a", "--out", tmp_path / "b").returncode == 0
    assert record_of(tmp_path / "b")["trace"]["options"] == kept["options"]
    assert record_of(tmp_path / "b")["trace"]["layers"] == [0, 1]
    other = run("--board", tmp_path / "a", "--layers", "all", "--groups", 10, "--out", tmp_path / "c")
    assert other.returncode == 0
    assert record_of(tmp_path / "c")["trace"]["options"]["groups"] == 10
    assert record_of(tmp_path / "c")["trace"]["layers"] == [0, 1, 2]


def test_as_a_process_with_a_training_set(trace, tmp_path):
    other = made(tmp_path / "other", seed=1)
    result = subprocess.run(
        [sys.executable, "-m", "routestat.predict", "--board", str(trace), "--train", str(other)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "NO_COLOR": "1"},
    )
    assert result.returncode == 0, result.stderr
    record = record_of(tmp_path / "reports" / "board-t")
    rows = {row["predictor"]: row for row in record["transfer"]}
    assert {"popularity", "layer-1"} <= set(rows)
    assert rows["layer-1"]["train"] != rows["layer-1"]["test"]
    # Another chain: its transitions are others.
    assert rows["layer-1"]["recall_less_than_own"] < 0
    assert (tmp_path / "reports" / "board-t" / "tables" / "transfer.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--after", "1,2"], "--board scores all predictors of a trace and has no --after"),
        (["--layer", 1], "has no --layer"),
        (["--stream"], "has no --stream"),
        (["--ahead", 2], "has no --ahead"),
        (["--level", 0.9], "has no --level"),
        (["--horizons", "0-2"], "--horizons are layers ahead, 1 or more"),
        (["--horizons", "some"], "--horizons wants numbers such as 1-8 or 1,2,4, got 'some'"),
        (["--horizons", "3-1"], "--horizons 3-1 runs backwards; write 1-3"),
        (["--layers", "9"], "9"),
        (["--alpha", "-1"], "alpha"),
        (["--cluster", "nothing"], "nothing"),
    ],
)
def test_what_is_refused_with_the_board(trace, tmp_path, arguments, said):
    assert said in complaint(run("--board", trace, "--out", tmp_path / "o", *arguments))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "option", ["--layers", "--horizons", "--groups", "--train", "--cluster", "--threads"]
)
def test_options_of_the_board_need_it(trace, option):
    value = {"--horizons": "1", "--train": trace, "--cluster": "document"}.get(option, 1)
    line = complaint(run(trace, "--layer", 0, "--after", 1, option, value))
    assert f"{option} is an option of the board" in line


def test_folders_that_are_neither_trace_nor_report(trace, board, tmp_path):
    assert "no such folder" in complaint(run("--board", tmp_path / "nothing"))
    assert "no trace" in complaint(run("--board", tmp_path))
    assert "holds a trace" in complaint(run("--board", trace, "--out", trace))
    assert "is the report that is read" in complaint(run("--board", board[0], "--out", board[0]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "found those of another command"),
        ('{"format": "routestat-comparison"}', "found those of another command"),
        ('{"format": "routestat-results", "trace": {"name": "x"}}', "found none; name the trace"),
        (
            '{"format": "routestat-results", "trace": {"folder": "/tmp", "layers": ["a"]}}',
            "with layers and options as analyze writes them",
        ),
    ],
)
def test_results_that_cannot_be_used(tmp_path, content, said):
    (tmp_path / "results.json").write_text(content)
    assert said in complaint(run("--board", tmp_path))


def test_a_trace_that_moved_or_changed(tmp_path):
    trace = made(tmp_path / "t", documents=10, layers=2)
    assert run("--board", trace, "--horizons", 1, "--out", tmp_path / "r").returncode == 0
    shutil.move(trace, tmp_path / "moved")
    line = complaint(run("--board", tmp_path / "r", "--out", tmp_path / "x"))
    assert "which is no longer there; name it where it is now" in line
    assert str(tmp_path / "t") in line
    made(tmp_path / "t", documents=10, layers=2, seed=5)
    line = complaint(run("--board", tmp_path / "r", "--out", tmp_path / "x"))
    assert "expected the trace that" in line
    assert run("--board", tmp_path / "moved", "--horizons", 1, "--out", tmp_path / "x").returncode == 0


def test_a_training_set_that_cannot_serve_is_refused_before_anything_is_fitted(trace, tmp_path, monkeypatch):
    def fitted(*_, **__):
        raise AssertionError("predictors were fitted")

    monkeypatch.setattr("routestat.study.trace_study.score_predictors", fitted)
    for name, shape, said in (
        ("wide", {"n_experts": 8}, "of the same model"),
        ("alone", {"documents": 1, "seed": 3}, "two or more groups"),
    ):
        line = complaint(
            run("--board", trace, "--train", made(tmp_path / name, **shape), "--out", tmp_path / "o")
        )
        assert said in line
    assert "share their text" in complaint(run("--board", trace, "--train", trace, "--out", tmp_path / "o"))


def test_a_training_set_of_another_model(trace, tmp_path):
    other = made(tmp_path / "wide", n_experts=8)
    line = complaint(run("--board", trace, "--train", other, "--out", tmp_path / "o"))
    assert "same model" in line
    assert "no such folder" in complaint(
        run("--board", trace, "--train", tmp_path / "no", "--out", tmp_path / "o")
    )


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"documents": 1, "mean_length": 20}, "nothing can be held out"),
        ({"layers": 1}, "popularity"),
    ],
)
def test_little_to_predict_from(tmp_path, how, said):
    trace = made(tmp_path / "t", **how)
    result = run("--board", trace, "--out", tmp_path / "o")
    assert result.returncode == 0, result.stderr
    assert said in " ".join(result.stdout.split())
    record = record_of(tmp_path / "o")
    assert record["prediction_reason"]
    if "layers" in how:
        assert record["prediction_reason"] == "one layer: no predictor has an earlier layer of the token"
        assert {row["predictor"] for row in record["prediction_mean"]} >= {"popularity", "previous-token"}
        assert record["prediction_horizons"] == [] or {
            row["predictor"] for row in record["prediction_horizons"]
        } <= {row["predictor"] for row in record["prediction_next_token"]}


def test_no_token_ids_means_no_predictor_from_them(board):
    names = {row["predictor"] for row in record_of(board[0])["prediction"]}
    assert not [name for name in names if name in ("token-id", "layer-1-token-id")]


def test_domains_are_predicted_from_each_other_on_request(board, trace, tmp_path):
    assert "transfer" not in record_of(board[0])
    result = run("--board", trace, "--horizons", 1, "--domains", "--out", tmp_path / "o")
    assert result.returncode == 0, result.stderr
    # This trace has no domains, and the report says so.
    assert "two domains" in " ".join(record_of(tmp_path / "o")["transfer_notes"])
    line = complaint(run("--board", trace, "--domains", "--train", trace, "--out", tmp_path / "x"))
    assert "--train and --domains" in line


def test_horizons_that_no_layer_has_are_refused_where_they_were_asked_for(trace, tmp_path):
    line = complaint(run("--board", trace, "--horizons", "1,9", "--out", tmp_path / "x"))
    assert "--horizons: expected at most 2 in 3 layers, got 9" in line
