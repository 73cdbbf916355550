"""The counts in a .pt, read back as both engines do; without torch the error names the package."""

import io
import sys

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.exports.logical_count import counts_by_layer
from routestat.serving.exports.registry import export_of
from tests.serving.exports.cases import case, with_routers
from tests.serving.exports.readers import Model, RefusedError, read_logical_count

NAMES = ("sglang-counts", "ktransformers")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_experts", [8, 60, 512])
def test_engines_read_the_counts_of_every_hidden_layer(name, n_experts):
    pytest.importorskip("torch")
    exported, model = case(n_experts, layers=(3, 4, 6), hidden=8)
    (content,) = export_of(name).files(exported).values()
    counts = read_logical_count(content, model)
    assert counts.dtype == np.int64
    assert counts.shape == (8, n_experts)
    for layer, load in zip((3, 4, 6), exported.loads, strict=True):
        assert (counts[layer] == load).all()
    assert not counts[[0, 1, 2, 5, 7]].any()


@pytest.mark.parametrize("name", NAMES)
def test_counts_beyond_32_bits_are_kept(name):
    pytest.importorskip("torch")
    routers = case(layers=(0,))[0].routers
    exported = with_routers(routers, 1)
    exported.loads[0][3] = 2**40 + 1
    (content,) = export_of(name).files(exported).values()
    assert read_logical_count(content, Model(1, 8, (0,)))[0, 3] == 2**40 + 1


def test_no_placement_is_needed():
    exported = with_routers(case(layers=(1,))[0].routers, 2)
    assert counts_by_layer(exported, "an engine").tolist() == [[[0] * 8, list(range(8))]]


def test_a_layer_with_experts_that_was_not_traced_has_no_counts():
    exported, _ = case(layers=(1,), hidden=3, moe_layers=(1, 2))
    assert not counts_by_layer(exported, "an engine")[0, 2].any()
    (note,) = export_of("ktransformers").notes(exported)
    assert note.startswith(
        "no router in the trace at layer 2, where the model has experts: their counts are 0"
    )


@pytest.mark.parametrize("name", NAMES)
def test_without_torch_the_package_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(RoutestatError, match=r"needs torch: pip install 'routestat\[network\]'"):
        export_of(name).files(case()[0])


def saved(torch, record):
    buffer = io.BytesIO()
    torch.save(record, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "record",
    [
        lambda torch: {"logical_count": torch.zeros(4, 8, dtype=torch.int64)},
        lambda torch: {"logical_count": torch.zeros(1, 4, 8)},
        lambda torch: {"logical_count": torch.zeros(1, 3, 8, dtype=torch.int64)},
        lambda torch: {"logical_count": torch.zeros(1, 4, 9, dtype=torch.int64)},
        lambda torch: {"logical_count": torch.full((1, 4, 8), -1)},
        lambda torch: {"logical_count": np.zeros((1, 4, 8), np.int64)},
        lambda torch: {"counts": torch.zeros(1, 4, 8, dtype=torch.int64)},
        lambda torch: {"logical_count": torch.zeros(1, 4, 8, dtype=torch.int64), "layer": Model},
    ],
)
def test_the_reader_refuses_other_files(record):
    torch = pytest.importorskip("torch")
    with pytest.raises(RefusedError):
        read_logical_count(saved(torch, record(torch)), Model(4, 8, (1, 2)))


def test_the_reader_refuses_a_damaged_file():
    pytest.importorskip("torch")
    exported, model = case()
    (content,) = export_of("ktransformers").files(exported).values()
    with pytest.raises(RefusedError):
        read_logical_count(content[:100], model)
