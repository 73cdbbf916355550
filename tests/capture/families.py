"""Tiny random models of the families that must be recorded, and their routing rules written out again in NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

BASE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MLA = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
LOCAL = {"num_local_experts": 8, "num_experts_per_tok": 2}
PLAIN = {"num_experts": 8, "num_experts_per_tok": 2}
ROUTED = {"n_routed_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 16, "n_shared_experts": 1}
SHARED = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16}
GROUPED = {"n_group": 4, "topk_group": 2, "first_k_dense_replace": 1}

# family: (class prefix, what its configuration needs, the layers that have a router)
FAMILIES: dict[str, tuple[str, dict[str, Any], list[int]]] = {
    "mixtral": ("Mixtral", LOCAL, [0, 1, 2]),
    "qwen2_moe": ("Qwen2Moe", {**PLAIN, **SHARED, "mlp_only_layers": [1]}, [0, 2]),
    "qwen3_moe": (
        "Qwen3Moe",
        {**PLAIN, "moe_intermediate_size": 16, "head_dim": 8, "mlp_only_layers": [0]},
        [1, 2],
    ),
    "qwen3_next": (
        "Qwen3Next",
        {
            **PLAIN,
            **SHARED,
            "head_dim": 8,
            "linear_num_value_heads": 4,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        },
        [0, 1, 2],
    ),
    "olmoe": ("Olmoe", PLAIN, [0, 1, 2]),
    "flex_olmo": ("FlexOlmo", PLAIN, [0, 1, 2]),
    "deepseek_v2": (
        "DeepseekV2",
        {**MLA, **ROUTED, **GROUPED, "topk_method": "group_limited_greedy"},
        [1, 2],
    ),
    "deepseek_v3": ("DeepseekV3", {**MLA, **ROUTED, **GROUPED}, [1, 2]),
    "gpt_oss": ("GptOss", {**LOCAL, "head_dim": 8}, [0, 1, 2]),
    "phimoe": ("Phimoe", LOCAL, [0, 1, 2]),
    "granitemoe": ("GraniteMoe", LOCAL, [0, 1, 2]),
    "jamba": (
        "Jamba",
        {
            **PLAIN,
            "num_hidden_layers": 4,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "mamba_d_state": 4,
            "mamba_dt_rank": 4,
        },
        [1, 3],
    ),
    "glm4_moe": ("Glm4Moe", {**ROUTED, **GROUPED, "head_dim": 8}, [1, 2]),
    "dbrx": ("Dbrx", {}, [0, 1, 2]),
    "llama4_text": (
        "Llama4",
        {
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "intermediate_size_mlp": 16,
            "moe_layers": [0, 2],
            "head_dim": 8,
        },
        [0, 2],
    ),
    "minimax": (
        "MiniMax",
        {
            **LOCAL,
            "head_dim": 8,
            "block_size": 16,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        },
        [0, 1, 2],
    ),
    "ernie4_5_moe": (
        "Ernie4_5_Moe",
        {
            "moe_num_experts": 8,
            "moe_k": 3,
            "moe_intermediate_size": 16,
            "moe_num_shared_experts": 1,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": 2,
            "moe_layer_interval": 1,
        },
        [1, 2],
    ),
    "hunyuan_v1_moe": ("HunYuanMoEV1", {"num_experts": 8, "moe_topk": 2, "head_dim": 8}, [0, 1, 2]),
    "dots1": ("Dots1", {**ROUTED, **GROUPED, "head_dim": 8}, [1, 2]),
    "lfm2_moe": (
        "Lfm2Moe",
        {
            **PLAIN,
            "moe_intermediate_size": 16,
            "num_dense_layers": 1,
            "layer_types": ["conv", "full_attention", "conv"],
            "use_expert_bias": True,
        },
        [1, 2],
    ),
    "switch_transformers": ("SwitchTransformers", {}, [1, 1, 3, 3]),
}
SWITCH = {
    "vocab_size": 64,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 16,
    "num_layers": 4,
    "num_decoder_layers": 4,
    "num_heads": 4,
    "num_experts": 4,
    "expert_capacity": 3,
    "num_sparse_encoder_layers": 2,
    "num_sparse_decoder_layers": 2,
}
DBRX = {
    "d_model": 32,
    "n_heads": 4,
    "n_layers": 3,
    "max_seq_len": 64,
    "vocab_size": 64,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
    "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 8, "moe_top_k": 2, "hidden_size": 32},
}


def build(family: str, seed: int = 0, **overrides: Any) -> Any:
    """A tiny random model of a family in fp32, its weights wide enough for routing that varies."""
    prefix, needs, _ = FAMILIES[family]
    return build_class(prefix, {**needs, **overrides}, seed)


def build_class(prefix: str, needs: dict[str, Any], seed: int = 0) -> Any:
    """A tiny random model of any class prefix of transformers."""
    config_name = {"Llama4": "Llama4TextConfig"}.get(prefix, f"{prefix}Config")
    whole = {"SwitchTransformers": SWITCH, "Dbrx": DBRX}.get(prefix, BASE)
    config = getattr(transformers, config_name)(**{**whole, **needs})
    head = "ForConditionalGeneration" if prefix == "SwitchTransformers" else "ForCausalLM"
    model = getattr(transformers, prefix + head)(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if "correction_bias" in name or "expert_bias" in name:
            # Large enough that the top k of the logits is not the selection.
            tensor.data.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        elif tensor.dim() > 1 and tensor.is_floating_point() and "inv_freq" not in name:
            tensor.data.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


def _sigmoid(x: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-x))


def _softmax(x: NDArray) -> NDArray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _top(scores: NDArray, k: int) -> NDArray:
    return np.sort(np.argsort(-scores, axis=-1, kind="stable")[:, :k], axis=1)


def _within_best_groups(
    scores: NDArray, group_scores: Callable[[NDArray], NDArray], groups: int, kept: int
) -> NDArray:
    grouped = scores.reshape(len(scores), groups, -1)
    best = np.argsort(-group_scores(grouped), axis=1)[:, :kept]
    masked = np.full_like(grouped, -np.inf)
    np.put_along_axis(masked, best[:, :, None], np.take_along_axis(grouped, best[:, :, None], 1), 1)
    return masked.reshape(scores.shape)


def rule(family: str, site: Any, x: NDArray) -> NDArray:
    """The sorted choice ``[token, slot]`` by the family's published rule, from what the router was given."""
    router, k = site.router, site.top_k
    linear = {"dbrx": "layer", "hunyuan_v1_moe": "wg", "switch_transformers": "classifier"}.get(family)
    weight = (
        (router if linear is None else getattr(router, linear)).weight.detach().numpy().astype(np.float64)
    )
    logits = x.astype(np.float64) @ weight.T
    if family == "gpt_oss":
        logits += router.bias.detach().numpy()
    if family == "deepseek_v2":
        return _top(_within_best_groups(_softmax(logits), lambda g: g.max(-1), 4, 2), k)
    if family in ("deepseek_v3", "glm4_moe", "dots1"):
        scores = _sigmoid(logits) + router.e_score_correction_bias.numpy()
        return _top(_within_best_groups(scores, lambda g: np.sort(g, -1)[..., -2:].sum(-1), 4, 2), k)
    if family == "ernie4_5_moe":
        return _top(_softmax(logits) + router.moe_statics.e_score_correction_bias.detach().numpy().ravel(), k)
    if family == "lfm2_moe":
        return _top(_sigmoid(logits) + site.block.expert_bias.numpy(), k)
    return _top(logits, k)
