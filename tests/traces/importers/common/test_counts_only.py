import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import save_file

from routestat.traces.importers.common.counts_only import counts_in_arrays
from routestat.traces.importers.common.counts_text import counts_in_columns, refuse_if_counts
from tests.traces.importers.known import chosen, refused, stored

RNG = np.random.default_rng(51)
# How often each of 16 experts was among the 4 of 5,000 tokens, in 6 layers.
COUNTS = np.stack([np.bincount(chosen(RNG, 5000, 1, 16, 4).ravel(), minlength=16) for _ in range(6)])
SHARES = COUNTS / COUNTS.sum(axis=1, keepdims=True)
ROUNDED = SHARES.round(4).tolist()


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def as_json(content, name="x.json"):
    return text(name, json.dumps(content))


def lines(head, rows):
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n"


LONG = [(layer, expert, COUNTS[layer, expert]) for layer in range(6) for expert in range(16)]
FILES = {
    "vllm expert load": as_json({"model": "m", "expert_load": COUNTS.tolist()}),
    "in the metrics": as_json({"metrics": {"moe": {"expert_counts": {"0": COUNTS[0].tolist()}}}}),
    "tokens per expert": as_json({"iteration": 3, "tokens_per_expert": COUNTS.tolist()}),
    "a line a layer": text(
        "x.jsonl",
        "\n".join(
            json.dumps({"layer": i, "num_tokens_per_expert": c.tolist()}) for i, c in enumerate(COUNTS)
        ),
    ),
    "a line an expert": text(
        "x.jsonl", "\n".join(json.dumps({"layer": a, "expert": b, "count": int(c)}) for a, b, c in LONG)
    ),
    "layers by number": as_json({f"layer_{i}": c.tolist() for i, c in enumerate(COUNTS)}),
    "experts by number": as_json(
        {str(i): {str(e): int(n) for e, n in enumerate(c)} for i, c in enumerate(COUNTS)}
    ),
    "scores in an object": as_json(
        {"token_scores": {str(i): dict(enumerate(c)) for i, c in enumerate(ROUNDED)}}
    ),
    "lists": as_json(COUNTS.tolist()),
    "counts by name": as_json(
        {"domain": "law", "layers": [{"index": i, "counts": c.tolist()} for i, c in enumerate(COUNTS)]}
    ),
    "unequal layers": as_json({f"layer{i}": (c * (i + 9)).tolist() for i, c in enumerate(COUNTS)}),
    "trt facts": as_json({"num_experts": 16, "num_experts_per_token": 4}),
    "long csv": text("x.csv", lines("layer,expert,count", LONG)),
    "long csv by id": text("x.csv", "# model=m\n" + lines("Layer,Expert ID,Token Count", LONG)),
    "tsv": text("x.tsv", lines("layer,expert_id,load", LONG).replace(",", "\t")),
    "no layer": text("x.csv", lines("expert,count", [(e, n) for e, n in enumerate(COUNTS[0])])),
    "wide csv": text(
        "x.csv",
        lines("layer," + ",".join(f"expert_{e}" for e in range(16)), [(i, *c) for i, c in enumerate(COUNTS)]),
    ),
    "npy": lambda folder: np.save(folder / "x.npy", COUNTS),
    "npy of floats": lambda folder: np.save(folder / "x.npy", COUNTS.astype(np.float32)),
    "npy of shares": lambda folder: np.save(folder / "x.npy", SHARES),
    "npy of passes": lambda folder: np.save(folder / "x.npy", np.stack([COUNTS, COUNTS[::-1]])),
    "npy of other sums": lambda folder: np.save(folder / "x.npy", COUNTS * np.arange(9, 15)[:, None]),
    "olmoe": lambda folder: np.savez(
        folder / "x.npz", **{"m/counts/c4": COUNTS[:3], "m/cross/c4": np.ones((2, 16, 16))}
    ),
    "by question": lambda folder: np.savez(
        folder / "x.npz", counts=np.stack([COUNTS, COUNTS]), subject=np.arange(2), tokens=np.array([9, 9])
    ),
    "npz by name": lambda folder: np.savez(folder / "x.npz", expert_load=COUNTS[0]),
    "npz": lambda folder: np.savez(folder / "x.npz", prefill=COUNTS, decode=COUNTS[::-1]),
    "safetensors": lambda folder: save_file({"x": COUNTS}, folder / "x.safetensors"),
}


@pytest.mark.parametrize("kind", FILES)
def test_counts_are_refused_with_the_reason_and_what_they_are_good_for(capsys, tmp_path, kind):
    (tmp_path / "f").mkdir()
    FILES[kind](tmp_path / "f")
    (path,) = (tmp_path / "f").iterdir()
    line = refused(capsys, path, tmp_path)
    assert len(line) < 700
    assert f"{path}: counts per expert only" in line
    assert "for balance and placement" in line
    assert "per token: " in line


def test_counts_in_a_pt(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.tensor(COUNTS), tmp_path / "x.pt")
    assert "counts per expert only" in refused(capsys, tmp_path / "x.pt", tmp_path)
    torch.save({"expert_load": torch.tensor(COUNTS)}, tmp_path / "x.pt")
    assert "counts per expert only" in refused(capsys, tmp_path / "x.pt", tmp_path)


def test_a_pickle_is_not_opened(capsys, tmp_path):
    (tmp_path / "expert_counts").mkdir()
    path = tmp_path / "expert_counts" / "c4.pkl"
    path.write_bytes(pickle.dumps([{0: 1}]))
    assert "a pickle (expert counts, by its name), which is not read" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_ids_are_not_taken_for_counts(seed):
    """Arrays of ids of any shape, also with one choice everywhere, and probabilities."""
    rng = np.random.default_rng(seed)
    n, layers, n_experts, top_k = (
        rng.integers(1, 40),
        rng.integers(1, 6),
        rng.integers(8, 64),
        rng.integers(1, 7),
    )
    experts = chosen(rng, n, layers, n_experts, top_k)
    assert counts_in_arrays({"": experts}) is None
    assert counts_in_arrays({"": experts[:, 0]}) is None
    assert counts_in_arrays({"": np.tile(experts[:1], (n, 1, 1))}) is None
    assert counts_in_arrays({"": np.argsort(rng.random((n, layers, n_experts)), axis=2)}) is None
    shares = rng.dirichlet(np.ones(16), size=(n, layers))
    assert counts_in_arrays({"": shares}) is None
    assert counts_in_arrays({"expert_load": experts, "experts": experts}) is None
    assert counts_in_arrays({"activations": experts, "usage": experts[:1]}) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "layer,expert,usage\n0,1,5\n0,1,5\n0,2,5\n"),  # an expert twice: a row per choice
        ("x.csv", "req,layer,expert,count\n0,1,5,1\n"),
        ("x.csv", "turn,phase,step,layer,slot,expert,weight,count\n0,prefill,0,1,0,5,0.5,2\n"),
        ("x.csv", "request,step,layer,e0,e1,e2,e3\n0,0,1,5,6,7,8\n0,1,1,8,7,6,5\n"),
        ("x.csv", "Layer ID,Count,Activated Expert IDs\n1,4,5\n"),
        ("x.csv", "-3,0,5,6,7,8\n-2,0,5,6,7,9\n"),
        ("x.jsonl", '{"layer": 0, "experts": [1, 2]}\n{"layer": 1, "experts": [3, 2]}\n'),
        ("x.csv", "a,b\n1,2\n"),
        ("x.csv", "only\n1\n"),
        ("x.json", '{"hello": {"world": [1, 2]}}'),
        ("x.json", '{"layer": 1, "token": 3, "count": [1, 2, 3]}'),
        ("x.json", '["a", "b"]'),
    ],
)
def test_what_does_not_count_is_not_said_to(capsys, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    refuse_if_counts(tmp_path / name)


def test_columns_alone_are_enough():
    assert "columns expert and n" in counts_in_columns(["domain", "layer", "expert", "n"])
    assert counts_in_columns(["layer", "expert", "n"], [(0, 1, 5), (0, 1, 6)]) is None
    assert counts_in_columns(["document", "layer", "expert", "n"]) is None
    assert "column tokens_per_expert" in counts_in_columns(["layer", "tokens_per_expert"])


def test_one_token_of_vllm_is_still_read(capsys, tmp_path):
    np.save(tmp_path / "x.npy", chosen(np.random.default_rng(1), 1, 5, 16, 4))
    trace, _, _ = stored(capsys, tmp_path / "x.npy", tmp_path, "--n-experts", 16, "--axes", "tokens,layers,k")
    assert trace.n_tokens == 1
