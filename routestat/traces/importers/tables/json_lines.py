"""Blocks of JSON lines, and arrays of objects, as rows."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.json

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.tables.arrow_columns import number_in
from routestat.traces.importers.tables.arrow_rows import to_rows, without_others
from routestat.traces.importers.tables.file_plans import WORDS, Plan
from routestat.traces.importers.tables.rows import LARGEST, Rows
from routestat.traces.importers.tables.sources import Block
from routestat.traces.validation import shown


def lines_of(block: Block) -> Iterator[tuple[int, str]]:
    """Yield the lines of a block that are not empty, with their numbers."""
    top = block.first_line()
    for place, line in enumerate(block.text.decode("utf-8", "replace").split("\n")):
        if line.strip():
            yield top + place, line


def lines_to_rows(plan: Plan, block: Block) -> Rows:
    """Read the rows of a block."""
    schema = pa.schema([(name, _json_type(plan, role, name)) for role, name in plan.columns.pairs()])
    if not block.text.strip():
        return to_rows(plan, schema.empty_table())
    try:
        table = pa.json.read_json(
            pa.py_buffer(block.text),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=max(len(block.text) + 1, 1 << 10)),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        # Lines of several types, numbers as floats (5.0), or errors, which are found by line.
        block.text.decode("utf-8")
        return json_rows(
            plan, [(f"line {line}", _object(plan, line, text)) for line, text in lines_of(block)]
        )
    return without_others(plan, table)


def _object(plan: Plan, line: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{plan.path}, line {line}: not valid JSON ({reason(error)}); was it cut off?"
        ) from None


def _json_type(plan: Plan, role: str, name: str, number: Any = None) -> Any:
    if role in (*WORDS, "document"):
        return dict(plan.kinds).get(name, pa.string())
    if role in ("weight", "weights"):
        return pa.list_(pa.float64()) if plan.columns.listed else pa.float64()
    number = number or pa.int32()
    return pa.list_(number) if role == "experts" and plan.columns.listed else number


def json_rows(plan: Plan, records: list[tuple[str, Any]]) -> Rows:
    """Read rows from objects in memory, each with its place in words.

    Raises
    ------
    FormatError
        Naming the first impossible one.
    """
    for where, record in records:
        wrong = _wrong_object(plan, record)
        if wrong:
            raise FormatError(f"{plan.path}, {where}: {wrong}")
    plan = replace(plan, kinds=())
    table = pa.table(
        {
            name: _column(plan, role, name, [record.get(name) for _, record in records])
            for role, name in plan.columns.pairs()
        }
    )
    return without_others(plan, table)


def _column(plan: Plan, role: str, name: str, values: list[Any]) -> pa.Array:
    if (
        plan.columns.listed
        and any(isinstance(value, str) for value in values)
        and role in ("experts", "weights")
    ):
        # Lists in words: "[3, 17]".
        return pa.array(
            [json.dumps(value) if isinstance(value, list) else value for value in values], pa.string()
        )
    return pa.array([_as(role, value) for value in values], _json_type(plan, role, name, pa.int64()))


def _as(role: str, value: Any) -> Any:
    if value is None:
        return None
    if role in (*WORDS, "document"):
        if isinstance(value, float):
            value = int(value)
        return str(value).lower() if isinstance(value, bool) else str(value)
    if role in ("weight", "weights"):
        return value
    if isinstance(value, str):
        return number_in(value, named=role == "layer")
    return [None if item is None else int(item) for item in value] if isinstance(value, list) else int(value)


def _wrong_object(plan: Plan, record: Any) -> str:
    if not isinstance(record, dict):
        return f"expected an object, got {type(record).__name__}"
    for role, name in plan.columns.pairs():
        value = record.get(name)
        several = role in ("experts", "weights") and plan.columns.listed
        if several and isinstance(value, str):
            continue
        if value is not None and several != isinstance(value, list):
            return f"{name} must be a {'list' if several else 'single value'}, got {shown(value)}"
        for item in value if isinstance(value, list) else [value]:
            wrong = _wrong_item(role, item)
            if wrong:
                return f"{name}: {shown(item)} {wrong}"
    return ""


def _wrong_item(role: str, item: Any) -> str:
    if item is None or (role in (*WORDS, "document") and isinstance(item, str | int | bool)):
        return ""
    if role in (*WORDS, "document"):
        if isinstance(item, float) and item.is_integer():
            return ""
        return "is neither text nor a whole number"
    if isinstance(item, list):
        return "is a list: a row is of one token, and this one seems to hold several"
    if isinstance(item, str) and role not in ("weight", "weights"):
        number = number_in(item, named=role == "layer")
        if number is None:
            return "is no number"
        item = number
    if isinstance(item, bool) or not isinstance(item, int | float):
        return "is no number"
    if role in ("weight", "weights"):
        # A whole number beyond any float.
        return "is no weight" if isinstance(item, int) and abs(item) > LARGEST else ""
    if isinstance(item, float) and not item.is_integer():
        return "is no whole number"
    return f"is beyond ±{LARGEST}" if abs(item) > LARGEST else ""


def object_facts(plan: Plan, block: Block, most: int) -> dict[str, Any]:
    """Return the text and numbers in the first lines of another type, by key."""
    facts: dict[str, Any] = {}
    needed = (plan.columns.layer, *(plan.columns.experts or (plan.columns.expert,)))
    seen = 0
    for _, text in lines_of(block):
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or any(record.get(name) is not None for name in needed):
            continue
        for key, value in record.items():
            if key != "type" and isinstance(value, str | int | float):
                facts.setdefault(key, value)
        seen += 1
        if seen >= most:
            break
    return facts
