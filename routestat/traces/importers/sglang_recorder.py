"""SGLang's expert-distribution recorder in its ``per_token`` mode: ``.pt`` files, one per rank.

A file is ``{records, last_physical_to_logical_map [layers, physical]}``; a record is one forward pass:
``forward_pass_id, rank, input_ids, positions, extend_seq_lens`` (None when decoding), ``forward_mode`` (1 extend,
2 decode, 3 mixed, 4 idle; the speculative ones beyond are refused) and ``topk_ids_of_layer [layers, tokens, 8]``
int32. The 8 is fixed in the recorder: slots beyond k, dense layers and padding are −1. Ids are *physical* (replicas
of an expert have their own) and are mapped back by the map, which is the last one: if experts were moved while
recording, earlier passes are mapped wrongly, and nothing in the file would tell. Mode ``stat`` holds
counts per expert only and is refused.

The recorder keeps no request ids. In an extend pass every stretch of `extend_seq_lens` is one request; a stretch
that starts beyond position 0, and every row of a decode pass, goes to the running request that expects that
position, in the order of the batch (the scheduler keeps it). Where several expect it the choice is a guess, and
the metadata counts them. Tensor-parallel ranks record the same passes: repeats are dropped.

Source: sgl-project/sglang, ``eplb/expert_distribution.py`` (``_DetailSinglePassGatherer``, ``_DetailAccumulator``).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.checks import narrow
from routestat.traces.importers.imported import Imported, Wanted, settle
from routestat.traces.importers.misspelt import Misspelt
from routestat.traces.importers.opening import (
    files_of,
    integers,
    kind_of,
    left_out,
    listed,
    reason,
    torch_file,
    whole_number,
)

FIELDS = ("forward_pass_id", "rank", "input_ids", "positions", "topk_ids_of_layer")
READ = (*FIELDS, "records", "last_physical_to_logical_map", "extend_seq_lens", "forward_mode")
WIDTH = 8
EXTEND, DECODE, MIXED, IDLE = 1, 2, 3, 4


@dataclass
class _Pass:
    rank: int
    number: int
    token: NDArray[np.integer]
    position: NDArray[np.integer]
    lengths: list[int]
    mode: int
    experts: NDArray[np.integer]


@dataclass
class _Request:
    rank: int
    expects: int
    decoded: bool = False
    rows: list[tuple[NDArray[np.integer], NDArray[np.integer], int, bool]] = field(default_factory=list)


def read_recording(path: Path, wanted: Wanted) -> Imported:
    """Read a ``per_token`` recording: one ``.pt``, or a folder with one per rank.

    Raises
    ------
    FormatError
        Naming the file, the record and the field; or saying that the mode recorded counts only.
    """
    passes, maps = [], []
    misspelt, files = Misspelt(READ), files_of(path, (".pt",))
    for file in files:
        held = _opened(file)
        misspelt.look(held)
        maps.append(
            integers(f"{file}: last_physical_to_logical_map", held["last_physical_to_logical_map"], 2)
        )
        passes += [one for one in _passes(file, held["records"], maps[-1]) if len(one.token)]
    if not passes:
        raise FormatError(f"{path}: no forward pass with tokens was recorded")
    if len({one.experts.shape[1:] for one in passes}) > 1:
        raise FormatError(f"{path}: topk_ids_of_layer differs in layers or width from record to record")
    unique, repeats = _without_repeats(passes)
    requests, unsure = _requests(unique)
    moved = any((one != np.arange(one.shape[1])).any() for one in maps)
    notes = [*_notes(repeats, unsure, moved), *misspelt.notes(), *left_out(path, files)]
    experts = np.concatenate([rows for request in requests for rows, *_ in request.rows])
    used = (experts >= 0).any(axis=(0, 1))
    top_k = int(np.flatnonzero(used).max()) + 1 if used.any() else 1
    if wanted.top_k not in (None, top_k):
        raise FormatError(f"{path}: topk_ids_of_layer uses {top_k} slots where --top-k says {wanted.top_k}")
    if top_k == WIDTH:
        notes.append(f"all {WIDTH} slots of the recorder are used: it keeps no more, whatever the model's k")
    sizes = [sum(len(rows[0]) for rows in request.rows) for request in requests]
    return settle(
        path,
        narrow(experts[:, :, :top_k]),
        np.repeat(np.arange(len(requests)), sizes),
        np.concatenate([np.arange(len(r[0])) + r[2] for request in requests for r in request.rows]),
        wanted,
        n_experts=int(max(one.max() for one in maps)) + 1,
        token=np.concatenate([rows[1] for request in requests for rows in request.rows]),
        decode=np.concatenate([np.full(len(r[0]), r[3]) for request in requests for r in request.rows]),
        described={"rank": [request.rank for request in requests]},
        notes=notes,
        engine="sglang",
        extra={"unit": "a request, put together from passes by batch order and position"},
    )


def _opened(file: Path) -> dict[str, Any]:
    held = torch_file(file)
    if not isinstance(held, dict):
        raise FormatError(f"{file}: wanted a dictionary with records, got {kind_of(held)}")
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


def _passes(file: Path, records: Any, physical_to_logical: NDArray) -> Iterator[_Pass]:
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
            raise FormatError(
                f"{where}: topk_ids_of_layer has ids {experts.min()} … {experts.max()} where the map knows "
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
                f"{where}: forward_mode {mode} is speculative decoding: rows of drafts that were rejected cannot be "
                "told from the others; record without it"
            )
        yield _Pass(
            whole_number(where, record, "rank"),
            whole_number(where, record, "forward_pass_id"),
            token,
            position,
            [1] * len(token) if lengths is None else [n for n in lengths if n],
            DECODE if lengths is None else mode,
            np.where(experts < 0, -1, logical).transpose(1, 0, 2),
        )


def _without_repeats(passes: list[_Pass]) -> tuple[list[_Pass], int]:
    passes = sorted(passes, key=lambda one: (one.number, one.rank))
    seen: set[tuple[Any, ...]] = set()
    unique = []
    for one in passes:
        key = (one.number, one.token.tobytes(), one.position.tobytes(), one.experts.tobytes())
        if key not in seen:
            seen.add(key)
            unique.append(one)
    return unique, len(passes) - len(unique)


def _requests(passes: list[_Pass]) -> tuple[list[_Request], int]:
    """Rows of the passes as requests, and how many stretches could have belonged to several."""
    found: list[_Request] = []
    unsure = 0
    running: dict[int, list[_Request]] = {}
    for one in passes:
        batch, start, after = running.setdefault(one.rank, []), 0, -1
        expecting: dict[int, list[int]] = defaultdict(list)
        for index, request in enumerate(batch):
            expecting[request.expects].append(index)
        served: set[int] = set()
        for length in one.lengths:
            rows, first = slice(start, start + length), int(one.position[start])
            fits = [i for i in expecting.get(first, ()) if first and i not in served]
            unsure += len(fits) > 1
            if not fits:
                found.append(_Request(one.rank, first))
                batch.append(found[-1])
            # Requests keep their order in the batch, so the next one that fits is the likeliest.
            after = next((i for i in fits if i > after), fits[0] if fits else len(batch) - 1)
            decoding = one.mode == DECODE or (one.mode == MIXED and length == 1 and bool(fits))
            batch[after].rows.append((one.experts[rows], one.token[rows], first, decoding))
            batch[after].expects = first + length
            batch[after].decoded |= decoding
            served.add(after)
            start += length
        if one.mode == DECODE:
            # A decode pass steps every running request: one that was stepped before and is left out has ended.
            batch[:] = [r for i, r in enumerate(batch) if not r.decoded or i in served]
    return found, unsure


def _notes(repeats: int, unsure: int, moved: bool) -> list[str]:
    notes = []
    if repeats:
        notes.append(f"dropped {repeats} passes that another rank recorded alike")
    if unsure:
        notes.append(
            f"the recorder keeps no request ids: {unsure} stretches of rows fitted several requests and went to "
            "the first in the order of the batch"
        )
    if moved:
        notes.append("physical ids were mapped to experts by the last map; earlier maps are not in the file")
    return notes
