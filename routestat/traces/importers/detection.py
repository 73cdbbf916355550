"""Which format a file or folder is in, recognised by its content."""

import codecs
import re
from itertools import islice
from pathlib import Path
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.array_detection import (
    of_archive,
    of_safetensors,
    of_torch,
    refuse_counted,
)
from routestat.traces.importers.common.array_files import numpy_file
from routestat.traces.importers.common.counts_text import refuse_if_counts
from routestat.traces.importers.common.json_files import json_values
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.safetensors_files import is_safetensors
from routestat.traces.importers.llama_cpp import DUMP
from routestat.traces.importers.megatron import PATTERN
from routestat.traces.importers.moe_atlas import PARTS
from routestat.traces.importers.packed import describes, flattened, is_description, sidecar
from routestat.traces.importers.parquet import is_trace
from routestat.traces.importers.registry import FORMATS
from routestat.traces.importers.sglang import HOLDERS
from routestat.traces.importers.tables.probing import is_table
from routestat.traces.importers.tables.sources import COMPRESSED, expand, is_table_name
from routestat.traces.importers.tensorrt_llm import RANK
from routestat.traces.importers.vllm import SUFFIXES

#: Compressions that are not read.
UNREAD = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7-Zip"}


#: Most failed records before the first that shows the format.
MOST_FAILED = 1000


def detect(path: Path, options: ImportOptions | None = None) -> str:
    """Return the name of the format of `path`; some formats are known only by the `options`.

    ``parquet`` is what `convert` wrote.

    Raises
    ------
    FormatError
        If it is none of them, or holds counts only.
    """
    if options is not None and path.exists():
        if options.logits:
            return "router-logits"
        if options.shape is not None or options.dtype is not None:
            return "packed"
    name = _of_folder(path) if path.is_dir() else _of_file(path)
    if name is None and not path.exists() and any(sign in path.name for sign in "*?["):
        name = detect(expand([path])[0])
    if name is None:
        raise FormatError(
            f"{path}: the content is of no known format; name it with --format {', '.join(FORMATS)}"
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
    if any(RANK.fullmatch(file.name) for file in files):
        return "tensorrt-llm"
    # A folder of responses or samples: all files are of one kind, so the first decides.
    suffixes = (*SUFFIXES, ".pt", ".pth", ".safetensors")
    first = next((file for file in files if file.suffix in suffixes and not _is_sidecar(file)), None)
    name = None if first is None else _of_file(first)
    if name is None and any(_has_sidecar(file) for file in files):
        return "packed"
    return _of_tables(files) if name is None else name


def _of_tables(files: list[Path]) -> str | None:
    """Return the format of the first file that has one; texts and summaries may be stored with tables."""
    wrong: FormatError | None = None
    for file in files:
        if is_table_name(file):
            try:
                name = _of_file(file)
            except FormatError as error:
                wrong = wrong or error
                continue
            if name is not None:
                return name
    if wrong is not None:
        raise wrong
    return None


def _has_sidecar(file: Path) -> bool:
    """Return whether a file beside this one gives its shape and type."""
    beside = None if file.suffix in (".json", ".jsonl") else sidecar(file)
    return beside is not None and describes(beside)


def _is_sidecar(file: Path) -> bool:
    return file.suffix == ".json" and describes(file)


def _of_file(path: Path) -> str | None:
    if not path.is_file():
        # A pattern of files, or what the reader of arrays says is no file.
        return None if any(sign in path.name for sign in "*?[") else "arrays"
    with path.open("rb") as handle:
        head = handle.read(64).removeprefix(codecs.BOM_UTF8)
    if not head and path.stat().st_size < 4:
        raise FormatError(f"{path}: empty")
    if head[:4] == b"GGUF" or DUMP.fullmatch(path.name):
        return "llama-cpp"
    if head[:6] == b"\x93NUMPY":
        refuse_counted(path, lambda: numpy_file(path))
        return "vllm"
    if head[:4] == b"PK\x03\x04":
        return of_archive(path)
    if head[:1] == b"\x80" and path.suffix in (".pt", ".pth"):
        return of_torch(path)
    if is_safetensors(head):
        return of_safetensors(path)
    if head[:1] == b"\x80":
        counts = " (expert counts, by its name)" if "expert_counts" in str(path) else ""
        raise FormatError(
            f"{path}: a pickle{counts}, which is not read, as that could run code; save arrays with np.savez"
        )
    if head.startswith(b"SQLite format 3\0"):
        raise FormatError(
            f"{path}: an SQLite database; export its traces first (moe-atlas export --format jsonl)"
        )
    packer = next((words for magic, words in UNREAD.items() if head.startswith(magic)), None)
    if packer is not None:
        raise FormatError(
            f"{path}: packed by {packer}, which is not read; unpack it, or pack it by gzip or zstd"
        )
    if head.lstrip()[:1] in (b"{", b"[") or head.split(maxsplit=1)[:1] == [b"null"]:
        return _of_json(path)
    if re.match(
        rb"layer\s*,\s*expert\s*$|\d+\s*,\s*\d+\s*$",
        head.splitlines()[0] if head else b"",
    ):
        return "llama-cpp"
    if _has_sidecar(path):
        return "packed"
    refuse_if_counts(path)
    if head[:4] == b"PAR1":
        return "parquet" if is_trace(path) else "table"
    return "table" if head.startswith(tuple(COMPRESSED)) or is_table(path) else None


def _of_json(path: Path) -> str | None:
    """Return the format by the first record that shows it; failed requests may come before it."""
    records = []
    try:
        for _, record in islice(json_values(path), MOST_FAILED):
            records.append(record is None)
            name = _of_record(record)
            if name is not None:
                return name
    except FormatError as error:
        raise FormatError(f"{path}: begins like JSON but is not; was it cut off? ({error})") from None
    if records and all(records):
        raise FormatError(f"{path}: every record is null: all requests failed")
    refuse_if_counts(path)
    return "table" if is_table(path) else None


def _of_record(record: Any) -> str | None:
    if isinstance(record, dict) and isinstance(record.get("traces"), list):
        record = next((one for one in record["traces"] if isinstance(one, dict)), None)
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
    activations = record.get("activations")
    if isinstance(activations, list) and activations and isinstance(activations[0], dict):
        return "moe-atlas" if set(PARTS) <= set(activations[0]) else None
    record = flattened(record)
    return "packed" if is_description(record) and isinstance(record.get("data"), str) else None
