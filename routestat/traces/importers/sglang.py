"""SGLang's routed experts (``--enable-return-routed-experts``, ``return_routed_experts: true``).

``meta_info["routed_experts"]`` of ``/generate`` (or ``sgl_ext`` of an OpenAI-style choice) is base64 of raw
integers in C order, ``[prompt + answer − 1 − start, layers, k]``: int32 unless ``routed_experts_dtype`` gives
another; `start` is ``routed_experts_start_len`` of the request, 0 if it is not in the record. The layers are all
layers of the model, with zeros for dense ones; neither their number nor k is in the response, so k must be given.

JSON is one response, a list of them, or one a line; a folder of ``.json`` or ``.jsonl`` is read whole. One response
or choice is one document; prompt rows are prefill, the others decode; the last token is never forwarded. Responses
of failed requests stop the reading, or are left out on request. A ``.pt`` goes to `sglang_recorder`.

Sources: sgl-project/sglang pull requests 12162 and 17434, its documentation of the OpenAI API ("Returning Routed
Experts"); THUDM/slime pull request 2185 (`start`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import from_buffer, integer_type, integers, unbase64
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.documents import (
    CLUSTER_FIELDS,
    SourceDocument,
    cluster_of,
)
from routestat.traces.importers.common.failed_records import FailedRecords, responses
from routestat.traces.importers.common.json_files import inner, whole_number
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.requests import join_requests
from routestat.traces.importers.common.source_files import files_of
from routestat.traces.importers.sglang_recorder import read_recording

HOLDERS = ("meta_info", "sgl_ext", "sglext")
READ = (
    *CLUSTER_FIELDS,
    *HOLDERS,
    "id",
    "choices",
    "usage",
    "prompt_tokens",
    "completion_tokens",
    "routed_experts",
    "routed_experts_dtype",
    "routed_experts_start_len",
    "input_ids",
    "prompt_token_ids",
    "output_ids",
)


def read_sglang(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read responses of SGLang, or the ``.pt`` files of its recorder.

    Raises
    ------
    FormatError
        Naming the file, the line or item, and the field that is wrong; or if k was not given.
    """
    if path.suffix == ".pt" or (path.is_dir() and any(path.glob("*.pt"))):
        return read_recording(path, options)
    found: list[SourceDocument] = []
    failed = FailedRecords(path, options.skip_failed)
    misspelt = MisspeltNames(READ, options.cluster)
    files = files_of(path, (".json", ".jsonl"))
    for file in files:
        for where, record in responses(file, failed):
            misspelt.look(record)
            found += _from_response(where, record, options, f"{file.stem} {len(found)}", failed)
    return join_requests(path, found, options, "sglang", failed, misspelt, files)


def holder_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the object of a response or choice that holds ``routed_experts``, if there is one."""
    for name in HOLDERS:
        inner = record.get(name)
        if isinstance(inner, dict) and inner.get("routed_experts") is not None:
            return inner
    return None


def _from_response(
    where: str, record: dict[str, Any], options: ImportOptions, fallback: str, failed: FailedRecords
) -> Iterator[SourceDocument]:
    choices = record.get("choices")
    said = record.get("id") or inner(where, record, "meta_info").get("id")
    label = str(said or fallback)
    # Answers to one request share its prompt, on one line or several. Ids are unique in a file.
    request = fallback if said is None else f"{fallback.rsplit(' ', 1)[0]} {said}"
    if holder_of(record) is not None or not isinstance(choices, list) or not choices:
        if _has_routing(where, record, record, failed):
            yield _document(where, record, record, options, label, request)
        return
    for index, choice in enumerate(choices):
        if not isinstance(choice, dict):
            raise FormatError(f"{where}: choices[{index}] must be an object")
        name, place = label if len(choices) == 1 else f"{label} choice {index}", f"{where}, choices[{index}]"
        if _has_routing(place, record, choice, failed):
            yield _document(place, record, choice, options, name, request)


def _has_routing(where: str, record: dict[str, Any], choice: dict[str, Any], failed: FailedRecords) -> bool:
    lacks = None if holder_of(choice) is not None else f"no routed_experts in {' or '.join(HOLDERS)}"
    advice = "did the request set return_routed_experts?"
    return failed.keep(where, record, None if choice is record else choice, lacks, advice)


def _document(
    where: str,
    record: dict[str, Any],
    choice: dict[str, Any],
    options: ImportOptions,
    name: str,
    request: str,
) -> SourceDocument:
    held = holder_of(choice) or {}
    place = f"{where}.routed_experts"
    counts = inner(where, record, "usage") | inner(where, choice, "meta_info")
    n_prompt = whole_number(where, counts, "prompt_tokens")
    answer = choice.get("output_ids")
    n_answer = len(answer) if isinstance(answer, list) else whole_number(where, counts, "completion_tokens")
    first = whole_number(place, held, "routed_experts_start_len") if "routed_experts_start_len" in held else 0
    rows = n_prompt + n_answer - 1 - first
    dtype = integer_type(f"{place}_dtype", held.get("routed_experts_dtype") or "int32")
    raw = unbase64(place, held["routed_experts"])
    ids, rest = divmod(len(raw), max(rows, 1) * dtype.itemsize)
    if rows < 1 or rest or not ids:
        raise FormatError(
            f"{place}: {len(raw)} bytes of {dtype} do not divide into {rows} rows "
            f"(prompt {n_prompt} + answer {n_answer} − 1 − start {first})"
        )
    if options.top_k is None:
        raise FormatError(f"{place}: {ids} ids per token, that is layers × k; give k with --top-k")
    if ids % options.top_k:
        raise FormatError(f"{place}: {ids} ids per token are not a multiple of --top-k {options.top_k}")
    experts = from_buffer(place, raw, dtype, (rows, ids // options.top_k, options.top_k))
    tokens = _tokens(where, record, answer, n_prompt, n_answer)
    cluster = cluster_of(where, inner(where, record, "meta_info") | record, options) or request
    return SourceDocument(place, narrow(experts), name, first, n_prompt, tokens, n_prompt + n_answer, cluster)


def _tokens(
    where: str, record: dict[str, Any], answer: Any, n_prompt: int, n_answer: int
) -> NDArray[np.int64] | None:
    """Return the ids of prompt and answer; −1 where the response has none, None if it has none at all."""
    prompt = record.get("input_ids", record.get("prompt_token_ids"))
    if prompt is None and answer is None:
        return None
    tokens = np.full(n_prompt + n_answer, -1, np.int64)
    for name, ids, start, n in (
        ("input_ids", prompt, 0, n_prompt),
        ("output_ids", answer, n_prompt, n_answer),
    ):
        if ids is not None:
            given = integers(f"{where}.{name}", ids, 1)
            if len(given) != n:
                raise FormatError(f"{where}.{name}: {len(given)} ids where meta_info counts {n}")
            tokens[start : start + n] = given
    return tokens
