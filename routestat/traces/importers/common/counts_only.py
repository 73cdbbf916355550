"""Files that hold counts per expert and nothing per token: recognised, and refused with the reason.

A count is how often an expert was chosen. Which experts a token chose together, what the next layer or the next token
chose, and how much documents differ cannot be recovered from it. Load balance and placement need only
counts; for the rest the run must be recorded per token.

Such files are recognised by names (``expert_load``, ``tokens_per_expert``, ``logical_count``, ``counts``), or by
numbers that cannot be ids: every layer has the same sum, as counts of the same tokens have; or they are larger than any
id. Text is checked by `counts_text`.

Sources: vllm-project/vllm, ``distributed/eplb`` (``expert_load``); sgl-project/sglang, ``eplb/expert_distribution.py``
(``logical_count``); NVIDIA/TensorRT-LLM, ``_torch/expert_statistic.py``; NVIDIA/Megatron-LM and
microsoft/DeepSpeed (``tokens_per_expert``, ``exp_counts``); allenai/OLMoE, ``run_routing_analysis.py``.
"""

import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError

#: How to record per token, by engine.
VLLM = "vLLM: --enable-return-routed-experts"
SGLANG = "SGLang: the recorder's mode per_token, or return_routed_experts"
TENSORRT = "TensorRT-LLM: the raw tensors (rank*_raw.safetensors), or routed_experts of the completion"
MEGATRON = "Megatron-LM: --moe-routing-trace-path"
ANY = "the ids that the router chose, [tokens, layers, k]"
EXPERT_STATISTIC = f"TensorRT-LLM's expert statistic; per token: {TENSORRT}"

#: Names that only counts have.
COUNTED = re.compile(
    r"(expert|exp|routing|router)s?_?(token)?_?(load|count|usage|hist|histogram|freq|frequency|frequencies|stat)s?"
    r"|(num_)?tokens_per_(local_)?expert|(global_)?(physical|logical)_(expert_)?counts?"
    r"|(expert_)?activation_counts?|(hits|load)_per_expert|cooccurrence",
    re.IGNORECASE,
)
#: Names of counts if nothing else in the file is per token.
COUNT = re.compile(
    r"(token_?)?(counts?|load|hits|freq(uency|uencies)?|usage|shares?|n|activations?|num_tokens|percent(age)?|fraction)"
    r"(_?count|_top\d+)?|.*_counts?|.*_loads?|cross(layer|_top\d+)?",
    re.IGNORECASE,
)
#: Arrays that hold choices.
CHOICES = re.compile(r"experts|.*routed_experts.*|.*topk.*|.*expert_ids|.*indices", re.IGNORECASE)
#: No model has more layers; an axis beyond this holds tokens.
MOST_LAYERS = 128
#: No router has so many experts; numbers beyond this are no ids.
NO_ID = 4096
#: Rows or passes of an array that are checked.
LOOKED_AT = 1024


def refuse_counts(path: Path | str, what: str) -> NoReturn:
    """Refuse a file of counts.

    Raises
    ------
    FormatError
        Always: with the reason, the use of the file, and the alternative.
    """
    raise FormatError(
        f"{path}: counts per expert only ({what}). They give the load of each expert, for balance and placement; "
        "which experts a token chose together, and what the next layer or token chose, is not in them"
    )


def advice(name: str) -> str:
    """Return how the engine that uses this name records per token."""
    said = name.lower()
    if "logical_count" in said or "physical_count" in said:
        return SGLANG
    if "expert_load" in said:
        return VLLM
    return MEGATRON if "tokens_per" in said else ANY


def counts_in_arrays(arrays: Mapping[str, NDArray]) -> str | None:
    """Describe what shows that arrays hold counts; None if nothing does, or one of them holds choices."""
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind in "iuf"}
    parts = {name: re.split(r"[/.]", name) for name in numbers}
    if not numbers or any(CHOICES.fullmatch(part) for names in parts.values() for part in names):
        return None
    for known in (COUNTED, COUNT):
        for name, array in numbers.items():
            said = next((part for part in parts[name] if known.fullmatch(part)), None)
            if said is not None and not (known is COUNT and _may_be_ids(array)):
                return f"an array {name} {list(array.shape)}; per token: {advice(said)}"
    if all(sums_alike(array) or beyond_ids(array) for array in numbers.values()):
        shapes = ", ".join(str(list(array.shape)) for array in islice(numbers.values(), 3))
        return f"{shapes} of numbers that are no ids; per token: {ANY}"
    return None


def _may_be_ids(array: NDArray) -> bool:
    """Whether ``[token, layer, slot]`` may hold choices, whatever it is called: k different small ids a row."""
    if array.ndim != 3 or array.dtype.kind not in "iu" or not array.size or array.max() >= NO_ID:
        return False
    ordered = np.sort(array, axis=2)
    return not ((ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)).any()


def beyond_ids(array: NDArray) -> bool:
    """Whether ``[…, layer, expert]`` has numbers that no id reaches."""
    if array.ndim not in (2, 3) or not array.size or array.shape[-1] < 4 or array.shape[-2] > MOST_LAYERS:
        return False
    return bool(array.max() >= NO_ID and np.isfinite(array).all() and (array >= 0).all())


def sums_alike(array: NDArray) -> bool:
    """Whether ``[…, layer, expert]`` sums to the same in all layers, as counts of the same tokens and shares do."""
    if array.ndim not in (2, 3) or array.shape[-2] < 2 or array.shape[-1] < 4 or not array.size:
        return False
    values = array[:LOOKED_AT].astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        return False
    whole = array.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    if not whole and (array.ndim == 3 or len(array) > MOST_LAYERS):
        return False  # a router's probabilities, token by token
    sums = values.sum(axis=-1)
    # Shares may be rounded.
    same = np.allclose(sums, sums[..., :1], rtol=1e-9 if whole else 1e-2, atol=0) and (sums > 0).all()
    # The ids of a row differ; rows that all hold one choice have equal sums too, and are for others to judge.
    rows = values.reshape(-1, array.shape[-1])
    repeated = (np.diff(np.sort(rows, axis=1), axis=1) == 0).any() or not whole
    return bool(same and repeated and not (rows == rows[0]).all())
