"""Options of `place`: what they name, and what is refused."""

import json

import pytest

from routestat.cli.placement_options import LONG, chosen_exports, chosen_objectives, model_shape
from routestat.errors import RoutestatError
from routestat.serving.exports.registry import EXPORTS
from routestat.traces.metadata import routers_like

ROUTERS = routers_like((1, 2), 8, 2)


def config(folder, **changed):
    values = {
        "model_type": "mixtral",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 100,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(values | changed))
    return folder


def test_exports_by_name():
    assert [one.name for one in chosen_exports("eplb, sglang,eplb")] == ["eplb", "sglang"]
    assert chosen_exports("all") == EXPORTS
    assert {one.name for one in EXPORTS} - {one.name for one in chosen_exports("auto")} == set(LONG)
    with pytest.raises(RoutestatError, match=r"expected one of sglang, .*pins, got 'sglnag'"):
        chosen_exports("sglang,sglnag")
    with pytest.raises(RoutestatError, match="expected one of"):
        chosen_exports("")


def test_objectives():
    assert chosen_objectives("both") == ("balance", "affinity")
    assert chosen_objectives("affinity") == ("affinity",)
    with pytest.raises(RoutestatError, match="balance, affinity or both, got 'speed'"):
        chosen_objectives("speed")


def test_without_options_the_last_layer_of_the_trace_is_the_last_of_the_model():
    shape = model_shape(ROUTERS, None, None)
    assert (shape.n_hidden_layers, shape.moe_layers) == (3, None)
    assert "3 layers, as layer 2 is the last of the trace" in shape.notes[0]
    assert model_shape(ROUTERS, 7, None).notes == ()
    assert model_shape(ROUTERS, 3, None).n_hidden_layers == 3


def test_fewer_layers_than_the_trace_are_refused():
    with pytest.raises(RoutestatError, match=r"expected 3 or more, because the trace has layer 2 .* got 2"):
        model_shape(ROUTERS, 2, None)


def test_a_configuration_gives_layers_and_which_have_experts(tmp_path):
    shape = model_shape(ROUTERS, None, config(tmp_path))
    assert (shape.n_hidden_layers, shape.moe_layers, shape.notes) == (4, (0, 1, 2, 3), ())
    assert model_shape(ROUTERS, 4, tmp_path) == shape
    with pytest.raises(RoutestatError, match="expected the 4 layers of --model-config, got 5"):
        model_shape(ROUTERS, 5, tmp_path)


def test_the_configuration_of_another_model_is_refused(tmp_path):
    with pytest.raises(RoutestatError, match="whose routers have 8 experts, found a model with 16"):
        model_shape(ROUTERS, None, config(tmp_path, num_local_experts=16))
    with pytest.raises(RoutestatError, match="because the trace has layer 2"):
        model_shape(ROUTERS, None, config(tmp_path, num_hidden_layers=2))


def test_where_the_configuration_differs_a_note_says_so(tmp_path):
    shape = model_shape(ROUTERS, None, config(tmp_path, num_experts_per_tok=3))
    assert shape.notes == ("the trace has 2 experts per token, the model's configuration 3",)
