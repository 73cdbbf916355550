import json

import numpy as np
import pytest

from routestat.traces.batch import to_batch
from tests.traces.importers.known import chosen, refused, stored, subsets


@pytest.fixture
def experts():
    """Five tokens, layers 1 and 3, 2 of 8."""
    return chosen(np.random.default_rng(21), 5, 2, 8, 2)


def prompt(experts, rng=None, **changes):
    """A prompt of moe-atlas; activations in any order, the first slot with the larger weight."""
    activations = [
        {"layer": layer, "token_idx": t, "expert_idx": int(experts[t, i, slot]), "gate_weight": weight}
        for t in range(len(experts))
        for i, layer in enumerate((1, 3))
        for slot, weight in enumerate((0.75, 0.25))
    ]
    if rng is not None:
        rng.shuffle(activations)
    return {
        "model_id": "m/n",
        "num_layers": 4,
        "num_experts": 8,
        "top_k": 2,
        "text": "a b",
        "token_ids": list(range(10, 10 + len(experts))),
        "token_strs": ["x"] * len(experts),
        "activations": activations,
        **changes,
    }


def write(tmp_path, content, name="x.json"):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / name


def test_one_prompt_with_weights_in_any_order(capsys, tmp_path, experts):
    path = write(tmp_path, prompt(experts, np.random.default_rng(1)))
    trace, got, err = stored(capsys, path, tmp_path)
    assert "recognised as activations of moe-atlas" in err
    assert trace.meta.layers == (1, 3)
    assert trace.meta.routers[0].n_experts == 8
    assert trace.meta.slot_order == "weight"
    assert np.array_equal(got.experts, experts)  # two slots, the heaviest first
    assert got.token.tolist() == [10, 11, 12, 13, 14]
    assert got.decode is None
    # Weights are kept by ascending id.
    (record,) = trace.record_batches()
    weights = to_batch(record).columns["L01.weights"]
    assert weights.tolist() == [[0.75, 0.25] if a < b else [0.25, 0.75] for a, b in experts[:, 0].tolist()]


def test_the_order_of_the_file_says_nothing(capsys, tmp_path, experts):
    rows = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        path = write(tmp_path / str(number), prompt(experts, np.random.default_rng(number)))
        rows.append(stored(capsys, path, tmp_path / str(number))[1].experts)
    assert np.array_equal(*rows)


@pytest.mark.parametrize("form", ["list", "traces", "lines", "folder"])
def test_prompts_together(capsys, tmp_path, experts, form):
    both = [prompt(experts, domain="law"), prompt(experts[:3], domain="code")]
    if form == "folder":
        (tmp_path / "f").mkdir()
        for number, one in enumerate(both):
            write(tmp_path / "f", one, f"{number}.json")
        path = tmp_path / "f"
    elif form == "lines":
        path = write(tmp_path, "\n".join(map(json.dumps, both)), "x.jsonl")
    else:
        path = write(tmp_path, {"traces": both} if form == "traces" else both)
    trace, got, _ = stored(capsys, path, tmp_path)
    assert got.document.tolist() == [0] * 5 + [1] * 3
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[:3]])))
    assert trace.documents.column("domain").to_pylist() == ["law", "code"]


def test_a_layer_without_activations_is_missing(capsys, tmp_path, experts):
    record = prompt(experts)
    record["activations"] = [a for a in record["activations"] if (a["token_idx"], a["layer"]) != (2, 3)]
    _, got, err = stored(capsys, write(tmp_path, record), tmp_path)
    assert "1 tokens have no activation in a layer that others have: missing" in err
    assert got.experts[2, 1].tolist() == [-1, -1]
    assert np.array_equal(got.experts[3], experts[3])


def test_without_weights_the_order_is_unknown(capsys, tmp_path, experts):
    record = prompt(experts)
    for one in record["activations"]:
        del one["gate_weight"]
    trace, got, _ = stored(capsys, write(tmp_path, record), tmp_path)
    assert trace.meta.slot_order == "unknown"
    assert np.array_equal(subsets(got.experts), subsets(experts))


def edited(record, at, **changes):
    record["activations"][at] |= changes
    return record


CASES = {
    "float id": (
        lambda e: edited(prompt(e), 3, expert_idx=1.0),
        "activations[3]: expert_idx must be a whole number",
    ),
    "text": (
        lambda e: edited(prompt(e), 3, layer="1"),
        "activations[3]: layer must be a whole number from 0, got 1",
    ),
    "negative": (lambda e: edited(prompt(e), 0, token_idx=-1), "activations[0]: token_idx must be"),
    "true": (lambda e: edited(prompt(e), 0, layer=True), "activations[0]: layer must be"),
    "beyond": (lambda e: edited(prompt(e), 4, token_idx=5), "activations[4]: token_idx 5 of 5 tokens"),
    "weight": (
        lambda e: edited(prompt(e), 4, gate_weight=float("nan")),
        "gate_weight must be a finite number",
    ),
    "twice": (
        lambda e: edited(prompt(e), 1, expert_idx=int(e[0, 0, 0])),
        "layer 1, x.json, document x 0, position 0",
    ),
    "outside": (lambda e: edited(prompt(e), 1, expert_idx=8), "is outside 0 … 7"),
    "one too few": (
        lambda e: prompt(e) | {"activations": prompt(e)["activations"][:-1]},
        "token 4 has 1 experts in layer 3, top_k is 2",
    ),
    "no object": (
        lambda e: prompt(e) | {"activations": [*prompt(e)["activations"], 7]},
        "[20]: layer must be",
    ),
    "models": (lambda e: [prompt(e), prompt(e, model_id="other")], "item 1: model is other, in"),
    "experts": (lambda e: [prompt(e), prompt(e, num_experts=16)], "item 1: n_experts is 16, in"),
    "tokens": (lambda e: prompt(e, token_ids=[1.5]), "token_ids: expected integers"),
    "top_k": (lambda e: prompt(e, top_k=0), "top_k must be a whole number from 1, got 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(capsys, tmp_path, experts, case):
    make, message = CASES[case]
    assert message in refused(capsys, write(tmp_path, make(experts)), tmp_path, "--format", "moe-atlas")


def test_a_prompt_without_activations_is_left_out_on_request(capsys, tmp_path, experts):
    path = write(
        tmp_path,
        {"traces": [{"error": "out of memory"}, prompt(experts), None, prompt(experts, activations=[])]},
    )
    line = refused(capsys, path, tmp_path, "--format", "moe-atlas")
    assert "x.json, traces[0]: the request failed (error: out of memory); --skip-failed" in line
    _, got, err = stored(capsys, path, tmp_path, "--format", "moe-atlas", "--skip-failed")
    assert "left out 3 of 4 records without routing (--skip-failed)" in err
    assert "traces[2]: null" in err
    assert np.array_equal(got.experts, experts)


def test_its_database_is_to_be_exported_first(capsys, tmp_path):
    (tmp_path / "atlas.db").write_bytes(b"SQLite format 3\0" + bytes(100))
    assert "export its traces first" in refused(capsys, tmp_path / "atlas.db", tmp_path)


def test_a_misspelt_name_is_noted(capsys, tmp_path, experts):
    record = prompt(experts)
    record["tokenids"] = record.pop("token_ids")
    err = stored(capsys, write(tmp_path, record), tmp_path)[2]
    assert "'tokenids' is not read (1 times in the file); did you mean token_ids?" in err
