"""place as a user runs it, in this process: good input, bad input, and figures recomputed from the rows."""

import json
import sys

import numpy as np
import pytest

from routestat import Alphabet, TraceMeta, TraceWriter
from routestat.place import app
from routestat.traces.metadata import Router, routers_like
from tests.commands.harness import ask, complaint

DOCUMENTS, TOKENS, LAYERS, EXPERTS = 36, 50, 4, 8
NAME = "routestat place"


def rows_of(seed, documents=DOCUMENTS):
    """Experts `[token, layer, 2]`: experts e and e + 4 of each layer go together, and tokens stay with them."""
    rng = np.random.default_rng(seed)
    n = documents * TOKENS
    group = np.broadcast_to(rng.choice(4, (n, 1), p=[0.4, 0.3, 0.2, 0.1]), (n, LAYERS)).copy()
    moves = rng.random(group.shape) < 0.2
    group[moves] = rng.integers(0, 4, moves.sum())
    return np.sort(np.stack([group, group + 4], axis=2), axis=2)


def write(folder, chosen, layers=None, **meta):
    layers = tuple(range(chosen.shape[1])) if layers is None else layers
    document = np.repeat(np.arange(len(chosen) // TOKENS), TOKENS)
    about = TraceMeta(routers_like(layers, EXPERTS, 2), name=folder.name, **meta)
    with TraceWriter(folder, about) as writer:
        writer.write(document, states=Alphabet(EXPERTS, 2).rank(chosen))
    return folder


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    rows = rows_of(0)
    return {
        "rows": rows,
        "planted": write(folder / "planted", rows, layers=(1, 2, 3, 4)),
        "one": write(folder / "one", rows[:TOKENS]),
        "four": write(folder / "four", rows[: 4 * TOKENS]),
        "empty": write(folder / "empty", rows[:0]),
        "single": write(folder / "single", rows[:, :1]),
    }


def placed(out, *arguments):
    result = ask(app, NAME, *arguments, "--out", out)
    assert result.returncode == 0, result.stderr
    return json.loads((out / "results.json").read_text()), result.stdout


@pytest.fixture(scope="module")
def both(traces, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "r"
    return *placed(out, traces["planted"], "--devices", 4, "--pin", 3), out


def held_out(traces, record):
    """The rows of the documents that were held out, by the number of the unit: each document is one."""
    unit = np.repeat(np.arange(DOCUMENTS), TOKENS)
    assert record["trace"]["n_documents_held_out"] == DOCUMENTS // 3
    return traces["rows"][unit % 3 == 0]


def test_figures_are_those_of_the_rows_that_were_held_out(traces, both):
    record, _, _ = both
    rows = held_out(traces, record)
    affinity = next(row for row in record["placements"] if row["objective"] == "affinity")
    layers = [row for row in record["layers"] if row["objective"] == "affinity"]
    orders = {"default": [np.arange(8)] * 4, "placed": [np.array(row["expert_of_slot"]) for row in layers]}
    for moment, order in orders.items():
        device = [np.argsort(slots, kind="stable") // 2 for slots in order]
        stays = [
            (
                device[layer][rows[:, layer]][:, :, None] == device[layer + 1][rows[:, layer + 1]][:, None]
            ).mean()
            for layer in range(3)
        ]
        assert affinity[f"device_affinity_{moment}"] == pytest.approx(np.mean(stays))
        loads = [np.bincount(device[layer][rows[:, layer]].ravel(), minlength=4) for layer in range(4)]
        assert affinity[f"balance_{moment}_counted"] == pytest.approx(
            np.mean([load.max() / load.mean() for load in loads])
        )
        np.testing.assert_allclose(layers[0][f"device_loads_{moment}"], loads[0] / loads[0].mean())


def test_planted_groups_are_placed_together_and_loads_evenly(both):
    record, said, _ = both
    balance, affinity = record["placements"]
    assert affinity["device_affinity_gain_ci95"][0] > 0.2
    assert balance["balance_gain_ci95"][0] > 0
    for row in record["layers"]:
        if row["objective"] == "affinity":
            pairs = {tuple(sorted(pair)) for pair in zip(*[iter(row["expert_of_slot"])] * 2, strict=True)}
            assert pairs == {(0, 4), (1, 5), (2, 6), (3, 7)}
    assert said.count("It is better than the default order.") == 2


def test_every_file_is_written_and_named(both):
    record, said, out = both
    files = [path for row in record["exports"] for path in row["files"]]
    assert "cache-profile" not in {row["export"] for row in record["exports"]}
    for path in files:
        assert (out / path).stat().st_size
        assert path in said
    sglang = json.loads((out / "affinity/sglang-expert-location.json").read_text())
    rows = [row["expert_of_slot"] for row in record["layers"] if row["objective"] == "affinity"]
    assert sglang["physical_to_logical_map"][1:] == rows
    pins = json.loads((out / "pins/pins.json").read_text())
    assert [row["experts"] for row in pins["routers"]] == [row["experts"] for row in record["pinned"]]


def test_a_second_run_writes_the_same(traces, both, tmp_path):
    record, _, out = both
    again, _ = placed(tmp_path / "r", traces["planted"], "--devices", 4, "--pin", 3)
    assert again == record
    for path in [path for row in record["exports"] for path in row["files"] if not path.endswith(".pt")]:
        assert (tmp_path / "r" / path).read_bytes() == (out / path).read_bytes()


def test_options_reach_the_files(traces, tmp_path):
    out = tmp_path / "r"
    record, _ = placed(
        out, traces["planted"], "--devices", 4, "--nodes", 2, "--redundant", 4, "--objective", "balance",
        "--export", "sglang,cache-profile", "--hidden-layers", 7, "--layers", "1-3",
    )  # fmt: skip
    assert [row["objective"] for row in record["placements"]] == ["balance"]
    assert record["devices"]["n_slots"] == [12, 12, 12]
    assert [row["export"] for row in record["exports"]] == ["sglang", "cache-profile"]
    rows = json.loads((out / "balance/sglang-expert-location.json").read_text())["physical_to_logical_map"]
    assert [len(row) for row in rows] == [12] * 7
    lines = (out / "tokens/cache-profile.csv").read_text().splitlines()
    assert len(lines) == DOCUMENTS * TOKENS * 3
    assert record["placements"][0]["node_affinity_gain"] is not None
    assert not any("hidden-layers" in note for note in record["notes"])


def test_layers_that_were_not_chosen_are_layers_of_the_model(traces, tmp_path):
    out = tmp_path / "r"
    record, _ = placed(
        out,
        traces["planted"],
        "--devices",
        4,
        "--objective",
        "balance",
        "--export",
        "sglang",
        "--layers",
        "1",
    )
    rows = json.loads((out / "balance/sglang-expert-location.json").read_text())["physical_to_logical_map"]
    assert len(rows) == 5
    assert any("5 layers, as layer 4 is the last of the trace" in note for note in record["notes"])


def test_all_experts_may_have_a_copy_in_every_node(traces, tmp_path):
    record, _ = placed(tmp_path / "r", traces["planted"], "--devices", 4, "--nodes", 2, "--redundant", 8)
    affinity = next(row for row in record["placements"] if row["objective"] == "affinity")
    assert affinity["node_affinity_placed"] == 1
    assert affinity["device_affinity_gain"] > 0


def test_one_device_has_pins_only(traces, tmp_path):
    record, said = placed(tmp_path / "r", traces["planted"], "--devices", 1, "--pin", 3)
    assert record["placements"] == []
    assert (tmp_path / "r/pins/pins.json").is_file()
    assert "Pins: " in said
    assert "two devices or more" in said


def test_few_documents_have_no_interval(traces, tmp_path):
    record, said = placed(tmp_path / "r", traces["four"], "--devices", 4)
    row = record["placements"][0]
    assert row["balance_placed"] is not None
    assert row["balance_gain_ci95"] == [None, None]
    assert "below 6" in row["balance_reason"]
    assert "Whether that is chance could not be tested." in " ".join(said.split())


def test_one_layer_has_no_affinity(traces, tmp_path):
    record, _ = placed(tmp_path / "r", traces["single"], "--devices", 4)
    assert record["transitions"] == []
    assert all(row["device_affinity_gain"] is None for row in record["placements"])
    assert "layer" in record["placements"][0]["device_affinity_reason"]


def test_without_torch_the_other_files_are_written(traces, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    record, said = placed(tmp_path / "r", traces["planted"], "--devices", 4)
    reasons = {row["export"]: row["reason"] for row in record["exports"] if "reason" in row}
    assert "pip install" in reasons["ktransformers"]
    assert (tmp_path / "r/balance/sglang-expert-location.json").is_file()
    assert "not written: sglang-counts, ktransformers: " in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", 3], "expected devices that divide the 8 slots of a layer"),
        (["--devices", 4, "--nodes", 3], "expected nodes that divide the 4 devices"),
        (["--devices", 2, "--redundant", 10], "at most 8 redundant slots"),
        (["--devices", 4, "--export", "sglang,nothing"], "expected one of sglang, "),
        (["--devices", 4, "--objective", "speed"], "--objective is balance, affinity or both"),
        (["--devices", 4, "--hidden-layers", 4], "--hidden-layers: expected 5 or more"),
        (["--devices", 4, "--layers", "9"], "9"),
        (["--devices", 4, "--pin", 9], "9"),
        (["--devices", 0], "devices"),
        ([], "--devices"),
    ],
)
def test_bad_options_are_one_line(traces, tmp_path, arguments, words):
    out = tmp_path / "r"
    assert words in complaint(ask(app, NAME, traces["planted"], *arguments, "--out", out))
    assert not out.exists()


def test_traces_that_cannot_be_placed_are_one_line(traces, tmp_path):
    out = tmp_path / "r"
    assert "no tokens" in complaint(ask(app, NAME, traces["empty"], "--devices", 4, "--out", out))
    assert "holds a trace" in complaint(
        ask(app, NAME, traces["planted"], "--devices", 4, "--out", traces["planted"])
    )
    assert not out.exists()


def test_one_document_is_placed_but_not_measured(traces, tmp_path):
    record, said = placed(tmp_path / "r", traces["one"], "--devices", 4)
    row = record["placements"][0]
    assert row["balance_gain"] is None
    assert row["balance_reason"]
    assert "Nothing could be measured." in said
    assert record["layers"][0]["balance_placed"] is not None


def test_layers_of_different_sizes(tmp_path):
    rng = np.random.default_rng(1)
    routers = (Router(0, 8, 2), Router(1, 16, 2))
    document = np.repeat(np.arange(12), 20)
    with TraceWriter(tmp_path / "t", TraceMeta(routers)) as writer:
        columns = {router.name: rng.integers(0, router.alphabet.size, len(document)) for router in routers}
        writer.write(document, states=columns)
    record, _ = placed(tmp_path / "r", tmp_path / "t", "--devices", 4)
    assert record["devices"]["n_slots"] == [8, 16]
    assert any("16 in layer 1" in row.get("reason", "") for row in record["exports"])


def test_help_has_an_example():
    shown = ask(app, NAME, "--help").stdout
    assert "python -m routestat.place data/traces/tiny-mixtral --devices 4" in " ".join(shown.split())
