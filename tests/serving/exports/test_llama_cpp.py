"""The options of llama.cpp, matched against the names of tensors as it matches them."""

import pytest

from routestat.serving.exports.llama_cpp import pattern_of
from routestat.serving.exports.registry import export_of
from tests.serving.exports.cases import case
from tests.serving.exports.readers import options_of, read_llama_cpp, tensors_of

LAYERS = tuple(range(1, 34))


def text_of(exported):
    return export_of("llama.cpp").files(exported)["llama.cpp.txt"]


def experts_of(model, layers):
    """Names of the expert tensors of these layers."""
    starts = tuple(f"blk.{layer}.ffn_" for layer in layers)
    return {name for name in tensors_of(model) if name.startswith(starts) and "_exps." in name}


@pytest.mark.parametrize("fast", [(), (1, 2, 3), (31, 32, 33), (3, 13, 31), tuple(range(1, 33)), (1, 33)])
def test_exactly_the_experts_of_the_other_layers_are_in_main_memory(fast):
    exported, model = case(layers=LAYERS, hidden=35, fast_layers=fast)
    pattern, first = options_of(text_of(exported))
    slow = [layer for layer in LAYERS if layer not in fast]
    assert read_llama_cpp(pattern, model) == experts_of(model, slow)
    # Whether --n-cpu-moe does the same is in the comment before it.
    same = read_llama_cpp(first, model) == read_llama_cpp(pattern, model)
    assert ("# The same:" in text_of(exported).decode()) == same
    # If not, as many layers stay on the GPU.
    assert read_llama_cpp(first, model) == experts_of(model, slow if same else LAYERS[: len(slow)])


def test_a_layer_is_no_prefix_of_another():
    model = case(layers=LAYERS, hidden=35)[1]
    words = ["-ot", f"{pattern_of([3])}=CPU"]
    assert read_llama_cpp(words, model) == experts_of(model, [3])
    loose = read_llama_cpp(["-ot", r"blk\.3.*_exps\.=CPU"], model)
    assert loose > read_llama_cpp(words, model)


def test_the_text_is_this():
    exported, _ = case(layers=(1, 2, 3, 4), hidden=5, fast_layers=(2, 4))
    assert text_of(exported).decode().splitlines() == [
        "# llama.cpp moves the experts of whole layers. Use one of the options, with -ngl 99.",
        "# Experts of layers 1, 3 in main memory; the experts of layers 2, 4 stay on the GPU:",
        r"-ot 'blk\.(1|3)\.ffn_.*_exps\.=CPU'",
        "# Not the same: as many layers of experts on the GPU, but the last ones (3-4):",
        "--n-cpu-moe 3",
    ]


def test_with_all_layers_on_the_gpu_there_is_no_option():
    exported, _ = case(layers=(1, 2), hidden=3, fast_layers=(1, 2))
    assert options_of(text_of(exported)) == []
    assert b"no option is needed" in text_of(exported)


def test_layers_with_experts_that_were_not_traced_are_in_main_memory():
    exported, model = case(layers=(2, 3), hidden=6, moe_layers=(1, 2, 3, 5), fast_layers=(3,))
    pattern, _ = options_of(text_of(exported))
    assert read_llama_cpp(pattern, model) == experts_of(model, [1, 2, 5])
    (note,) = export_of("llama.cpp").notes(exported)
    assert "layers 1, 5" in note
