"""Metadata of a table, in comments and in lines of another type."""

import re
from pathlib import Path
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.tables.document_numbering import Stream

# Words of comments and of lines of another type for the metadata of a trace.
FACTS = {
    "model": ("model", "model_name", "model_id", "model_path"),
    "dataset": ("dataset", "dataset_name"),
    "engine": ("engine", "framework", "backend"),
    "n_experts": ("n_experts", "num_experts", "n_expert", "num_local_experts", "n_routed_experts"),
    "top_k": ("top_k", "topk", "num_experts_per_tok", "n_expert_used", "experts_per_token"),
}


def check_top_k(path: Path, top_k: int, options: ImportOptions, stated: Any, notes: list[str]) -> None:
    """Refuse a k that contradicts --top-k; note one that contradicts the file, whose ``top_k`` may be of sampling.

    Raises
    ------
    FormatError
        With both numbers.
    """
    if options.top_k is not None and options.top_k != top_k:
        raise FormatError(f"{path}: {top_k} experts per token where --top-k says {options.top_k}")
    known = whole_fact(stated)
    if known is not None and known != top_k:
        notes.append(f"the file says top_k {known}, its rows hold {top_k} experts per token")


def whole_fact(value: Any) -> int | None:
    """Return a value as a positive whole number; None where it is none."""
    text = "" if value is None else str(value)
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,4}", text) else None


def facts_of_stream(stream: Stream) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what files state of themselves: what has a place in the metadata (see `FACTS`), and the rest."""
    stated = {**stream.facts, **stream.comments()}
    found: dict[str, Any] = {}
    for fact, words in FACTS.items():
        name = next((word for word in words if word in stated), None)
        if name is not None:
            found[fact] = stated.pop(name)
    return found, dict(sorted(stated.items())[:100])
