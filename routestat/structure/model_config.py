"""A model's configuration, by names that do not depend on the family of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from routestat.errors import RoutestatError

# What families call the same number; the first that a configuration has.
_NAMES = {
    "hidden": ("hidden_size", "d_model", "n_embd"),
    "layers": ("num_layers", "num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
    "key_value_heads": ("num_key_value_heads", "kv_n_heads"),
    "experts": (
        "n_routed_experts",
        "num_local_experts",
        "num_experts",
        "moe_num_experts",
        "num_routed_experts",
    ),
    "top_k": (
        "num_experts_per_tok",
        "moe_topk",
        "moe_top_k",
        "moe_k",
        "num_selected_experts",
        "num_experts_per_token",
    ),
    "expert_width": (
        "moe_intermediate_size",
        "expert_ffn_hidden_size",
        "intermediate_size",
        "ffn_hidden_size",
    ),
    "dense_width": ("intermediate_size_mlp", "intermediate_size", "ffn_hidden_size"),
    "vocabulary": ("vocab_size",),
}
_PARTS = ("attn_config", "ffn_config")


@dataclass(frozen=True)
class Config:
    """The values of a configuration.

    Parameters
    ----------
    values : mapping
        Of ``config.json``, of the language model where it holds several models.
    """

    values: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Config":
        """Return a configuration as one flat mapping; models of several parts hold that of the text in one of them."""
        whole = dict(values)
        if isinstance(text := whole.get("text_config"), Mapping):
            kept = ("dtype", "torch_dtype", "quantization_config", "tie_word_embeddings")
            whole = {key: whole[key] for key in kept if whole.get(key) is not None} | dict(text)
        for part in _PARTS:
            if isinstance(inner := whole.get(part), Mapping):
                whole = dict(inner) | whole
        return cls(whole)

    def number(self, name: str, default: int | None = None) -> int:
        """Return a whole number by its name here, or by a key of its own.

        Raises
        ------
        RoutestatError
            If there is none and no default, or it is not a whole number of 0 or more.
        """
        keys = _NAMES.get(name, (name,))
        key = next((key for key in keys if self.values.get(key) is not None), None)
        if key is None:
            if default is None:
                raise RoutestatError(
                    f"the model's config.json: expected {' or '.join(keys)}, found none of them; "
                    "give the configuration of a mixture-of-experts model"
                )
            return default
        value = self.values[key]
        if isinstance(value, list) and value and len(set(map(str, value))) == 1:
            # One value per layer, all alike.
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise RoutestatError(
                f"the model's config.json: expected {key} to be a whole number of 0 or more, found "
                f"{str(value)[:40]!r}; correct it"
            )
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a yes or no."""
        value = self.values.get(key)
        return default if value is None else bool(value)

    def listed(self, key: str) -> list[Any]:
        """Return a list; empty where there is none."""
        value = self.values.get(key)
        return list(value) if isinstance(value, list | tuple) else []

    @property
    def family(self) -> str:
        """The model's type, as transformers calls it."""
        return str(self.values.get("model_type") or "")

    @property
    def head_dim(self) -> int:
        """The width of an attention head."""
        return self.number("head_dim", self.number("hidden") // max(self.number("heads"), 1))

    @property
    def dtype(self) -> str:
        """The type of the weights, empty where it is not said."""
        value = self.values.get("dtype") or self.values.get("torch_dtype") or ""
        return str(value).removeprefix("torch.")

    @property
    def quantised(self) -> str:
        """How the weights are quantised; empty where they are not."""
        found = self.values.get("quantization_config")
        return str(found.get("quant_method") or "unknown") if isinstance(found, Mapping) else ""
