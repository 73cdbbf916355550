"""Axes that contradict shapes or names are refused with a question; the origin of layer numbers is recorded."""

import base64
import json

import numpy as np
import pytest

from routestat.errors import FormatError
from routestat.traces.importers.common.array_axes import oriented, parse_axes, refuse_doubtful_axes
from tests.traces.importers.known import chosen, convert, refused, stored, subsets


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def message_of(shapes, rng, **lengths):
    """The message for arrays of these shapes; empty if there is none."""
    arrays = [rng.integers(0, 50, shape) for shape in shapes]
    try:
        refuse_doubtful_axes("x", arrays, lengths)
    except FormatError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("shapes", "lengths", "said"),
    [
        ([(24, 200, 4)], {}, "more layers (200) than tokens (24)"),
        ([(24, 200, 4)] * 3, {}, "more layers (200) than tokens (24)"),
        ([(24, 20, 4), (24, 31, 4)], {}, "the second axis differs from array to array"),
        ([(24, 200, 4), (24, 310, 4)], {}, "the second axis differs from array to array"),
        ([(200, 24, 4)], {}, ""),
        ([(10, 32, 4), (40, 32, 4), (7, 32, 4)], {}, ""),
        ([(10, 32, 4), (12, 32, 4)], {}, ""),
        ([(200, 24, 4)], {"layers": {"layers": 200}}, "layers has 200 entries, as many as the first axis"),
        ([(200, 24, 4)], {"tokens": {"token": 24}}, "token has 24 entries, as many as the second axis"),
        ([(10, 32, 4)], {"tokens": {"document": 10}}, ""),
        ([(10, 32, 4)], {"layers": {"layers": 32}}, ""),
        ([(10, 32, 4)], {"layers": {"layers": 31}}, "more layers (32)"),
        ([(0, 32, 4)], {}, ""),
    ],
)
def test_ambiguous_and_ordinary_shapes(rng, shapes, lengths, said):
    line = message_of(shapes, rng, **lengths)
    assert bool(line) == bool(said)
    assert said in line
    if said:
        assert "--axes tokens,layers,k or --axes layers,tokens,k" in line


def test_slots_in_the_middle_are_questioned(rng):
    with pytest.raises(FormatError) as caught:
        refuse_doubtful_axes("x", [chosen(rng, 60, 12, 16, 4).transpose(0, 2, 1)])
    assert "--axes tokens,k,layers" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "tokens,layers", "tokens,layers,layers", "k", "tokens,layers,k,k", "a,b,c"]
)
def test_axes_are_three_words(text):
    with pytest.raises(FormatError, match="names tokens, layers and k"):
        parse_axes(text)


@pytest.mark.parametrize(
    "order", ["tokens,layers,k", "layers,tokens,k", "layers,k,tokens", "k,tokens,layers"]
)
def test_any_order_is_obeyed(rng, order):
    experts = chosen(rng, 30, 5, 8, 2)
    words = ["tokens", "layers", "k"]
    held = experts.transpose([words.index(word) for word in order.split(",")])
    assert np.array_equal(oriented(held, order), experts)
    assert np.array_equal(oriented(np.stack([held, held]), order), np.stack([experts, experts]))


def files(folder, experts):
    """The same swapped rows in every form of plain array."""
    swapped = experts.transpose(1, 0, 2)
    np.save(folder / "one.npy", swapped)
    np.savez(folder / "named.npz", experts=swapped)
    np.savez(folder / "slime.npz", rollout_routed_experts=swapped)
    np.savez(
        folder / "verl.npz", routed_experts=np.stack([swapped] * 2), input_ids=np.ones((2, len(experts)), int)
    )
    (folder / "many").mkdir()
    for number in range(3):
        np.save(folder / "many" / f"{number}.npy", swapped[:, : 20 + number])
    raw = base64.b64encode(swapped.astype(np.uint8).tobytes()).decode()
    held = {"data": raw, "shape": list(swapped.shape), "dtype": "uint8"}
    (folder / "response.json").write_text(json.dumps({"routed_experts": held}))


@pytest.mark.parametrize("name", ["one.npy", "named.npz", "slime.npz", "verl.npz", "many", "response.json"])
def test_every_reader_of_arrays_requires_axes_and_follows_them(capsys, tmp_path, rng, name):
    experts = chosen(rng, 40, 3, 8, 2)
    files(tmp_path, experts)
    line = refused(capsys, tmp_path / name, tmp_path)
    assert name in line
    assert "--axes layers,tokens,k" in line
    trace, got, _ = stored(capsys, tmp_path / name, tmp_path, "--axes", "layers,tokens,k", "--n-experts", 8)
    assert len(trace.meta.routers) == 3
    rows = slice(0, 20) if name == "many" else slice(0, 39 if name == "verl.npz" else 40)
    first = got.document == got.document[0]
    assert np.array_equal(subsets(got.experts[first])[: rows.stop], subsets(experts[rows]))


def test_layers_say_who_numbered_them(capsys, tmp_path, rng):
    experts = chosen(rng, 40, 3, 8, 2)
    np.savez(tmp_path / "plain.npz", experts=experts)
    np.savez(tmp_path / "named.npz", experts=experts, layers=[3, 5, 8])
    for number, (name, options, layers, by) in enumerate(
        [
            ("plain.npz", (), (0, 1, 2), "reader"),
            ("plain.npz", ("--layers", "3,5,8"), (3, 5, 8), "user"),
            ("named.npz", (), (3, 5, 8), "file"),
            ("named.npz", ("--layers", "3,8"), (3, 8), "file"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        trace, got, err = stored(capsys, tmp_path / name, tmp_path / str(number), *options)
        assert (trace.meta.layers, trace.meta.extra["layer_numbers"]) == (layers, by)
        assert ("does not number its layers" in err) == (by == "reader")
        assert got.extra["layer_numbers"] == ("reader" if by == "reader" else "file")
    code, _, err = convert(capsys, tmp_path / "named.npz", tmp_path / "x", "--layers", "4")
    assert (code, "--layers 4 not in it" in err) == (2, True)
