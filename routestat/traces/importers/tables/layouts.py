"""Recognition of the columns of a table.

Public layouts that are recognised without options (any others of these names as well):

- BigMoeOnEdge ``route_trace``: ``turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped`` behind ``#``
  lines; phase 0 is prefill, step the position in the context, slot 0 the router's first choice;
- ``request,step,layer,e0,e1,…``;
- JSON lines of ``req_id, token_idx, layer, topk_ids``;
- MoE-Beyond: ``Layer ID,Batch Number,Token,Activated Expert IDs``; rows of a layer in the order of the tokens, tokens
  as text, one file per prompt;
- the ``moe-trace`` of a llama.cpp branch: ``pos,layer,id0,id1,…`` without a header; prompt rows have negative positions
  (−1 is the last of a batch), generated rows 0, 1, ….

Sources: Helldez/BigMoeOnEdge, docs/benchmarks.md and its trace writer; ngavhane/moe-beyond,
``generate_deepseek_logs_eamc.py``; the ``moe-trace`` example in forks of llama.cpp.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.tables.columns import ROLES, SEVERAL, Columns
from routestat.traces.importers.tables.names import COUNTED, NAMES, ONES, STEMS, plain


def recognise(held: Sequence[str], said: Columns | None = None) -> Columns:
    """Recognise the columns by their names, where `said` does not name them already."""
    columns = said or Columns()
    taken = set(columns.used)
    by_plain: dict[str, str] = {}
    for name in held:
        if name not in taken:
            by_plain.setdefault(plain(name), name)
    found: dict[str, Any] = {}
    for role in ROLES:
        if getattr(columns, role) or role in columns.named:
            continue
        if role in SEVERAL and (numbered := _numbered(by_plain, (*STEMS[role], *NAMES[role], *ONES[role]))):
            found[role] = numbered
            continue
        word = next((one for one in NAMES[role] if one in by_plain), None)
        if word is not None:
            # One column, one role: prompt_id is the document, or else the cluster.
            column = by_plain.pop(word)
            found[role] = (column,) if role in SEVERAL else column
    columns = _one_form(replace(columns, **found))
    if columns.cluster and not columns.document and not {"cluster", "document"} & set(columns.named):
        # Nothing smaller than a conversation is distinguished: it is the document.
        columns = replace(columns, document=columns.cluster, cluster="")
    names = set(map(plain, held))
    return replace(columns, falling={"turn", "slot", "residency"} <= names and columns.slot != "")


def _numbered(by_plain: dict[str, str], stems: Sequence[str]) -> tuple[str, ...]:
    """Return columns that differ only in a number, 0, 1, … or 1, 2, …, in its order: ``e0``, ``top1_expert``."""
    groups: dict[str, dict[int, str]] = {}
    for name, original in by_plain.items():
        parts = re.fullmatch(r"(.*?)_?(\d+)(?:_(.+))?", name)
        if parts and (not parts[3] or parts[1] in COUNTED):
            stem = parts[3] or parts[1]
            groups.setdefault(stem, {}).setdefault(int(parts[2]), original)
    for stem in stems:
        numbers = sorted(groups.get(stem, ()))
        if numbers and numbers[0] in (0, 1) and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            return tuple(groups[stem][number] for number in numbers)
    return ()


def _one_form(columns: Columns) -> Columns:
    """Choose all experts of a token in one row, or one per row: as the caller named, else the former."""
    if columns.expert and columns.experts:
        columns = replace(columns, experts=()) if "expert" in columns.named else replace(columns, expert="")
    if columns.experts:
        # A slot's number belongs to rows of one expert each.
        drop: dict[str, Any] = {role: "" for role in ("slot", "weight") if role not in columns.named}
        return replace(columns, **drop)
    return columns if "weights" in columns.named else replace(columns, weights=())


def require(where: str, columns: Columns, held: Sequence[str], sample: Mapping[str, Sequence[Any]]) -> None:
    """Refuse a table without layers or experts; the error states how to name them, or what it has instead."""
    absent = [] if columns.layer else ["layer"]
    if not (columns.experts or columns.expert):
        absent.append("experts")
    if not absent:
        return
    example = ",".join(f"{role}=NAME" for role in absent)
    few = ", ".join(held[:20]) + (", …" if len(held) > 20 else "")
    said = f"{where}: no column looks like {' or '.join(absent)}; it has {few or 'none'}; "
    beside = [name for name in held if re.fullmatch(r"(l|layers?|block)_?\d+(_.*)?", plain(name))]
    if len(beside) > 1:
        raise FormatError(
            f"{said}layers seem to be columns ({beside[0]}): expected one row per token and layer"
        )
    experts = columns.experts[0] if columns.experts else ""
    first = next(iter(sample.get(experts, ())), None)
    if "layer" in absent and (isinstance(first, dict) or re.match(r"\s*[\[({]\s*[\[({]", str(first))):
        raise FormatError(
            f"{said}{experts} seems to hold all layers of a token: expected one row per token and layer"
        )
    if absent == ["layer"]:
        said += "if a file holds one layer, write its number into a column; "
    raise FormatError(f"{said}name them: --columns {example}")


def settle_form(columns: Columns, sample: Mapping[str, Sequence[Any]]) -> Columns:
    """Determine whether experts are lists, by the first values of the columns.

    Parameters
    ----------
    sample : mapping
        Column name → its first values, as text or as they are in JSON and Parquet.
    """
    if columns.expert and _are_lists(sample.get(columns.expert, ())):
        columns = replace(columns, experts=(columns.expert,), expert="", slot="", weight="")
        weights = [name for name in (columns.weight,) if name]
        columns = replace(columns, weights=columns.weights or tuple(weights))
    if len(columns.experts) == 1:
        name = columns.experts[0]
        if _are_lists(sample.get(name, ())):
            columns = replace(columns, listed=True)
        elif plain(name) in NAMES["experts"]:
            # A column of lists by its name, of single numbers by its values: one per row.
            columns = replace(columns, expert=name, experts=())
    if columns.experts and len(columns.weights) != (1 if columns.listed else len(columns.experts)):
        columns = replace(columns, weights=())
    return _settle_token(columns, sample)


def _are_lists(values: Sequence[Any]) -> bool:
    for value in values:
        if isinstance(value, list | tuple):
            return True
        if isinstance(value, str) and re.search(r"[\[\(;|]|\d\s*[,\s]\s*-?\d", value.strip()):
            return True
    return False


def _settle_token(columns: Columns, sample: Mapping[str, Sequence[Any]]) -> Columns:
    """Decide whether a column called token holds token ids, or positions where no other column does."""
    if not columns.token or "token" in columns.named or plain(columns.token) != "token":
        return columns
    numbers = [_as_int(value) for value in sample.get(columns.token, ())]
    if any(number is None for number in numbers):
        return replace(columns, token="")
    if columns.position:
        return columns
    # The first rows of one layer, if in order: positions rise by one.
    layers = sample.get(columns.layer, [])
    own = [n for n, layer in zip(numbers, layers, strict=False) if layer == layers[0] and n is not None]
    steps = {after - before for before, after in pairwise(own)}
    if (1 in steps and steps <= {0, 1}) or own == [0]:
        return replace(columns, position=columns.token, token="")
    return columns


def _as_int(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
        return int(value)
    return None


def unnamed(width: int) -> tuple[list[str], Columns]:
    """Return the names and columns of a table without a header: ``pos,layer,id0,id1,…``."""
    held = ["pos", "layer", *(f"id{slot}" for slot in range(width - 2))]
    return held, Columns(position="pos", layer="layer", experts=tuple(held[2:]), signed=True)
