"""Files that hold counts per expert and nothing per token: recognised by their kind, refused with the reason.

A count says how often an expert was chosen. Which experts a token chose together, what the next layer or the next token
chose, and how far documents differ is not in it, and no statistic brings it back. Load balance and placement need only
counts; for the rest the run must be recorded per token.

The kind is told by names (``expert_load``, ``tokens_per_expert``, ``logical_count``, columns ``expert,count``), or by
numbers that cannot be ids: an array of several layers of which every layer has the same sum, or sums of 1.

Sources: vllm-project/vllm, ``distributed/eplb`` (``expert_load``); sgl-project/sglang, ``eplb/expert_distribution.py``
(``logical_count``); NVIDIA/TensorRT-LLM, ``_torch/expert_statistic.py``; NVIDIA/Megatron-LM and
microsoft/DeepSpeed (``tokens_per_expert``, ``exp_counts``); allenai/OLMoE, ``run_routing_analysis.py``.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError

#: How to record per token, by what a name speaks of.
VLLM = "vLLM: --enable-return-routed-experts"
SGLANG = "SGLang: the recorder's mode per_token, or return_routed_experts"
TENSORRT = "TensorRT-LLM: the raw tensors (rank*_raw.safetensors), or routed_experts of the completion"
MEGATRON = "Megatron-LM: --moe-routing-trace-path"
ANY = "the ids that the router chose, [tokens, layers, k]"
EXPERT_STATISTIC = f"TensorRT-LLM's expert statistic; per token: {TENSORRT}"

NAMES = re.compile(
    r"(expert|exp|routing|router)s?_?(token)?_?(load|count|counts|usage|hist|histogram|freq|frequency|frequencies|stats)s?"
    r"|(num_)?tokens_per_(local_)?expert|(global_)?(physical|logical)_(expert_)?counts?"
    r"|(expert_)?activation_counts?|hits_per_expert|load_per_expert|n_hits|cooccurrence",
    re.IGNORECASE,
)
#: Names of what only a record per token has.
PER_TOKEN = re.compile(
    r"token(s|_ids?|_idx|_index|_strs)?|pos(ition)?s?|input_ids|topk_ids|top_indices|experts?_ids|activated_expert_ids"
    r"|.*routed_experts|activations|records|data|document|doc|req(uest)?(_id)?|prompt(_id)?|sample(_id)?|turn|step|slot|seq(_id)?",
    re.IGNORECASE,
)
EXPERT = re.compile(r"expert(_?(id|idx|index))?|eid", re.IGNORECASE)
COUNT = re.compile(
    r"(token_?)?(counts?|load|hits|freq(uency)?|usage|share|n|activations?|num_tokens|tokens)(_?count)?|.*_counts?|.*_load",
    re.IGNORECASE,
)
DEPTH = 3
#: No model has more; an axis beyond this holds tokens.
MOST_LAYERS = 128


def refuse_counts(path: Path | str, what: str) -> NoReturn:
    """Refuse a file of counts.

    Raises
    ------
    FormatError
        Always: with the reason, and what can be done with the file and what instead of it.
    """
    raise FormatError(
        f"{path}: counts per expert only ({what}). They tell the load of each expert and serve balance and placement; "
        "which experts a token chose together, and what the next layer or token chose, is not in them"
    )


def refuse_if_counts(path: Path) -> None:
    """Look into a file of text and refuse it if it holds counts only; anything else is let pass.

    Raises
    ------
    FormatError
        If it holds counts only.
    """
    if not path.is_file():
        return
    with path.open("rb") as handle:
        head = handle.read(1 << 16)
    if head.lstrip()[:1] in (b"{", b"["):
        what = _counts_in_json(path)
    elif b"\0" not in head and head:
        what = _counts_in_table(path)
    else:
        what = None
    if what is not None:
        refuse_counts(path, what)


def counts_in_arrays(arrays: Mapping[str, NDArray]) -> str | None:
    """What says that arrays hold counts; None if nothing does.

    Arrays that other readers know are theirs: `experts`, `routed_experts` and the like are never counts.
    """
    if not arrays or any(PER_TOKEN.fullmatch(name) or name == "experts" for name in arrays):
        return None
    for name, array in arrays.items():
        if array.dtype.kind in "iuf" and NAMES.fullmatch(name):
            return f"an array {name} {list(array.shape)}; per token: {ANY}"
    if all(array.dtype.kind in "iuf" and _sums_alike(array) for array in arrays.values()):
        shapes = ", ".join(str(list(array.shape)) for array in islice(arrays.values(), 3))
        return f"{shapes}: all layers have the same sum, as counts of the same tokens have; per token: {ANY}"
    return None


def _sums_alike(array: NDArray) -> bool:
    """Whether ``[…, layer, expert]`` sums to the same in all layers, and to more than ids would."""
    if array.ndim not in (2, 3) or array.shape[-2] < 2 or array.shape[-1] < 4 or not array.size:
        return False
    values = array.astype(np.float64)
    if not np.isfinite(values).all() or (values < 0).any():
        return False
    sums = values.sum(axis=-1)
    whole = array.dtype.kind in "iu" or bool((values == np.floor(values)).all())
    if not whole and (array.ndim == 3 or len(array) > MOST_LAYERS):
        return False  # a router's probabilities, token by token
    same = np.allclose(sums, sums[..., :1], rtol=1e-9 if whole else 1e-3, atol=0)
    # k ids of a row differ; rows that all hold one choice have equal sums too, and are for others to judge.
    rows = values.reshape(-1, array.shape[-1])
    repeated = bool((np.diff(np.sort(rows, axis=1), axis=1) == 0).any())
    alike = bool((rows == rows[0]).all())
    return (
        bool(same)
        and not alike
        and bool((sums > 0).all())
        and (repeated or not whole or values.max() >= 1024)
    )


def _counts_in_json(path: Path) -> str | None:
    """The name of a field that holds counts, in the first object of the file."""
    record = _first_object(path)
    if record is None:
        return None
    keys = list(_keys(record, DEPTH))
    if any(PER_TOKEN.fullmatch(key) for key in keys):
        return None
    name = next((key for key in keys if NAMES.fullmatch(key)), None)
    if name is not None:
        return f"{name}; per token: {_advice(name)}"
    has_expert = next((key for key in keys if EXPERT.fullmatch(key)), None)
    has_count = next((key for key in keys if COUNT.fullmatch(key)), None)
    if has_expert and has_count:
        return f"{has_expert} and {has_count}; per token: {ANY}"
    if {"num_experts", "num_experts_per_token"} <= set(keys):
        return EXPERT_STATISTIC
    if _layers_of_counts(record):
        return f"numbers by layer and expert; per token: {ANY}"
    return None


def _advice(name: str) -> str:
    said = name.lower()
    if "logical_count" in said or "physical_count" in said:
        return SGLANG
    if "expert_load" in said:
        return VLLM
    return MEGATRON if "tokens_per" in said else ANY


def _first_object(path: Path) -> dict[str, Any] | None:
    """The first object of a JSON or JSON Lines file."""
    try:
        with path.open(encoding="utf-8") as handle:
            first = next((line for line in handle if line.strip()), "")
        try:
            value = json.loads(first)
        except ValueError:
            value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return None
    while isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, dict) else None


def _keys(value: Any, depth: int) -> Iterator[str]:
    """The names of an object and of those in it."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict) and depth:
        for key, item in islice(value.items(), 64):
            yield str(key)
            yield from _keys(item, depth - 1)


def _layers_of_counts(record: Mapping[str, Any]) -> bool:
    """Whether all there is are numbers, one per expert, by layer: ``{"0": [12, 7, …], "1": {"0": 5, …}}``."""
    rows = []
    for key, value in record.items():
        numbers = list(value.values()) if isinstance(value, dict) else value
        if not re.search(r"\d+$", str(key)) or not isinstance(numbers, list) or len(numbers) < 4:
            return False
        if not all(type(one) in (int, float) for one in numbers):
            return False
        rows.append(numbers)
    if len(rows) < 2 or len({len(row) for row in rows}) > 1:
        return False
    return _sums_alike(np.array(rows, np.float64))


def _counts_in_table(path: Path) -> str | None:
    """Columns by which a table of text counts: an expert and how often, or a column per expert and a row per layer."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            lines = (line for line in handle if line.strip() and not line.startswith("#"))
            head = next(lines, "")
            separator = max(",\t;", key=head.count)
            names = [name.strip() for name in next(csv.reader([head], delimiter=separator), [])]
            if len(names) < 2 or any(PER_TOKEN.fullmatch(name.replace(" ", "_")) for name in names):
                return None
            rows = list(islice(csv.reader(lines, delimiter=separator), 4096))
    except (UnicodeDecodeError, csv.Error, OSError):
        return None
    plain = [name.replace(" ", "_") for name in names]
    expert = next((name for name in plain if EXPERT.fullmatch(name)), None)
    count = next((name for name in plain if COUNT.fullmatch(name)), None)
    if expert and count:
        return f"columns {expert} and {count}; per token: {ANY}"
    named = next((name for name in plain if NAMES.fullmatch(name)), None)
    if named:
        return f"column {named}; per token: {_advice(named)}"
    return _one_column_an_expert(plain, rows)


def _one_column_an_expert(names: Sequence[str], rows: list[list[str]]) -> str | None:
    """Columns ``expert_0 … expert_63`` with a row per layer, whose sums are alike."""
    columns = [
        at for at, name in enumerate(names) if re.fullmatch(r"(?:expert|exp|e)_?\d+", name, re.IGNORECASE)
    ]
    try:
        table = np.array([[float(row[at]) for at in columns] for row in rows if row], np.float64)
    except (ValueError, IndexError):
        return None
    if len(columns) < 4 or table.ndim != 2 or not _sums_alike(table):
        return None
    return f"columns {names[columns[0]]} … {names[columns[-1]]}, all rows of one sum; per token: {ANY}"
