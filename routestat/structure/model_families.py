"""How families of models are built: what their layers have, from their configurations.

Rules are those of the modelling code in transformers 5, which a test builds from small configurations.
"""

from collections.abc import Callable
from dataclasses import dataclass

from routestat.structure.model_config import Config

Count = Callable[[Config], int]


def _none(_: Config) -> int:
    return 0


def _all_layers(config: Config, layer: int) -> bool:
    return True


@dataclass(frozen=True)
class Family:
    """What one layer of a family has, in parameters.

    Attributes
    ----------
    mixer : callable(config, layer)
        Of the attention, or of what replaces it.
    has_experts : callable(config, layer)
        Whether a layer has routed experts, or a dense network instead.
    shared : callable(config)
        Of the experts that every token takes, in one layer.
    n_shared : callable(config)
        How many of these there are.
    matrices_bias : callable(config)
        Biases of one expert.
    router_bias : callable(config)
        Biases of one router.
    norms : callable(config)
        Of the normalisations of one layer.
    final_norm, head_bias : callable(config)
        Of the last normalisation, and of the biases of the output.
    tied : bool
        Whether input and output share their embedding where the configuration does not say.
    dense : callable(config), optional
        Of the dense networks beside the experts of every layer.
    identity : callable(config)
        Experts that compute nothing, with ids beyond those of the others.
    dense_bias : callable(config)
        Biases of the dense network of a layer without experts.
    """

    mixer: Callable[[Config, int], int]
    has_experts: Callable[[Config, int], bool] = _all_layers
    shared: Count = _none
    n_shared: Count = _none
    matrices_bias: Count = _none
    router_bias: Count = _none
    norms: Count = lambda config: 2 * config.number("hidden")
    final_norm: Count = lambda config: config.number("hidden")
    head_bias: Count = _none
    tied: bool = False
    dense: Count = _none
    identity: Count = _none
    dense_bias: Count = _none


def gated(hidden: int, width: int) -> int:
    """Parameters of a gated network: three matrices."""
    return 3 * hidden * width


def _attention(
    *,
    qkv: str = "attention_bias",
    output: str = "attention_bias",
    default: bool = False,
    norms: Callable[[Config], int] = _none,
) -> Callable[[Config, int], int]:
    """Grouped-query attention; `qkv` and `output` are the keys that say whether there are biases, empty for never."""

    def count(config: Config, _: int) -> int:
        hidden, heads, width = config.number("hidden"), config.number("heads"), config.head_dim
        across, narrow = heads * width, config.number("key_value_heads", heads) * width
        found = hidden * (across + 2 * narrow) + across * hidden
        if qkv and config.flag(qkv, default):
            found += across + 2 * narrow
        if output and config.flag(output, default):
            found += hidden
        return found + norms(config)

    return count


def _norm_per_head(config: Config) -> int:
    return 2 * config.head_dim


def _norm_of_all_heads(config: Config) -> int:
    heads = config.number("heads")
    return (heads + config.number("key_value_heads", heads)) * config.head_dim


def _latent_attention(config: Config, _: int) -> int:
    """Multi-head latent attention of DeepSeek."""
    hidden, heads = config.number("hidden"), config.number("heads")
    rope, plain, value = (
        config.number(key, default)
        for key, default in (("qk_rope_head_dim", 64), ("qk_nope_head_dim", 128), ("v_head_dim", 128))
    )
    latent, query = config.number("kv_lora_rank"), config.number("q_lora_rank", 0)
    bias = config.flag("attention_bias")
    found = hidden * heads * (rope + plain)
    if query:
        found = hidden * query + query + query * heads * (rope + plain) + (query if bias else 0)
    found += hidden * (latent + rope) + latent + latent * heads * (plain + value)
    return found + heads * value * hidden + (latent + rope + hidden if bias else 0)


def _mamba(config: Config) -> int:
    """Count the state-space layer of Jamba."""
    hidden, state = config.number("hidden"), config.number("mamba_d_state", 16)
    inner = config.number("mamba_expand", 2) * hidden
    rank = config.values.get("mamba_dt_rank", "auto")
    step = -(-hidden // 16) if not isinstance(rank, int) else rank
    found = inner * state + inner + inner * config.number("mamba_d_conv", 4) + 2 * inner * hidden
    found += inner * (step + 2 * state) + step * inner + inner + inner * hidden + step + 2 * state
    found += inner if config.flag("mamba_conv_bias", True) else 0
    return found + (2 * inner + hidden if config.flag("mamba_proj_bias") else 0)


def _jamba_mixer(config: Config, layer: int) -> int:
    period, offset = config.number("attn_layer_period", 8), config.number("attn_layer_offset", 4)
    is_attention = layer % period == offset
    return _attention(qkv="", output="")(config, layer) if is_attention else _mamba(config)


def _layer_type(config: Config, layer: int) -> str:
    types = config.listed("layer_types")
    return str(types[layer]) if layer < len(types) else ""


def _lfm_mixer(config: Config, layer: int) -> int:
    hidden = config.number("hidden")
    if _layer_type(config, layer) == "full_attention":
        return _attention(qkv="", output="", norms=_norm_per_head)(config, layer)
    kernel = config.number("conv_L_cache", 3)
    bias = 5 * hidden if config.flag("conv_bias") else 0
    return hidden * kernel + 4 * hidden * hidden + bias


def _minimax_mixer(config: Config, layer: int) -> int:
    across = config.number("heads") * config.head_dim
    if _layer_type(config, layer) == "linear_attention":
        return across + 5 * across * config.number("hidden")
    return _attention(qkv="", output="")(config, layer)


def _qwen_next_mixer(config: Config, layer: int) -> int:
    hidden, heads = config.number("hidden"), config.number("heads")
    if _layer_type(config, layer) != "linear_attention":
        # The query also makes the gate of the output.
        gate = heads * config.head_dim
        bias = gate if config.flag("attention_bias") else 0
        return _attention(norms=_norm_per_head)(config, layer) + hidden * gate + bias
    values, keys = config.number("linear_num_value_heads", 32), config.number("linear_num_key_heads", 16)
    value = values * config.number("linear_value_head_dim", 128)
    key = keys * config.number("linear_key_head_dim", 128)
    kernel = config.number("linear_conv_kernel_dim", 4)
    projections = hidden * (2 * key + 2 * value) + hidden * 2 * values + value * hidden
    return 2 * values + (2 * key + value) * kernel + projections + config.number("linear_value_head_dim", 128)


def _after_dense(key: str) -> Callable[[Config, int], bool]:
    """Experts in all layers but the first few."""
    return lambda config, layer: layer >= config.number(key, 0)


def _qwen_layers(config: Config, layer: int) -> bool:
    every = max(config.number("decoder_sparse_step", 1), 1)
    return layer not in config.listed("mlp_only_layers") and (layer + 1) % every == 0


def _ernie_layers(config: Config, layer: int) -> bool:
    end = config.values.get("moe_layer_end_index", -1)
    last = config.number("layers") - 1 if end in (-1, None) else int(end)
    every = max(config.number("moe_layer_interval", 1), 1)
    return (layer + 1) % every == 0 and config.number("moe_layer_start_index", 1) <= layer <= last


def _llama_layers(config: Config, layer: int) -> bool:
    if config.values.get("moe_layers") is not None:
        return layer in config.listed("moe_layers")
    return (layer + 1) % max(config.number("interleave_moe_layer_step", 1), 1) == 0


def _jamba_layers(config: Config, layer: int) -> bool:
    return layer % config.number("expert_layer_period", 2) == config.number("expert_layer_offset", 1)


def _of_shared(key: str, default: int, bias: str = "") -> Count:
    """So many experts that every token takes, as wide as the routed ones."""

    def count(config: Config) -> int:
        hidden, width = config.number("hidden"), config.number("expert_width") * config.number(key, default)
        return gated(hidden, width) + (2 * width + hidden if bias and config.flag(bias) else 0)

    return count


def _qwen_shared(config: Config) -> int:
    """One shared expert of its own width, and the gate that weights it."""
    return gated(config.number("hidden"), config.number("shared_expert_intermediate_size")) + config.number(
        "hidden"
    )


def _number(key: str, default: int) -> Count:
    return lambda config: config.number(key, default)


def _one(_: Config) -> int:
    return 1


def _expert_biases(config: Config) -> int:
    return 2 * config.number("expert_width") + config.number("hidden")


#: By `model_type` of the configuration.
FAMILIES: dict[str, Family] = {
    "mixtral": Family(_attention(qkv="", output="")),
    "olmoe": Family(_attention(norms=_norm_of_all_heads)),
    "flex_olmo": Family(_attention(norms=_norm_of_all_heads)),
    "qwen2_moe": Family(
        _attention(qkv="qkv_bias", output="", default=True), _qwen_layers, _qwen_shared, _one
    ),
    "qwen3_moe": Family(_attention(norms=_norm_per_head), _qwen_layers),
    "qwen3_next": Family(_qwen_next_mixer, _qwen_layers, _qwen_shared, _one),
    "deepseek_v2": Family(
        _latent_attention,
        _after_dense("first_k_dense_replace"),
        _of_shared("n_shared_experts", 2),
        _number("n_shared_experts", 2),
    ),
    "deepseek_v3": Family(
        _latent_attention,
        _after_dense("first_k_dense_replace"),
        _of_shared("n_shared_experts", 1),
        _number("n_shared_experts", 1),
    ),
    "gpt_oss": Family(
        lambda config, layer: _attention(default=True)(config, layer) + config.number("heads"),
        matrices_bias=_expert_biases,
        router_bias=_number("experts", 0),
    ),
    "phimoe": Family(
        _attention(),
        norms=lambda config: 4 * config.number("hidden"),
        final_norm=lambda config: 2 * config.number("hidden"),
        head_bias=lambda config: config.number("vocabulary") if config.flag("lm_head_bias") else 0,
    ),
    "granitemoe": Family(_attention()),
    "granitemoeshared": Family(
        _attention(),
        shared=lambda config: gated(config.number("hidden"), config.number("shared_intermediate_size", 0)),
        n_shared=lambda config: int(config.number("shared_intermediate_size", 0) > 0),
    ),
    "glm4_moe": Family(
        lambda config, layer: (
            _attention(output="")(config, layer)
            + (_norm_per_head(config) if config.flag("use_qk_norm") else 0)
        ),
        _after_dense("first_k_dense_replace"),
        _of_shared("n_shared_experts", 1),
        _number("n_shared_experts", 1),
    ),
    "dots1": Family(
        _attention(norms=_norm_per_head),
        _after_dense("first_k_dense_replace"),
        _of_shared("n_shared_experts", 0),
        _number("n_shared_experts", 0),
    ),
    "ernie4_5_moe": Family(
        _attention(qkv="use_bias", output="use_bias"),
        _ernie_layers,
        _of_shared("moe_num_shared_experts", 2, bias="use_bias"),
        _number("moe_num_shared_experts", 2),
        router_bias=_number("experts", 0),
        head_bias=lambda config: config.number("vocabulary") if config.flag("use_bias") else 0,
        tied=True,
        dense_bias=lambda config: (
            2 * config.number("dense_width") + config.number("hidden") if config.flag("use_bias") else 0
        ),
    ),
    "hunyuan_v1_moe": Family(_attention(norms=_norm_per_head), shared=_of_shared("one", 1), n_shared=_one),
    "llama4_text": Family(
        _attention(), _llama_layers, lambda c: gated(c.number("hidden"), c.number("intermediate_size")), _one
    ),
    "minimax": Family(_minimax_mixer),
    "jamba": Family(_jamba_mixer, _jamba_layers),
    "lfm2_moe": Family(_lfm_mixer, _after_dense("num_dense_layers"), tied=True),
    # Each layer has two attentions and two dense networks, and experts in parallel to them.
    "longcat_flash": Family(
        lambda config, layer: 2 * _latent_attention(config, layer),
        norms=lambda config: 4 * config.number("hidden"),
        dense=lambda config: 2 * gated(config.number("hidden"), config.number("ffn_hidden_size")),
        identity=_number("zero_expert_num", 0),
        router_bias=lambda config: (
            config.number("experts") + config.number("zero_expert_num", 0)
            if config.flag("router_bias")
            else 0
        ),
    ),
    "dbrx": Family(_attention(qkv="", output="")),
}
FAMILIES["kimi_k2"] = FAMILIES["deepseek_v3"]
