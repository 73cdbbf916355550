"""Numbers of parameters: published totals, models that transformers builds, and configurations that are wrong."""

import json
import re
import warnings
from pathlib import Path

import pytest

from routestat.errors import RoutestatError
from routestat.structure.model_facts import model_facts, require_fit
from routestat.study.model_facts import read_model_facts
from routestat.traces.metadata import routers_like
from tests.capture.families import BASE, DBRX, FAMILIES, MLA

MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "torch_dtype": "bfloat16",
}
DEEPSEEK_V2_LITE = {
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "first_k_dense_replace": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 102400,
    "torch_dtype": "bfloat16",
}
BIASED = {"attention_bias": True}
LONGCAT = {
    **{
        key: value for key, value in BASE.items() if key != "intermediate_size" and key != "num_hidden_layers"
    },
    **MLA,
    "num_layers": 2,
    "ffn_hidden_size": 24,
    "expert_ffn_hidden_size": 16,
    "n_routed_experts": 8,
    "zero_expert_num": 4,
    "moe_topk": 3,
}
WITHOUT_BASE = ("switch_transformers", "dbrx")
WITH_BIASES = ("olmoe", "qwen3_moe", "glm4_moe", "dots1", "phimoe", "qwen3_next", "llama4_text")
# family, class prefix, what its configuration needs
BUILT = [
    *((name, prefix, needs) for name, (prefix, needs, _) in FAMILIES.items() if name not in WITHOUT_BASE),
    (
        "qwen2_moe",
        "Qwen2Moe",
        {**FAMILIES["qwen2_moe"][1], "qkv_bias": False, "decoder_sparse_step": 2, "mlp_only_layers": []},
    ),
    ("deepseek_v2", "DeepseekV2", {**FAMILIES["deepseek_v2"][1], "q_lora_rank": None, **BIASED}),
    ("deepseek_v3", "DeepseekV3", {**FAMILIES["deepseek_v3"][1], **BIASED, "tie_word_embeddings": True}),
    *((name, FAMILIES[name][0], {**FAMILIES[name][1], **BIASED}) for name in WITH_BIASES),
    ("gpt_oss", "GptOss", {**FAMILIES["gpt_oss"][1], "attention_bias": False}),
    ("phimoe", "Phimoe", {**FAMILIES["phimoe"][1], "lm_head_bias": True}),
    ("glm4_moe", "Glm4Moe", {**FAMILIES["glm4_moe"][1], "use_qk_norm": True}),
    ("ernie4_5_moe", "Ernie4_5_Moe", {**FAMILIES["ernie4_5_moe"][1], "use_bias": True, "tie_word_embeddings": False}),
    ("jamba", "Jamba", {**FAMILIES["jamba"][1], "mamba_proj_bias": True, "mamba_conv_bias": False}),
    ("lfm2_moe", "Lfm2Moe", {**FAMILIES["lfm2_moe"][1], "conv_bias": True}),
    ("granitemoeshared", "GraniteMoeShared", {**FAMILIES["granitemoe"][1], "shared_intermediate_size": 24}),
    ("longcat_flash", "LongcatFlash", LONGCAT),
    ("dbrx", "Dbrx", DBRX),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "prefix", "needs"), BUILT, ids=[f"{place}-{case[0]}" for place, case in enumerate(BUILT)]
)
def test_all_parameters_are_those_of_the_model_that_transformers_builds(family, prefix, needs, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, {"Llama4": "Llama4TextConfig"}.get(prefix, f"{prefix}Config"))
    config = kind(**needs) if family in ("longcat_flash", "dbrx") else kind(**{**BASE, **needs})
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(transformers, f"{prefix}ForCausalLM")(config)
    # As a user has it: through the file.
    config.save_pretrained(tmp_path)
    found = read_model_facts(tmp_path)
    assert found.family == family
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    # LongCat's class has input matrices for identity experts too, which compute nothing and have no weights.
    unused = 2 * len(found.moe_layers) * found.n_identity_experts * 32 * 16
    assert found.parameters + unused == sum(sizes.values())
    experts = -unused + sum(
        size for name, size in sizes.items() if ".experts." in name and "router" not in name
    )
    named = {part.name: part for part in found.parts}
    assert named["experts"].parameters == experts
    assert named["experts"].active * found.n_experts == experts * found.top_k
    assert sum(part.parameters for part in found.parts) == found.parameters


def test_published_totals_of_mixtral():
    found = model_facts(MIXTRAL)
    assert round(found.parameters / 1e9, 1) == 46.7
    assert round(found.active_parameters / 1e9, 1) == 12.9
    assert found.expert_parameters == 3 * 4096 * 14336
    assert found.expert_bytes == 2 * found.expert_parameters
    assert found.moe_layers == tuple(range(32))
    assert (found.n_shared_experts, found.shared_parameters, found.router_parameters) == (0, 0, 8 * 4096)
    assert found.reason == ""


def test_published_totals_of_deepseek_v2_lite():
    found = model_facts(DEEPSEEK_V2_LITE)
    assert round(found.parameters / 1e9, 1) == 15.7
    # 2.4 is published: with the embeddings of input or output, not both.
    table = DEEPSEEK_V2_LITE["vocab_size"] * DEEPSEEK_V2_LITE["hidden_size"]
    assert round((found.active_without_embeddings + table) / 1e9, 1) == 2.5
    assert found.active_parameters - found.active_without_embeddings == 2 * table
    assert found.moe_layers == tuple(range(1, 27))


def test_shipped_tiny_mixtral_fits_its_trace():
    found = read_model_facts(Path("data/tiny-mixtral"))
    assert require_fit(found, routers_like(range(32), 8, 2)) == ()
    # Counted from the file of its weights, which are bfloat16, less its header.
    assert found.expert_parameters == 3 * 96 * 80


def test_a_trace_of_another_model_is_refused_and_differences_of_a_run_are_noted():
    found = model_facts(DEEPSEEK_V2_LITE)
    with pytest.raises(RoutestatError, match="routers have 8 experts, found a model with 64"):
        require_fit(found, routers_like(range(1, 27), 8, 2))
    assert require_fit(found, routers_like(range(1, 27), 64, 6)) == ()
    fewer, numbered = require_fit(found, routers_like(range(26), 64, 4))
    assert "4 experts per token, the model's configuration 6" in fewer
    assert "layers 0 of the trace" in numbered


def test_an_unknown_family_has_experts_and_a_reason():
    found = model_facts({**MIXTRAL, "model_type": "<b>new</b>"})
    assert found.expert_parameters == 3 * 4096 * 14336
    assert found.parameters is None
    assert found.active_parameters is None
    assert "<b>new</b> is not known" in found.reason
    assert require_fit(found, routers_like(range(4), 8, 2)) == ()


def test_models_of_several_parts_hold_the_text_model_inside():
    found = model_facts(
        {"model_type": "some_vl", "dtype": "float16", "text_config": {**MIXTRAL, "torch_dtype": None}}
    )
    assert found.family == "mixtral"
    assert found.bytes_per_parameter == 2


@pytest.mark.parametrize(
    ("changed", "bytes_each", "why"),
    [
        ({"torch_dtype": "float32"}, 4.0, ""),
        ({"torch_dtype": None}, None, "does not say the type"),
        ({"torch_dtype": "int3"}, None, "type int3"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, None, r"quantised \(mxfp4\)"),
    ],
)
def test_bytes_follow_from_the_type_or_there_is_a_reason(changed, bytes_each, why):
    found = model_facts({**MIXTRAL, **changed})
    assert found.bytes_per_parameter == bytes_each
    assert re.search(why, found.reason)
    assert (found.expert_bytes is None) == (bytes_each is None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_local_experts": None}, "expected n_routed_experts or .* found none of them"),
        ({"hidden_size": "wide"}, "expected hidden_size to be a whole number of 0 or more, found 'wide'"),
        ({"num_hidden_layers": -1}, "found '-1'"),
        ({"num_hidden_layers": True}, "found 'True'"),
        ({"num_experts_per_tok": 9}, "expected 1 to 8 experts per token"),
        ({"num_experts_per_tok": [2, 4]}, "expected num_experts_per_tok to be a whole number"),
    ],
)
def test_a_wrong_value_is_one_clear_line(changed, message):
    with pytest.raises(RoutestatError, match=message) as raised:
        model_facts({**MIXTRAL, **changed})
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_configuration_is_one_clear_line(tmp_path):
    with pytest.raises(RoutestatError, match=r"expected a model's config\.json, or its folder"):
        read_model_facts(tmp_path)
    for text, message in (
        ("{", "cannot be read"),
        ("[1]", "found list"),
        (json.dumps({"a": 1}), "found none of them"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(RoutestatError, match=message):
            read_model_facts(tmp_path)
