"""The output of a router or its block in the model families where it is not (logits, weights, indices)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class RouterOutput(NamedTuple):
    """The output of one call of a router.

    Attributes
    ----------
    logits : Tensor ``[token, expert]``, or None
    weights, indices : Tensor ``[token, slot]``, or None
        None where only the experts receive them.
    """

    logits: Tensor | None
    weights: Tensor | None
    indices: Tensor | None


@dataclass(frozen=True)
class Deviation:
    """How the router of a model family differs from the common one.

    Parameters
    ----------
    read : callable(output, top_k) -> RouterOutput
        Reads the output of the hooked module.
    from_experts : bool
        Whether the executed indices are read from the call of the experts instead of the router's output.
    top_k : int or None
        Experts per token, where no module has the number.
    n_experts : callable(router) -> int, optional
        Number of experts, where the router chooses among more than those that compute.
    skip_without_weight : bool
        A weight of exactly 0 means that no expert was executed.
    deterministic : bool
        Whether the choice is a function of the token id alone.
    """

    read: Callable[[Any, int], RouterOutput]
    from_experts: bool = True
    top_k: int | None = None
    n_experts: Callable[[Any], int] | None = None
    skip_without_weight: bool = False
    deterministic: bool = False


def read_common(output: Any, top_k: int) -> RouterOutput:
    """Read (logits, weights, indices, …), the output of almost every router of transformers 5."""
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
    # JetMoE returns rows sorted by expert; topk of the same logits gives them by token.
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

# Declared as a source of router logits, but the router is a module inside.
NOT_ROUTERS = frozenset({"JetMoeAttention"})

# By the model type of the configuration.
REFUSED: dict[str, str] = {
    "doge": "its routing mixes the tokens of a batch in a full forward pass, so that a token has no choice of its own",
    "nllb-moe": "its routing is broken in transformers 5",
}


def executed_indices(index: Tensor) -> Tensor:
    """Return the executed ids ``[token, slot]`` from the argument of the experts; −1 where none was executed."""
    if index.dim() == 3:
        # A dispatch mask [token, slot, expert]: the row of a token beyond an expert's capacity is all zero.
        hit = index.amax(dim=-1) > 0
        return torch.where(hit, index.argmax(dim=-1), -1)
    return index


def _shape_of(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor {list(output.shape)}"
    return f"{type(output).__name__} of {len(output)}" if isinstance(output, tuple) else type(output).__name__
