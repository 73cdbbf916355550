"""simulate as a user runs it, in this process: good input, bad input, and the same file every time."""

import json
from pathlib import Path

import numpy as np
import pytest

from routestat.convert import app as convert_app
from routestat.simulate import app
from tests.commands.harness import ask, complaint
from tests.serving.served_steps import random_choices

MODEL = Path(__file__).parents[2] / "data" / "tiny-mixtral"
PARTS = (
    "format", "version", "trace", "notes", "options", "hardware", "simulation", "lru_curve", "recoverable_gap",
    "hot_sets", "working_sets", "capacity_plan",
)  # fmt: skip


def write(where, name, documents, tokens=24, layers=3):
    experts = random_choices(documents * tokens, n_layers=layers, seed=documents, skew=0.2)
    experts[1::2] = experts[::2]
    np.savez(
        where / f"{name}.npz", experts=experts, document=np.arange(documents * tokens) // tokens, n_experts=8
    )
    converted = ask(convert_app, "routestat convert", where / f"{name}.npz", "--out", where / name)
    assert converted.returncode == 0, converted.stderr
    return where / name


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    where = tmp_path_factory.mktemp("traces")
    return {"many": write(where, "many", 9), "one": write(where, "one", 1)}


def simulated(folder, trace, *options):
    said = ask(app, "routestat simulate", trace, "--out", folder, "--threads", 1, *options)
    assert said.returncode == 0, said.stderr
    return json.loads((folder / "results.json").read_text()), said.stdout


def test_defaults_give_every_part_twice_the_same(traces, tmp_path, monkeypatch):
    record, said = simulated(tmp_path / "a", traces["many"])
    assert set(PARTS) <= set(record)
    assert (tmp_path / "a" / "index.html").is_file()
    assert "lru" in said.lower()
    rows = record["simulation"]
    assert {row["policy"] for row in rows} == {
        "none", "static", "lru", "lfu", "lfu-decay", "predictor", "belady",
    }  # fmt: skip
    assert sorted({row["capacity"] for row in rows if row["policy"] == "lru"}) == [2, 3, 4, 6, 8]
    assert {row["candidates"] for row in rows if row["lookahead"]} == {2, 4}
    assert all(row["stall_seconds"] is None and "--bandwidth" in row["reason"] for row in rows)
    monkeypatch.chdir(tmp_path)
    assert ask(app, "routestat simulate", traces["many"], "--threads", 2).returncode == 0
    again = tmp_path / "reports" / "simulate-many" / "results.json"
    assert again.read_bytes() == (tmp_path / "a" / "results.json").read_bytes()


def test_a_machine_gives_bytes_seconds_and_the_smallest_memory(traces, tmp_path):
    record, _ = simulated(
        tmp_path, traces["many"], "--expert-bytes", "10MB", "--bandwidth", "10", "--compute", "1ms", "--policy",
        "lru,belady,lru", "--capacity", "4,2,4", "--predictor", "none", "--stall-budget", "5ms", "--layers", "0-1",
    )  # fmt: skip
    assert all(isinstance(row["capacity"], int) for row in record["simulation"])
    assert [(row["policy"], row["capacity"]) for row in record["simulation"]] == [
        ("lru", 2), ("belady", 2), ("lru", 4), ("belady", 4),
    ]  # fmt: skip
    for row in record["simulation"]:
        assert row["bytes"] == pytest.approx(1e7 * row["loads"])
        assert row["stall_seconds"] == pytest.approx(1e-3 * row["misses"])
        assert row["loads_per_token"] == pytest.approx(row["loads"] / row["tokens"])
        low, high = row["hit_rate_ci95"]
        assert low < row["hit_rate"] < high
    smallest = record["capacity_plan"]["smallest"]
    assert smallest["stall_seconds_per_token"] <= 5e-3
    assert smallest["bytes_in_all"] == 1e7 * smallest["slots_in_all"]
    assert record["trace"]["layers"] == [0, 1]


def test_one_document_has_values_without_intervals(traces, tmp_path):
    record, _ = simulated(tmp_path, traces["one"], "--capacity", "3")
    rows = {(row["policy"], row["lookahead"]): row for row in record["simulation"]}
    assert rows["static", 0]["hit_rate"] is None
    assert "no other documents" in rows["static", 0]["reason"]
    assert rows["predictor", 0]["misses"] is None
    assert rows["lru", 0]["hit_rate"] > 0
    assert rows["lru", 0]["hit_rate_ci95"] == [None, None]


def test_a_model_gives_the_size_of_an_expert(traces, tmp_path):
    options = ("--policy", "lru", "--predictor", "none", "--model-config")
    record, _ = simulated(tmp_path / "a", traces["many"], *options, MODEL)
    assert record["hardware"]["expert_bytes"] > 0
    assert record["model"]["parts"]
    other, _ = simulated(tmp_path / "b", traces["many"], *options, MODEL, "--expert-bytes", "1KiB")
    assert other["hardware"]["expert_bytes"] == 1024
    values = json.loads((MODEL / "config.json").read_text()) | {
        "quantization_config": {"quant_method": "gptq"}
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    refused = ask(
        app, "routestat simulate", traces["many"], "--model-config", tmp_path, "--out", tmp_path / "c"
    )
    assert "give --expert-bytes too" in complaint(refused)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--capacity", "9"), "capacity: expected at most 8"),
        (("--capacity", "1"), "capacity: expected at least 2"),
        (("--capacity", "two"), "--capacity: expected experts per layer such as 2,4,8, got 'two'"),
        (("--capacity", "-4"), "--capacity: expected experts per layer"),
        (("--bandwidth", "0"), "--bandwidth: expected more than zero, got '0'"),
        (("--expert-bytes", "-1MB"), "--expert-bytes: expected more than zero"),
        (("--compute", "soon"), "--compute: expected a time, such as 0.2ms"),
        (("--policy", "mru"), "--policy: expected one of none, static, lru"),
        (("--policy", ""), "policy: expected one or more of none"),
        (("--scope", "disk"), "--scope: expected one of layer, pool, both, got 'disk'"),
        (("--start", "hot"), "--start: expected one of cold, warm, document, got 'hot'"),
        (("--predictor", "oracle"), "predictor: expected one of best, uniform"),
        (("--predictor", "gate"), "--predictor gate: expected a predictor that this trace allows"),
        (("--lookahead", "3"), "lookahead: expected at most 2 layers"),
        (("--lookahead", "0"), "--lookahead: expected numbers of 1 or more such as 1,2, got '0'"),
        (("--prefetch", "2;4"), "--prefetch: expected numbers of 1 or more"),
        (("--prefetch", "9"), "candidates: expected 1 to 8"),
        (("--batch", "0"), "batch: expected 1 or more, got 0"),
        (("--capacity", "2.5"), "capacity: expected whole experts in the cache of a layer, got 2.5"),
        (("--prefill-chunk", "0"), "prefill chunk: expected 1 or more, got 0"),
        (("--half-life", "0"), "half-life: expected a number of steps above 0"),
        (("--tokens", "0"), "--tokens: expected a number of 1 or more, or all"),
        (("--stall-budget", "1ms"), "the stall budget is in seconds: expected --bandwidth"),
        (("--layers", "7"), "layer 7"),
        (("--model-config", "nowhere"), "--model-config: expected a model's config.json"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(traces, tmp_path, options, words):
    said = complaint(
        ask(app, "routestat simulate", traces["many"], "--out", tmp_path / "new" / "r", *options)
    )
    assert words in said
    assert not (tmp_path / "new").exists()


def test_a_report_is_not_written_into_a_trace(traces):
    said = complaint(ask(app, "routestat simulate", traces["many"], "--out", traces["one"]))
    assert "holds a trace" in said
