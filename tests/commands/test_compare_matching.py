"""compare on traces of several engines: layers without numbers, rows missing, equal names of other texts."""

import json

import numpy as np
import pytest

from routestat import Alphabet, TraceMeta, TraceWriter
from routestat.cli.runner import run
from routestat.compare import app
from routestat.traces.metadata import routers_like
from tests.traces.importers.known import convert

N, ROWS, LAYERS = 24, 50, 4


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    load = rng.normal(0, 0.5, (LAYERS, 8))
    experts = np.argsort(-(load + rng.gumbel(size=(N, ROWS, LAYERS, 8))), axis=3)[..., :2]
    return rng.integers(0, 500, (N, ROWS)), experts


def compare(out, capsys, *arguments):
    """The content of results.json; a refusal's line."""
    code = run(app, "routestat compare", [*map(str, arguments), "--out", str(out)])
    err = capsys.readouterr().err
    return json.loads((out / "results.json").read_text()) if code == 0 else err


def write(folder, experts, token=None, layers=None, names=None, order=None):
    """A store of documents ``[document][row, layer, slot]``; without layers they were counted by a reader."""
    numbers = range(experts[0].shape[1]) if layers is None else layers
    about = TraceMeta(
        routers_like(list(numbers), 8, 2),
        model="m",
        extra={"layer_numbers": "reader" if layers is None else "file"},
    )
    states = [Alphabet(8, 2).rank(part) for part in experts]
    order = range(len(states)) if order is None else order
    with TraceWriter(folder, about) as writer:
        if names:
            writer.add_documents({"document": list(range(len(states))), "name": names})
        for place, which in enumerate(order):
            given = {} if token is None else {"token": token[which]}
            writer.write(np.full(len(states[which]), place), states=states[which], **given)
    return folder


def test_one_engine_has_no_row_for_the_last_token_another_none_for_the_first(tmp_path, capsys, texts):
    token, experts = texts
    flips = experts.copy()
    flips[:, 10, 2] = np.array([6, 7])
    order = np.random.default_rng(0).permutation(N)
    a = write(tmp_path / "a", experts, token, range(LAYERS))
    b = write(tmp_path / "b", flips[:, 1:-1], token[:, 1:-1], range(LAYERS), order=order)
    record = compare(tmp_path / "r", capsys, a, b)
    assert record["pairing"] == {
        "n_paired": N,
        "by": "token ids",
        "n_missing_rows": N,
        "unpaired_a": 0,
        "unpaired_b": 0,
        "reasons": [],
    }
    assert record["a"]["n_tokens"] == record["b"]["n_tokens"] == N * (ROWS - 2)
    # Row by row, though the documents are in another order and the first row is missing in one.
    changed = (np.sort(experts, axis=3) != np.sort(flips, axis=3)).any(axis=3)[:, 1:-1].mean(axis=(0, 1))
    assert [row["flip_rate"] for row in record["layers"]] == pytest.approx(changed)
    assert any("a few rows at an end in one trace only" in note for note in record["notes"])


def test_equal_names_of_other_texts_are_not_paired(tmp_path, capsys, texts):
    _, experts = texts
    other = np.argsort(np.random.default_rng(5).random((N, ROWS, LAYERS, 8)), axis=3)[..., :2]
    names = [f"req_{i:03d}" for i in range(N)]
    a, b = write(tmp_path / "a", experts, names=names), write(tmp_path / "b", other, names=names)
    record = compare(tmp_path / "r", capsys, a, b)
    assert (record["paired"], record["pairing"]["n_paired"], record["pairing"]["by"]) == (False, 0, None)
    assert "flip_rate" not in record["layers"][0]
    assert f"{N} of them have the same name in both, which is no proof" in record["pairing"]["reasons"]
    record = compare(tmp_path / "s", capsys, a, b, "--paired", "yes")
    assert (record["paired"], record["pairing"]["by"]) == (True, "names")
    assert any("proves nothing" in note and "--paired yes" in note for note in record["notes"])
    assert "flip_rate" not in record["layers"][0]


@pytest.mark.parametrize("with_tokens", [True, False])
def test_counted_layers_are_identified_by_choices_or_taken_in_order(tmp_path, capsys, texts, with_tokens):
    token, experts = texts
    token = token if with_tokens else None
    named = write(tmp_path / "named", experts, token, [3, 4, 5, 6])
    counted = write(tmp_path / "counted", experts, token)
    record = compare(tmp_path / "r", capsys, named, counted)
    assert [(row["layer"], row["layer_b"]) for row in record["layers"]] == [(3, 0), (4, 1), (5, 2), (6, 3)]
    assert [(t["source_b"], t["target_b"]) for t in record["transitions"]] == [(0, 1), (1, 2), (2, 3)]
    assert all(row["flip_rate"] == 0 for row in record["layers"])
    assert any("3-6 of A and 0-3 of B are matched" in note for note in record["notes"])
    page = (tmp_path / "r" / "index.html").read_text()
    assert "3 (B: 0)" in page
    # Three of the four layers, under numbers that are only their order.
    part = write(tmp_path / "part", experts[:, :, 1:], token)
    record = compare(tmp_path / "s", capsys, part, named, "--layers", "0-1")
    assert [(row["layer"], row["layer_b"], row["flip_rate"]) for row in record["layers"]] == [
        (0, 4, 0),
        (1, 5, 0),
    ]


def test_layers_that_cannot_be_identified_are_questioned(tmp_path, capsys, texts):
    _, experts = texts
    named = write(tmp_path / "named", experts, None, [3, 4, 5, 6])
    other = np.argsort(np.random.default_rng(5).random((N, ROWS, 3, 8)), axis=3)[..., :2]
    part = write(tmp_path / "part", other)
    line = compare(tmp_path / "r", capsys, named, part)
    assert "cannot be identified. Name them with convert --layers" in line
    assert not (tmp_path / "r").exists()
    assert "no layer of" in compare(tmp_path / "r", capsys, named, part, "--match-layers", "number")
    assert "--match-layers is auto" in compare(tmp_path / "r", capsys, named, part, "--match-layers", "x")


def test_from_two_files_to_the_comparison(tmp_path, capsys, texts):
    """A plain array with layers and token ids, and responses of an engine with neither layers nor the last row."""
    token, experts = texts
    document = np.repeat(np.arange(N), ROWS)
    flat = experts.reshape(-1, LAYERS, 2)
    np.savez(
        tmp_path / "hf.npz",
        experts=flat,
        document=document,
        token=token.ravel(),
        layers=range(2, 6),
        n_experts=8,
    )
    lines = [
        json.dumps(
            {
                "request_id": f"q{i}",
                "prompt_token_ids": token[i, :30].tolist(),
                "outputs": [
                    {"token_ids": token[i, 30:].tolist(), "routed_experts": experts[i, :-1].tolist()}
                ],
            }
        )
        for i in range(N)
    ]
    (tmp_path / "engine.jsonl").write_text("\n".join(lines))
    assert convert(capsys, tmp_path / "hf.npz", tmp_path / "hf", "--model", "m")[0] == 0
    assert (
        convert(capsys, tmp_path / "engine.jsonl", tmp_path / "e", "--model", "m", "--n-experts", 8)[0] == 0
    )
    record = compare(tmp_path / "r", capsys, tmp_path / "hf", tmp_path / "e")
    assert (record["pairing"]["n_paired"], record["pairing"]["n_missing_rows"]) == (N, N)
    assert [(row["layer"], row["layer_b"], row["flip_rate"]) for row in record["layers"]] == [
        (2, 0, 0),
        (3, 1, 0),
        (4, 2, 0),
        (5, 3, 0),
    ]
