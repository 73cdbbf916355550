"""Which format a file is in, told from what is in it; and the reader of each."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from routestat.errors import FormatError
from routestat.traces.importers.arrays import read_arrays
from routestat.traces.importers.flame_moe import read_flame_moe
from routestat.traces.importers.imported import Imported, Wanted
from routestat.traces.importers.llama_cpp import DUMP, read_llama_cpp
from routestat.traces.importers.megatron import PATTERN, read_megatron
from routestat.traces.importers.opening import UNREADABLE, torch_file
from routestat.traces.importers.parquet import is_trace
from routestat.traces.importers.sglang import HOLDERS, read_sglang
from routestat.traces.importers.slime import KEY, read_slime
from routestat.traces.importers.tables.probing import is_table
from routestat.traces.importers.tables.reader import read_table
from routestat.traces.importers.tables.sources import COMPRESSED, expand, is_table_name
from routestat.traces.importers.vllm import SUFFIXES, read_vllm


class Format(NamedTuple):
    """A format's reader, what it is in words, and which fields of `Wanted` it heeds."""

    read: Callable[[Path, Wanted], Imported]
    words: str
    heeds: tuple[str, ...]


AXIS = ("layers", "n_experts", "drop_dummy_rows")
# Of formats whose records may say which of them belong together.
RECORDS = (*AXIS, "cluster")
FORMATS = {
    "arrays": Format(read_arrays, "plain arrays", ("drop_dummy_rows", "cluster")),
    "vllm": Format(read_vllm, "vLLM's routed experts", RECORDS),
    "sglang": Format(
        read_sglang, "SGLang's routed experts or expert-distribution recorder", (*RECORDS, "top_k")
    ),
    "megatron": Format(read_megatron, "Megatron-LM's router trace", (*AXIS, "sequence_length")),
    "flame-moe": Format(
        read_flame_moe, "FLAME-MoE-Traces", (*AXIS, "end_of_document", "sequence_length", "iteration")
    ),
    "llama-cpp": Format(read_llama_cpp, "llama.cpp's ffn_moe_topk", (*AXIS, "top_k", "stride")),
    "slime": Format(read_slime, "routing replay of slime or verl", RECORDS),
    "table": Format(
        read_table, "a table of one row per token and layer, or per expert", (*RECORDS, "top_k", "columns")
    ),
}


def read_foreign(path: Path, name: str, wanted: Wanted) -> Imported:
    """Read `path` as the format called `name`.

    Raises
    ------
    FormatError
        If something was said that this format has no use for, or as the reader does.
    """
    require_heeded(path, name, wanted)
    return FORMATS[name].read(path, wanted)


def require_heeded(path: Path, name: str, wanted: Wanted) -> None:
    """Refuse what was said and is of no use for the format called `name`.

    Raises
    ------
    FormatError
        Naming the option.
    """
    chosen = FORMATS[name]
    for field in fields(Wanted):
        if getattr(wanted, field.name) != field.default and field.name not in chosen.heeds:
            option = "--" + field.name.replace("_", "-")
            raise FormatError(f"{path}: {option} says nothing to {chosen.words} ({name}); leave it out")


def detect(path: Path) -> str:
    """The name of the format that `path` is in; ``parquet`` is what `convert` wrote.

    Raises
    ------
    FormatError
        If it is none of them; says how to name one.
    """
    name = _of_folder(path) if path.is_dir() else _of_file(path)
    if name is None and not path.exists() and any(sign in path.name for sign in "*?["):
        name = detect(expand([path])[0])
    if name is None:
        raise FormatError(
            f"{path}: in no format that is known by its content; name it with --format {', '.join(FORMATS)}"
        )
    return name


def _of_folder(path: Path) -> str | None:
    if (path / "actives").is_dir():
        return "flame-moe"
    if any(path.glob(PATTERN)):
        return "megatron"
    files = sorted(file for file in path.iterdir() if file.is_file())
    if any(DUMP.fullmatch(file.name) for file in files):
        return "llama-cpp"
    # A folder of responses or samples: all files of one kind, so the first tells.
    first = next((file for file in files if file.suffix in (*SUFFIXES, ".pt", ".pth")), None)
    if first is None:
        first = next((file for file in files if is_table_name(file)), None)
    return None if first is None else _of_file(first)


def _of_file(path: Path) -> str | None:
    if not path.is_file():
        # A pattern of files, or what the reader of arrays says is no file.
        return None if any(sign in path.name for sign in "*?[") else "arrays"
    with path.open("rb") as handle:
        head = handle.read(64)
    if head[:4] == b"GGUF" or DUMP.fullmatch(path.name):
        return "llama-cpp"
    if head[:6] == b"\x93NUMPY":
        return "vllm"
    if head[:4] == b"PK\x03\x04":
        return _of_archive(path)
    if head[:1] == b"\x80" and path.suffix in (".pt", ".pth"):
        return _of_torch(path)
    if head.lstrip()[:1] in (b"{", b"["):
        return _of_json(path)
    if re.match(rb"layer\s*,\s*expert\s*$|\d+\s*,\s*\d+\s*$", head.splitlines()[0] if head else b""):
        return "llama-cpp"
    if head[:4] == b"PAR1":
        return "parquet" if is_trace(path) else "table"
    return "table" if head.startswith(tuple(COMPRESSED)) or is_table(path) else None


def _of_archive(path: Path) -> str | None:
    """An ``.npz`` and a ``.pt`` are both zip files; the names inside tell."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return _of_torch(path) if path.suffix in (".pt", ".pth") else "arrays"
    if any(name.endswith("data.pkl") for name in names):
        return _of_torch(path)
    arrays = {name.removesuffix(".npy") for name in names}
    if "experts" in arrays or not arrays:
        return "arrays"
    if any(name.startswith(KEY) for name in arrays):
        return "slime"
    if "routed_experts" in arrays:
        beside = {"attention_mask", "input_ids", "responses"} & arrays
        return "slime" if beside or _n_axes(path, "routed_experts") == 4 else "vllm"
    return "vllm" if all(_n_axes(path, name) == 3 for name in arrays) else "arrays"


def _n_axes(path: Path, name: str) -> int:
    """Axes of an array of an ``.npz`` from its header, without reading it."""
    try:
        with ZipFile(path) as archive, archive.open(f"{name}.npy") as handle:
            shape = re.search(rb"'shape':\s*\(([^)]*)\)", handle.read(512))
    except UNREADABLE:
        return 0
    return len([part for part in shape[1].split(b",") if part.strip()]) if shape else 0


def _of_torch(path: Path) -> str | None:
    held = torch_file(path)
    if not isinstance(held, dict):
        return None
    if "records" in held or "logical_count" in held:
        return "sglang"
    return "slime" if {"samples", KEY, "routed_experts"} & set(held) else None


def _of_json(path: Path) -> str | None:
    record: Any = None
    for part in _first_texts(path):
        try:
            record = json.loads(part)
            break
        except (ValueError, RecursionError):
            continue
    if record is None:
        raise FormatError(f"{path}: begins like JSON but is none; was it cut off?")
    if isinstance(record, list) and record:
        record = record[0]
    if not isinstance(record, dict):
        return None
    if "top_indices" in record:
        return "megatron"
    choices = record.get("choices", record.get("outputs"))
    places = [record, *(choices if isinstance(choices, list) else ())]
    for place in (place for place in places if isinstance(place, dict)):
        if any(
            "routed_experts" in (place.get(name) or ())
            for name in HOLDERS
            if isinstance(place.get(name), dict)
        ):
            return "sglang"
        if "routed_experts" in place or "prompt_routed_experts" in place:
            return "vllm"
    return "table" if is_table(path) else None


def _first_texts(path: Path) -> Iterator[str]:
    """The first line, and the whole only where that is not enough: JSON lines can be larger than memory."""
    with path.open(encoding="utf-8", errors="replace") as handle:
        yield next((line for line in handle if line.strip()), "")
    yield path.read_text(encoding="utf-8", errors="replace")
