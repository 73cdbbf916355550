import importlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from routestat.traces.importers.router_logits import largest
from tests.traces.importers.known import convert, refused, stored


@pytest.fixture
def logits():
    """Twenty tokens, 4 layers, 16 experts: ``[token, layer, expert]``."""
    return np.random.default_rng(41).normal(size=(20, 4, 16)).astype(np.float32)


def topk(logits, k=3):
    """The slow obvious way: sorted by value, then by id."""
    flat = logits.reshape(-1, logits.shape[-1])
    rows = [sorted(range(flat.shape[1]), key=lambda e: (-row[e], e))[:k] for row in flat.astype(np.float64)]
    return np.array(rows).reshape(*logits.shape[:-1], k)


OPTIONS = ("--logits", "--top-k", 3)


def by_layer(logits):
    return list(logits.transpose(1, 0, 2))


FORMS = {
    "tokens first": lambda x, f: np.save(f / "x.npy", x),
    "layers first": lambda x, f: np.save(f / "x.npy", x.transpose(1, 0, 2)),
    "named array": lambda x, f: np.savez(f / "x.npz", router_logits=x),
    "layers by name": lambda x, f: np.savez(
        f / "x.npz", **{f"layer_{i}": a for i, a in enumerate(by_layer(x))}
    ),
    "logits by number": lambda x, f: np.savez(
        f / "x.npz",
        **{f"router_logits_{i}": a for i, a in enumerate(by_layer(x))},
        **{f"router_ids_{i}": np.zeros((20, 3), int) for i in range(4)},
    ),
    "savez of a list": lambda x, f: np.savez(f / "x.npz", *by_layer(np.concatenate([x] * 3, axis=1))),
    "safetensors": lambda x, f: save_file(
        {f"model.layers.{i}.mlp.gate": np.ascontiguousarray(a) for i, a in enumerate(by_layer(x))},
        f / "x.safetensors",
    ),
    "batch of one": lambda x, f: np.savez(
        f / "x.npz", **{f"layer_{i}": a[None] for i, a in enumerate(by_layer(x))}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_logits(capsys, tmp_path, logits, form):
    (tmp_path / "f").mkdir()
    FORMS[form](logits, tmp_path / "f")
    (path,) = (tmp_path / "f").iterdir()
    trace, got, err = stored(capsys, path, tmp_path, *OPTIONS)
    if form == "savez of a list":
        logits = np.concatenate([logits] * 3, axis=1)  # twelve layers: arr_10 comes after arr_9
    assert np.array_equal(got.experts[..., 0], topk(logits)[..., 0])  # the heaviest first
    assert np.array_equal(np.sort(got.experts), np.sort(topk(logits)))
    assert trace.meta.routers[0].n_experts == 16
    assert trace.meta.slot_order == "weight"
    assert f"0 of {logits.shape[1] * 20} rows tie at the last place, where the lower id was taken" in err
    assert "executes others" in err


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_list_of_tensors_in_its_own_precision(capsys, tmp_path, logits, dtype):
    """In half precision values meet; the lower id is taken, as in the oracle on the rounded values."""
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(one).to(getattr(torch, dtype)) for one in by_layer(logits * 4)]
    torch.save(tuple(tensors), tmp_path / "x.pt")
    _, got, err = stored(capsys, tmp_path / "x.pt", tmp_path, *OPTIONS)
    rounded = np.stack([one.float().numpy() for one in tensors], axis=1)
    assert np.array_equal(np.sort(got.experts), np.sort(topk(rounded)))
    ordered = np.sort(rounded, axis=-1)
    tied = int((ordered[..., -3] == ordered[..., -4]).sum())
    assert f"{tied} of 80 rows tie" in err
    assert (tied > 0) == (dtype == "bfloat16")
    save_path = tmp_path / "y.safetensors"
    importlib.import_module("safetensors.torch").save_file(
        {f"layer_{i}": one for i, one in enumerate(tensors)}, save_path
    )
    (tmp_path / "o").mkdir()
    assert np.array_equal(stored(capsys, save_path, tmp_path / "o", *OPTIONS)[1].experts, got.experts)


def test_dense_layers_are_none_and_layers_keep_their_numbers(capsys, tmp_path, logits):
    torch = pytest.importorskip("torch")
    held = [None, *(torch.tensor(one) for one in by_layer(logits))]
    torch.save({"router_logits": held}, tmp_path / "x.pt")
    trace, _, _ = stored(capsys, tmp_path / "x.pt", tmp_path, *OPTIONS)
    assert trace.meta.layers == (1, 2, 3, 4)


def test_a_batch_is_cut_by_its_mask(capsys, tmp_path, logits):
    """Two sequences of ten places; the first is padded on the left by three, the second on the right by four.

    What the model computed of padding is not looked at: it may be no number.
    """
    logits[:3], logits[16:] = np.nan, 0.5
    mask = np.ones((2, 10), np.int64)
    mask[0, :3] = mask[1, 6:] = 0
    ids = np.arange(20).reshape(2, 10) + 100
    np.savez(tmp_path / "x.npz", router_logits=logits.transpose(1, 0, 2), attention_mask=mask, input_ids=ids)
    _, got, err = stored(capsys, tmp_path / "x.npz", tmp_path, *OPTIONS)
    assert "0 of 52 rows tie" in err
    assert got.document.tolist() == [0] * 7 + [1] * 6
    assert got.position.tolist() == [*range(7), *range(6)]
    assert got.token.tolist() == [*range(103, 110), *range(110, 116)]
    assert np.array_equal(np.sort(got.experts), np.sort(topk(logits)[[*range(3, 10), *range(10, 16)]]))


def test_passes_of_generate_are_prompt_and_answer(capsys, tmp_path, logits):
    torch = pytest.importorskip("torch")
    parts = [logits[:15], *(logits[i : i + 1] for i in range(15, 20))]
    torch.save([[torch.tensor(one) for one in by_layer(part)] for part in parts], tmp_path / "x.pt")
    _, got, _ = stored(capsys, tmp_path / "x.pt", tmp_path, *OPTIONS)
    assert np.array_equal(np.sort(got.experts), np.sort(topk(logits)))
    assert got.decode.tolist() == [False] * 15 + [True] * 5


def test_a_folder_holds_a_file_a_layer_or_a_file_a_document(capsys, tmp_path, logits):
    layers, documents = tmp_path / "layers", tmp_path / "documents"
    layers.mkdir()
    documents.mkdir()
    for index, one in enumerate(by_layer(logits)):
        np.save(layers / f"router_logits_layer_{index + 2}.npy", one)
    for index, part in enumerate((logits, logits[:15])):
        np.save(documents / f"router_logits_{index:04d}.npy", part)
    trace, got, _ = stored(capsys, layers, layers, *OPTIONS)
    assert trace.meta.layers == (2, 3, 4, 5)
    assert np.array_equal(np.sort(got.experts), np.sort(topk(logits)))
    trace, _, _ = stored(capsys, documents, documents, *OPTIONS)
    assert trace.documents.column("name").to_pylist() == ["router_logits_0000", "router_logits_0001"]


def test_a_softmax_changes_nothing(capsys, tmp_path, logits):
    shares = np.exp(logits.astype(np.float64))
    np.save(tmp_path / "x.npy", shares / shares.sum(axis=-1, keepdims=True))
    _, got, _ = stored(capsys, tmp_path / "x.npy", tmp_path, *OPTIONS)
    assert np.array_equal(np.sort(got.experts), np.sort(topk(logits)))


def test_rows_of_equal_logits_are_counted(capsys, tmp_path, logits):
    logits[4:6, 1] = 0.5
    np.save(tmp_path / "x.npy", logits)
    err = stored(capsys, tmp_path / "x.npy", tmp_path, *OPTIONS)[2]
    assert "2 of 80 rows tie at the last place" in err
    assert "in 2 of 80 rows all logits are equal, so that they give no choice; padding?" in err


def test_ties_inside_the_choice_are_none(logits):
    """Only a tie between the last that is chosen and the first that is not leaves a choice."""
    rows = np.array([[5, 5, 3, 1], [5, 3, 3, 3], [2, 2, 2, 2]], np.float32)
    experts, tied, flat = largest("x", rows, 2, 0)
    assert experts.tolist() == [[0, 1], [0, 1], [0, 1]]
    assert (tied, flat) == (2, 1)
    assert largest("x", rows[:2], 4, 0)[1:] == (0, 0)


def test_ambiguous_axes_are_questioned(capsys, tmp_path):
    short = np.random.default_rng(1).normal(size=(12, 8, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", short)
    line = refused(capsys, tmp_path / "x.npy", tmp_path, *OPTIONS)
    assert "12 layers of 8 tokens, or 12 tokens of 8 layers? Give --axes layers,tokens,k or" in line
    for number, (more, rows) in enumerate(
        ((("--axes", "layers,tokens,k"), 8), (("--axes", "tokens,layers,k"), 12), (("--layers", "1-12"), 8))
    ):
        (tmp_path / str(number)).mkdir()
        _, got, _ = stored(capsys, tmp_path / "x.npy", tmp_path / str(number), *OPTIONS, *more)
        assert len(got.experts) == rows
        wanted = short if rows == 12 else short.transpose(1, 0, 2)
        assert np.array_equal(np.sort(got.experts), np.sort(topk(wanted)))
    assert "--axes names tokens, layers and k" in refused(
        capsys, tmp_path / "x.npy", tmp_path, *OPTIONS, "--axes", "k,tokens"
    )
    assert "the last axis of logits is the experts" in refused(
        capsys, tmp_path / "x.npy", tmp_path, *OPTIONS, "--axes", "k,tokens,layers"
    )


def test_the_mask_says_which_axis_is_which(capsys, tmp_path):
    short = np.random.default_rng(1).normal(size=(12, 8, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", router_logits=short, input_ids=np.arange(8))
    _, got, _ = stored(capsys, tmp_path / "x.npz", tmp_path, *OPTIONS)
    assert np.array_equal(np.sort(got.experts), np.sort(topk(short.transpose(1, 0, 2))))


def spoiled(logits, value):
    logits = logits.copy()
    logits[7, 2, 5] = value
    return logits


CASES = {
    "nan": (lambda x: {"": spoiled(x, np.nan)}, "layer 2, row 7: a logit is nan"),
    "inf": (lambda x: {"": spoiled(x, -np.inf)}, "layer 2, row 7: a logit is -inf"),
    "ids": (lambda x: {"": x.astype(np.int32)}, "ids, not logits? then leave --logits out"),
    "flat": (lambda x: {"": x[:, 0, 0]}, "expected [layers, tokens, experts]"),
    "wide": (lambda x: {"": x[..., :2]}, "--top-k 3 of 2 logits a row"),
    "unequal": (
        lambda x: {"layer_0": x[:, 0], "layer_1": x[:9, 1]},
        "layer 1 is [9, 16], the first is [20, 16]",
    ),
    "names": (lambda x: {"a": x[:, 0], "b": x[:, 1]}, "a has no layer number"),
    "same": (lambda x: {"layer_1": x[:, 0], "h.1": x[:, 1]}, "is of layer 1, as another is"),
    "none": (lambda x: {"a": np.arange(3)}, "no arrays of logits [tokens, experts]; it holds a"),
    "mask": (
        lambda x: {"router_logits": x, "attention_mask": np.ones((2, 9), int)},
        "attention_mask is [2, 9]",
    ),
    "gaps": (
        lambda x: {"router_logits": x, "attention_mask": np.tile([1, 0], (1, 10))},
        "sequence 0: attention_mask has gaps",
    ),
    "empty": (lambda x: {"layer_0": x[:0, 0]}, "expected [tokens, experts], got [0, 16]"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(capsys, tmp_path, logits, case):
    make, message = CASES[case]
    arrays = make(logits)
    path = tmp_path / ("x.npy" if "" in arrays else "x.npz")
    if "" in arrays:
        np.save(path, arrays[""])
    else:
        np.savez(path, **arrays)
    line = refused(capsys, path, tmp_path, *OPTIONS)
    assert message in line
    assert path.name in line


def test_k_must_be_given_and_logits_requested(capsys, tmp_path, logits):
    np.save(tmp_path / "x.npy", logits)
    assert "give --top-k" in refused(capsys, tmp_path / "x.npy", tmp_path, "--logits")
    assert "router logits are read with --logits" in refused(capsys, tmp_path / "x.npy", tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    assert "router logits are read from .npy" in refused(capsys, tmp_path / "x.json", tmp_path, *OPTIONS)


def test_documents_of_different_models_are_not_joined(capsys, tmp_path, logits):
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", logits)
    np.save(tmp_path / "f" / "b.npy", logits[..., :8])
    code, _, err = convert(capsys, tmp_path / "f", tmp_path / "t", *OPTIONS)
    assert (code, "8 experts; in" in err) == (2, True)
