"""SGLang's expert-distribution recorder in its ``per_token`` mode: ``.pt`` files, one per rank.

A file is ``{records, last_physical_to_logical_map [layers, physical]}``; a record is one forward pass:
``forward_pass_id, rank, input_ids, positions, extend_seq_lens`` (None when decoding), ``forward_mode`` (1 extend,
2 decode, 3 mixed, 4 idle; the speculative ones beyond are refused) and ``topk_ids_of_layer [layers, tokens, 8]``
int32. The 8 is fixed in the recorder: slots beyond k, dense layers and padding are −1. Ids are *physical* (replicas
of an expert have their own) and are mapped back by the map, which is the last one: if experts were moved while
recording, earlier passes are mapped wrongly, which the file does not show. Mode ``stat`` holds
counts per expert only and is refused.

The recorder keeps no request ids; see `sglang_requests` for how rows are joined. Where several requests expect a
row the assignment is a guess, and the metadata counts them. Tensor-parallel ranks record the same passes: repeats are
dropped.

Source: sgl-project/sglang, ``eplb/expert_distribution.py`` (``_DetailSinglePassGatherer``, ``_DetailAccumulator``).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.clusters.units import LABEL
from routestat.traces.importers.common.array_files import integers
from routestat.traces.importers.common.assembly import ImportedTrace, check_imported
from routestat.traces.importers.common.checks import narrow
from routestat.traces.importers.common.json_files import whole_number
from routestat.traces.importers.common.messages import kind_of, listed, reason
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import files_of, note_unread_files
from routestat.traces.importers.common.torch_files import torch_file
from routestat.traces.importers.sglang_requests import (
    DECODE,
    EXTEND,
    IDLE,
    Pass,
    Request,
    Requests,
    requests_of,
)

FIELDS = ("forward_pass_id", "rank", "input_ids", "positions", "topk_ids_of_layer")
READ = (*FIELDS, "records", "last_physical_to_logical_map", "extend_seq_lens", "forward_mode")
WIDTH = 8


def read_recording(path: Path, options: ImportOptions) -> ImportedTrace:
    """Read a ``per_token`` recording: one ``.pt``, or a folder with one per rank.

    Raises
    ------
    FormatError
        Naming the file, the record and the field; or for a mode that recorded counts only.
    """
    passes, maps = [], []
    misspelt, files = MisspeltNames(READ), files_of(path, (".pt",))
    for file in files:
        held = _opened(file)
        misspelt.look(held)
        maps.append(
            integers(f"{file}: last_physical_to_logical_map", held["last_physical_to_logical_map"], 2)
        )
        passes += [one for one in _passes(file, held["records"], maps[-1]) if len(one.token)]
    if not passes:
        raise FormatError(f"{path}: no forward pass with tokens was recorded")
    odd = next((one for one in passes if one.experts.shape[1:] != passes[0].experts.shape[1:]), None)
    if odd is not None:
        raise FormatError(
            f"{path}: forward pass {odd.number} of rank {odd.rank}: topk_ids_of_layer has [layers, slots] "
            f"{list(odd.experts.shape[1:])}, in pass {passes[0].number} of rank {passes[0].rank} it has "
            f"{list(passes[0].experts.shape[1:])}"
        )
    unique, repeats = _without_repeats(passes)
    found = requests_of(unique)
    requests = found.requests
    moved = any((one != np.arange(one.shape[1])).any() for one in maps)
    notes = [*_notes(repeats, found, moved), *misspelt.notes(), *note_unread_files(path, files)]
    experts = np.concatenate([rows for request in requests for rows, *_ in request.rows])
    used = (experts >= 0).any(axis=(0, 1))
    top_k = int(np.flatnonzero(used).max()) + 1 if used.any() else 1
    if options.top_k not in (None, top_k):
        raise FormatError(f"{path}: topk_ids_of_layer uses {top_k} slots where --top-k says {options.top_k}")
    if top_k == WIDTH:
        notes.append(f"all {WIDTH} slots of the recorder are used: it keeps no more, whatever the model's k")
    sizes = [sum(len(rows[0]) for rows in request.rows) for request in requests]
    return check_imported(
        path,
        narrow(experts[:, :, :top_k]),
        np.repeat(np.arange(len(requests)), sizes),
        np.concatenate([np.arange(len(r[0])) + r[2] for request in requests for r in request.rows]),
        options,
        n_experts=int(max(one.max() for one in maps)) + 1,
        token=np.concatenate([rows[1] for request in requests for rows in request.rows]),
        decode=np.concatenate([np.full(len(r[0]), r[3]) for request in requests for r in request.rows]),
        described=_described(requests),
        places=[f"rank {one.rank}, begun in forward pass {one.begun}" for one in requests],
        notes=notes,
        engine="sglang",
        extra={"unit": "a request, put together from passes by batch order and position"},
    )


def _opened(file: Path) -> dict[str, Any]:
    held = torch_file(file)
    if not isinstance(held, dict):
        raise FormatError(f"{file}: expected a dictionary with records, got {kind_of(held)}")
    records = held.get("records", [])
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise FormatError(f"{file}: records must be a list of dictionaries, got {kind_of(records)}")
    counts = "logical_count" in held or any("global_physical_count" in record for record in records)
    if counts:
        raise FormatError(
            f"{file}: recorded in mode stat or per_pass, which keeps counts per expert and not what each token "
            "chose; record again with --expert-distribution-recorder-mode per_token"
        )
    for name in ("records", "last_physical_to_logical_map"):
        if name not in held:
            raise FormatError(f"{file}: no {name}; it has {listed(held)}")
    return held


def _passes(file: Path, records: Any, physical_to_logical: NDArray[np.integer]) -> Iterator[Pass]:
    for index, record in enumerate(records):
        where = f"{file}: records[{index}]"
        absent = [name for name in FIELDS if name not in record]
        if absent:
            raise FormatError(f"{where}: no {', '.join(absent)}")
        token = integers(f"{where}.input_ids", record["input_ids"], 1)
        position = integers(f"{where}.positions", record["positions"], 1)
        experts = integers(f"{where}.topk_ids_of_layer", record["topk_ids_of_layer"], 3)
        if experts.shape[:2] != (len(physical_to_logical), len(token)) or len(position) != len(token):
            raise FormatError(
                f"{where}: topk_ids_of_layer is {list(experts.shape)} for {len(token)} input_ids, {len(position)} "
                f"positions and a map of {len(physical_to_logical)} layers"
            )
        n_physical = physical_to_logical.shape[1]
        if experts.size and (experts.min() < -1 or experts.max() >= n_physical):
            row = int(np.argmax(((experts < -1) | (experts >= n_physical)).any(axis=(0, 2))))
            raise FormatError(
                f"{where}, row {row}: topk_ids_of_layer has ids {experts.min()} … {experts.max()} where the map knows "
                f"{n_physical} (fused shared experts are counted beyond them: record without fusion)"
            )
        logical = np.take_along_axis(physical_to_logical[:, None, :], np.maximum(experts, 0), axis=2)
        lengths = record.get("extend_seq_lens")
        if lengths is not None:
            lengths = integers(f"{where}.extend_seq_lens", lengths, 1).tolist()
            if min(lengths, default=0) < 0 or sum(lengths) != len(token):
                raise FormatError(
                    f"{where}: extend_seq_lens {reason(lengths)} do not add up to {len(token)} input_ids"
                )
        usual = DECODE if lengths is None else EXTEND
        mode = whole_number(where, {"forward_mode": usual, **record}, "forward_mode")
        if mode > IDLE:
            raise FormatError(
                f"{where}: forward_mode {mode} is speculative decoding: rows of rejected drafts cannot be "
                "distinguished; record without it"
            )
        yield Pass(
            whole_number(where, record, "rank"),
            whole_number(where, record, "forward_pass_id"),
            token,
            position,
            [1] * len(token) if lengths is None else [n for n in lengths if n],
            DECODE if lengths is None else mode,
            np.where(experts < 0, -1, logical).transpose(1, 0, 2),
        )


def _without_repeats(passes: list[Pass]) -> tuple[list[Pass], int]:
    passes = sorted(passes, key=lambda one: (one.number, one.rank))
    seen: set[tuple[Any, ...]] = set()
    unique = []
    for one in passes:
        key = (one.number, one.token.tobytes(), one.position.tobytes(), one.experts.tobytes())
        if key not in seen:
            seen.add(key)
            unique.append(one)
    return unique, len(passes) - len(unique)


def _described(requests: tuple[Request, ...]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {"rank": [request.rank for request in requests]}
    if any(request.label for request in requests):
        columns[LABEL] = [f"may be one {request.label}" if request.label else None for request in requests]
    return columns


def _notes(repeats: int, found: Requests, moved: bool) -> list[str]:
    notes = []
    if repeats:
        notes.append(f"dropped {repeats} passes that another rank recorded alike")
    if found.n_guessed:
        notes.append(
            f"the recorder keeps no request ids: {found.n_guessed} stretches of rows fitted several requests and were "
            "assigned to the first in the order of the batch"
        )
    if found.n_ambiguous:
        notes.append(
            f"{found.n_ambiguous} stretches of rows begin where an earlier request stopped: the next chunk of that "
            "request, or a new one whose prefix came from the cache; the file does not show which, so they are "
            "separate documents, in one cluster with that request"
        )
    cached = sum(one.rows[0][2] > 0 and not one.label for one in found.requests)
    if cached:
        notes.append(
            f"{cached} requests begin beyond position 0: their first tokens came from the prefix cache, or were routed "
            "before the recording began, and have no rows"
        )
    if moved:
        notes.append("physical ids were mapped to experts by the last map; earlier maps are not in the file")
    return notes
