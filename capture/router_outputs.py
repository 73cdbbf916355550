"""What a router or its block returns, family by family, where it is not (logits, weights, indices)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class RouterOutput(NamedTuple):
    """One call of a router: scores of all experts ``[token, expert]``, then weights and ids ``[token, slot]``.

    `indices` and `weights` are None where only the experts see them.
    """

    logits: Tensor | None
    weights: Tensor | None
    indices: Tensor | None


@dataclass(frozen=True)
class Deviation:
    """How a family differs from the common router.

    Parameters
    ----------
    read : callable(output, top_k) -> RouterOutput
        Reads the output of the hooked module.
    from_experts : bool
        Whether the experts' own call names the executed indices (they win over the router's).
    top_k : int or None
        Where no module says it.
    n_experts : callable(router) -> int, optional
        Where the router chooses among more than the experts that compute.
    skip_without_weight : bool
        A weight of exactly 0 means that no expert was executed.
    deterministic : bool
        The choice is a function of the token id alone.
    """

    read: Callable[[Any, int], RouterOutput]
    from_experts: bool = True
    top_k: int | None = None
    n_experts: Callable[[Any], int] | None = None
    skip_without_weight: bool = False
    deterministic: bool = False


def read_common(output: Any, top_k: int) -> RouterOutput:
    """(logits, weights, indices, …), as almost every router of transformers 5 returns."""
    if not isinstance(output, tuple) or len(output) < 3:
        raise TypeError(f"returned {_shape_of(output)}, not (logits, weights, indices)")
    return RouterOutput(output[0], output[1], output[2])


def _read_scores(output: Any, top_k: int) -> RouterOutput:
    # Llama 4: all experts run, on inputs scaled by scores that are 0 outside the top k.
    scores, logits = output
    weights, indices = scores.topk(top_k, dim=-1)
    return RouterOutput(logits, weights, indices)


def _read_logits(output: Any, top_k: int) -> RouterOutput:
    return RouterOutput(output, None, None)


def _read_one_hot(output: Any, top_k: int) -> RouterOutput:
    return RouterOutput(output[2].flatten(0, -2), None, None)


def _read_grouped(output: Any, top_k: int) -> RouterOutput:
    # JetMoE: rows come sorted by expert; the same topk of the same logits gives them back token by token.
    logits = output[4]
    values, indices = logits.topk(top_k, dim=1)
    return RouterOutput(logits, torch.softmax(values, dim=1), indices)


def _read_block(output: Any, top_k: int) -> RouterOutput:
    # GPT-OSS in MXFP4 multiplies by the router's weight itself and routes inside a kernel.
    logits = output[1]
    values, indices = logits.topk(top_k, dim=-1)
    return RouterOutput(logits, torch.softmax(values, dim=-1), indices)


COMMON = Deviation(read_common)

# By the name of the hooked class.
DEVIATIONS: dict[str, Deviation] = {
    "Llama4Router": Deviation(_read_scores, from_experts=False),
    "DbrxRouter": Deviation(_read_logits),
    "SwitchTransformersTop1Router": Deviation(_read_one_hot, top_k=1),
    "JetMoeTopKGating": Deviation(_read_grouped, from_experts=False),
    "ZayaRouter": Deviation(read_common, skip_without_weight=True),
    "LongcatFlashTopkRouter": Deviation(read_common, n_experts=lambda router: int(router.n_routed_experts)),
    "DeepseekV4HashRouter": Deviation(read_common, deterministic=True),
    # Read in the sources, not run: needs the MXFP4 kernels.
    "Mxfp4GptOssMLP": Deviation(_read_block, from_experts=False),
}

# Declared as a source of router logits, but the router is another module inside.
NOT_ROUTERS = frozenset({"JetMoeAttention"})

# By the model type of the configuration.
REFUSED: dict[str, str] = {
    "doge": "its routing mixes the tokens of a batch in a full forward pass, so a token has no choice of its own",
    "nllb-moe": "its routing is broken in transformers 5",
}


def executed_indices(index: Tensor) -> Tensor:
    """Ids ``[token, slot]`` from what the experts got; −1 where nothing was executed."""
    if index.dim() == 3:
        # A dispatch mask [token, slot, expert]: an all-zero row is a token beyond the capacity.
        hit = index.amax(dim=-1) > 0
        return torch.where(hit, index.argmax(dim=-1), -1)
    return index


def _shape_of(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    return f"{type(output).__name__} of {len(output)}" if isinstance(output, tuple) else type(output).__name__
