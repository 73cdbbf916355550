"""JSON and tables of text that hold counts per expert and nothing per token; see `counts_only`."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from routestat.traces.importers.common.counts_only import (
    ANY,
    COUNT,
    COUNTED,
    EXPERT_STATISTIC,
    advice,
    beyond_ids,
    refuse_counts,
    sums_alike,
)

#: Names of what only a record per token has.
PER_TOKEN = re.compile(
    r"token(s|_ids?|_idx|_index|_strs)?|pos(ition)?s?|input_ids|topk_ids|top_indices|experts?_ids|activated_expert_ids"
    r"|.*routed_experts|activations|records|data|document|doc|req(uest)?(_id)?|prompt(_id)?|sample(_id)?|turn|step|slot"
    r"|seq(_id)?",
    re.IGNORECASE,
)
EXPERT = re.compile(r"expert(_?(id|idx|index))?|eid", re.IGNORECASE)
#: Nested objects, and members of one, that are checked.
DEPTH, WIDTH = 4, 64
ROWS = 4096


def refuse_if_counts(path: Path) -> None:
    """Refuse a file of text if it holds counts only.

    Raises
    ------
    FormatError
        If it holds counts only.
    """
    if not path.is_file():
        return
    with path.open("rb") as handle:
        head = handle.read(1 << 16)
    what = None
    if head.lstrip()[:1] in (b"{", b"["):
        what = _counts_in_json(path)
    elif b"\0" not in head and head:
        what = _counts_in_table(path)
    if what is not None:
        refuse_counts(path, what)


def _counts_in_json(path: Path) -> str | None:
    """Describe what in the first object of the file shows that it holds counts."""
    value = _first_value(path)
    members = list(_members(value, DEPTH))
    names = [name for name, _ in members]
    if any(PER_TOKEN.fullmatch(name) for name in names):
        return None
    name = next((name for name in names if COUNTED.fullmatch(name)), None)
    if name is None:
        name = next((name for name, held in members if COUNT.fullmatch(name) and _is_row(held)), None)
    if name is not None:
        return f"{name}; per token: {advice(name)}"
    expert = next((name for name in names if EXPERT.fullmatch(name)), None)
    count = next((name for name in names if COUNT.fullmatch(name)), None)
    if expert and count:
        return f"{expert} and {count}; per token: {ANY}"
    if {"num_experts", "num_experts_per_token"} <= set(names):
        return EXPERT_STATISTIC
    if any(_layers_of_counts(held) for held in (value, *(held for _, held in members))):
        return f"numbers by layer and expert; per token: {ANY}"
    return None


def _first_value(path: Path) -> Any:
    """Return the first line of a file as JSON, or else all of it; None if it is not JSON."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            first = next((line for line in handle if line.strip()), "")
        try:
            return json.loads(first)
        except ValueError:
            return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError):
        return None


def _members(value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield names and values of an object and of nested ones; of a list only the first."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, Mapping) and depth:
        for key, item in islice(value.items(), WIDTH):
            yield str(key), item
            yield from _members(item, depth - 1)


def _is_row(value: Any) -> bool:
    """Whether a value is a number for each of several experts, or holds such."""
    numbers = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(numbers, list) or len(numbers) < 2:
        return False
    return all(type(one) in (int, float) for one in numbers) or _is_row(numbers[0])


def _layers_of_counts(value: Any) -> bool:
    """Whether a value is numbers by layer and expert: ``{"0": [12, 7, …], "1": {"0": 5, …}}``, or a list of lists."""
    if isinstance(value, Mapping):
        if not all(re.search(r"\d+$", str(key)) for key in value):
            return False
        value = list(value.values())
    rows = (
        [list(row.values()) if isinstance(row, Mapping) else row for row in value or ()]
        if _is_row(value)
        else []
    )
    if len(rows) < 2 or not all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows):
        return False
    if not all(type(one) in (int, float) for row in rows for one in row):
        return False
    table = np.array(rows, np.float64)
    return sums_alike(table) or beyond_ids(table)


def counts_in_columns(names: Sequence[str], rows: Sequence[Sequence[Any]] = ()) -> str | None:
    """Describe what in the columns of a table shows that it holds counts; None if nothing does.

    Parameters
    ----------
    names : sequence of str
    rows : sequence of rows, optional
        The first rows, in the order of the columns.
    """
    names = [name.strip().replace(" ", "_") for name in names]
    if len(names) < 2 or any(PER_TOKEN.fullmatch(name) for name in names):
        return None
    expert = next((name for name in names if EXPERT.fullmatch(name)), None)
    count = next((at for at, name in enumerate(names) if COUNT.fullmatch(name)), None)
    if expert and count is not None:
        # An expert that comes twice under the same heads is a row per choice, whatever the columns are called.
        keys = [tuple([*row[:count], *row[count + 1 :]]) for row in rows]
        return (
            f"columns {expert} and {names[count]}; per token: {ANY}" if len(set(keys)) == len(keys) else None
        )
    named = next((name for name in names if COUNTED.fullmatch(name)), None)
    if named:
        return f"column {named}; per token: {advice(named)}"
    return _one_column_an_expert(names, rows)


def _counts_in_table(path: Path) -> str | None:
    """Columns by which a table of text counts: an expert and how often, or a column per expert and a row per layer."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = (line for line in handle if line.strip() and not line.startswith("#"))
            head = next(lines, "")
            separator = max(",\t;", key=head.count)
            names = next(csv.reader([head], delimiter=separator), [])
            return counts_in_columns(names, list(islice(csv.reader(lines, delimiter=separator), ROWS)))
    except (UnicodeDecodeError, csv.Error, OSError):
        return None


def _one_column_an_expert(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str | None:
    """Columns ``expert_0 … expert_63`` with a row per layer, whose sums are alike."""
    columns = [
        at for at, name in enumerate(names) if re.fullmatch(r"(?:expert|exp|e)_?\d+", name, re.IGNORECASE)
    ]
    try:
        table = np.array([[float(row[at]) for at in columns] for row in rows if row], np.float64)
    except (ValueError, TypeError, IndexError):
        return None
    if len(columns) < 4 or table.ndim != 2 or not (sums_alike(table) or beyond_ids(table)):
        return None
    return f"columns {names[columns[0]]} … {names[columns[-1]]} of numbers that are no ids; per token: {ANY}"
