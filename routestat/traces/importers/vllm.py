"""vLLM's routed experts (``--enable-return-routed-experts``), in the four forms they have had.

The form is recognised by the content, never by a version:

1. an array ``[tokens, layers, k]`` in an ``.npy`` (one request), or several in an ``.npz`` (one each);
2. JSON with nested lists: ``prompt_routed_experts [P, layers, k]`` on the response and ``routed_experts
   [G, layers, k]`` on the choice; a row of −1 was served from the prefix cache and is missing;
3. ``choices[i].routed_experts`` a string: base64 of an ``.npy`` ``[tokens − 1, layers, k]``, uint8 or uint16;
4. the same an object ``{data: base64 of raw integers, shape, dtype, start}``; `start` prompt rows were trimmed.

JSON is one response, a list of them, or one a line; a folder of files is read whole. One request or choice is one
document. Prompt rows are prefill, the others decode; without ``prompt_routed_experts`` the prompt's length is taken
from ``prompt_token_ids`` or ``usage.prompt_tokens``. The last sampled token is never forwarded and has no row. The
layer axis may hold all layers of the model, with zeros for dense ones: then the MoE layers must be named. Responses of
failed requests stop the reading, or are left out on request.

Sources: vllm-project/vllm pull requests 28284, 38939 and 44638; vllm-project/router pull request 184 (shape and
types); ai-dynamo/dynamo pull request 10529 (`start`).
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_axes import oriented
from routestat.traces.importers.common.array_files import (
    from_buffer,
    integers,
    npy_bytes,
    numpy_file,
    unbase64,
)
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import (
    CLUSTER_FIELDS,
    SourceDocument,
    cluster_of,
)
from routestat.traces.importers.common.failed_records import FailedRecords, responses
from routestat.traces.importers.common.json_files import whole_number
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.requests import join_requests
from routestat.traces.importers.common.source_files import files_of

SUFFIXES = (".npy", ".npz", ".json", ".jsonl")
READ = (
    *CLUSTER_FIELDS,
    "id",
    "request_id",
    "choices",
    "outputs",
    "prompt_token_ids",
    "token_ids",
    "prompt_routed_experts",
    "routed_experts",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "data",
    "shape",
    "dtype",
    "start",
)
# Types of payloads of the fourth form without a dtype, by the bytes per id.
BY_WIDTH = {1: "uint8", 2: "uint16", 4: "int32"}


def read_vllm(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read responses or arrays of vLLM.

    Raises
    ------
    FormatError
        Naming the file, the line or item, and the field that is wrong.
    """
    found: list[SourceDocument] = []
    failed = FailedRecords(path, options.skip_failed)
    misspelt = MisspeltNames(READ, options.cluster)
    files = files_of(path, SUFFIXES)
    for file in files:
        if file.suffix in (".npy", ".npz"):
            found += _from_arrays(file, options)
        else:
            for where, record in responses(file, failed):
                misspelt.look(record)
                found += _from_response(where, record, f"{file.stem} {len(found)}", options, failed)
    return join_requests(path, found, options, "vllm", failed, misspelt, files)


def _from_arrays(file: Path, options: ImportOptions) -> Iterator[SourceDocument]:
    arrays = numpy_file(file)
    if {"prompt_routed_experts", "routed_experts"} <= set(arrays):
        record = {name: arrays[name] for name in ("prompt_routed_experts", "routed_experts")}
        yield _document(str(file), record, record, file.stem, str(file.stem), options)
        return
    for name, array in arrays.items():
        where = f"{file}: {name}" if name else str(file)
        experts = oriented(integers(f"{where} [tokens, layers, k]", array, 3), options.axes)
        yield SourceDocument(where, narrow(experts), f"{file.stem} {name}".strip(), axes_known=False)


def _from_response(
    where: str, record: dict[str, Any], fallback: str, options: ImportOptions, failed: FailedRecords
) -> Iterator[SourceDocument]:
    said = record.get("request_id") or record.get("id")
    label = str(said or fallback)
    # Answers to one request share its prompt, on one line or several. Ids are unique in a file.
    request = fallback if said is None else f"{fallback.rsplit(' ', 1)[0]} {said}"
    choices = record.get("choices", record.get("outputs"))
    if choices is None or choices == []:
        if _has_routing(where, record, record, failed):
            yield _document(where, record, record, label, request, options)
        return
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise FormatError(f"{where}: choices must be a list of objects")
    for index, choice in enumerate(choices):
        name, place = label if len(choices) == 1 else f"{label} choice {index}", f"{where}, choices[{index}]"
        if _has_routing(place, record, choice, failed):
            yield _document(place, record, choice, name, request, options)


def _has_routing(where: str, record: dict[str, Any], choice: dict[str, Any], failed: FailedRecords) -> bool:
    lacks = None if choice.get("routed_experts") is not None else "no routed_experts"
    advice = "was the server started with --enable-return-routed-experts?"
    return failed.keep(where, record, None if choice is record else choice, lacks, advice)


def _document(
    where: str,
    record: dict[str, Any],
    choice: dict[str, Any],
    name: str,
    request: str,
    options: ImportOptions,
) -> SourceDocument:
    """Read one choice of a response; what it shares with other choices is in the response."""
    experts, first = _rows(f"{where}.routed_experts", choice["routed_experts"], options.axes)
    prompt_ids = _either(choice, record, "prompt_token_ids")
    answer_ids = choice.get("token_ids")
    n_prompt = _n_prompt(where, record, prompt_ids)
    lists = _either(choice, record, "prompt_routed_experts")
    if lists is not None:
        prompt, first = _rows(f"{where}.prompt_routed_experts", lists, options.axes)
        if n_prompt is not None and first + len(prompt) != n_prompt:
            raise FormatError(
                f"{where}: prompt_routed_experts has {len(prompt)} rows, the prompt has {n_prompt} tokens"
            )
        n_prompt = first + len(prompt)
        experts = _stacked(where, prompt, experts)
    tokens = None
    if prompt_ids is not None and answer_ids is not None:
        tokens = np.concatenate(
            [
                integers(f"{where}.prompt_token_ids", prompt_ids, 1),
                integers(f"{where}.token_ids", answer_ids, 1),
            ]
        ).astype(np.int64)
    n_tokens = len(tokens) if tokens is not None else _n_tokens(record, n_prompt, choice is not record)
    rows = first + len(experts)
    if n_tokens is not None and rows not in (n_tokens, n_tokens - 1):
        raise FormatError(
            f"{where}: routed_experts covers {rows} tokens where prompt and answer have {n_tokens}, "
            "the last of them never forwarded"
        )
    cluster = cluster_of(where, record, options) or request
    known = n_tokens is not None
    return SourceDocument(
        where, narrow(experts), name, first, n_prompt, tokens, n_tokens, cluster, axes_known=known
    )


def _either(choice: dict[str, Any], record: dict[str, Any], name: str) -> Any:
    """Return a field of the choice, or of the response where the choice has none or null."""
    return record.get(name) if choice.get(name) is None else choice[name]


def _stacked(where: str, prompt: NDArray[np.integer], answer: NDArray[np.integer]) -> NDArray[np.integer]:
    if not len(answer):
        return prompt
    if not len(prompt):
        return answer
    if prompt.shape[1:] != answer.shape[1:]:
        raise FormatError(
            f"{where}: prompt_routed_experts is {list(prompt.shape)}, routed_experts {list(answer.shape)}"
        )
    return np.concatenate([prompt, answer])


def _rows(where: str, value: Any, axes: str | None) -> tuple[NDArray[np.integer], int]:
    """Read the experts ``[token, layer, slot]`` of one field in any form, and the position of the first."""
    if not isinstance(value, dict):
        held = npy_bytes(where, unbase64(where, value)) if isinstance(value, str) else value
        return oriented(integers(f"{where} [tokens, layers, k]", held, 3), axes), 0
    raw = unbase64(f"{where}.data", value.get("data"))
    shape = integers(f"{where}.shape", value.get("shape"), 1).tolist()
    if len(shape) != 3 or min(shape) < 0:
        raise FormatError(f"{where}.shape: expected [tokens, layers, k], got {shape}")
    dtype = value.get("dtype") or BY_WIDTH.get(len(raw) // max(prod(shape), 1), "uint8")
    first = whole_number(where, value, "start") if value.get("start") is not None else 0
    return oriented(from_buffer(where, raw, dtype, shape), axes), first


def _n_prompt(where: str, record: dict[str, Any], prompt_ids: Any) -> int | None:
    if prompt_ids is not None:
        return len(integers(f"{where}.prompt_token_ids", prompt_ids, 1))
    usage = record.get("usage")
    return whole_number(f"{where}: usage", usage, "prompt_tokens") if isinstance(usage, dict) else None


def _n_tokens(record: dict[str, Any], n_prompt: int | None, is_choice: bool) -> int | None:
    """Return the tokens of the document from `usage`, whose answer counts all choices together."""
    usage, alone = record.get("usage"), not is_choice or len(record.get("choices") or ()) == 1
    answered = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return n_prompt + answered if alone and n_prompt is not None and isinstance(answered, int) else None
