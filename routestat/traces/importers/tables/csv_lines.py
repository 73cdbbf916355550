"""Blocks of CSV and TSV as rows."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.tables.arrow_columns import number_in
from routestat.traces.importers.tables.arrow_rows import to_rows
from routestat.traces.importers.tables.file_plans import WORDS, Plan
from routestat.traces.importers.tables.rows import LARGEST, Rows
from routestat.traces.importers.tables.sources import Block
from routestat.traces.validation import shown

# Empty values in a column of numbers.
EMPTY = ("", "null", "None", "NA")


def records_of(plan: Plan, block: Block) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a block with the number of the line that each begins with.

    Raises
    ------
    FormatError
        For a line that is not CSV.
    """
    top, before = block.first_line(), 0
    text = io.StringIO(block.text.decode("utf-8", "replace"), newline="")
    reader = csv.reader(text, delimiter=plan.delimiter)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FormatError(f"{plan.path}, line {top + reader.line_num - 1}: {reason(error)}") from None
        if record and not (len(record) == 1 and not record[0].strip() and len(plan.held) > 1):
            yield top + before, record
        before = reader.line_num


def csv_to_rows(plan: Plan, block: Block, quoted: bool = True) -> Rows:
    """Read the rows of a block; without `quoted`, quotes are ordinary characters.

    Raises
    ------
    pyarrow.ArrowInvalid, WrongRowError
        For values that cannot be read.
    """
    try:
        table = _read_csv(plan, block, quoted, plan.in_words)
    except pa.ArrowInvalid:
        try:
            # Numbers as floats (5.0), or documents that are words here.
            table = _read_csv(plan, block, quoted, True, pa.float64())
        except pa.ArrowInvalid:
            # Layers by the names of their modules.
            table = _read_csv(plan, block, quoted, True, pa.float64(), named=True)
    return to_rows(plan, table)


def _read_csv(
    plan: Plan, block: Block, quoted: bool, in_words: bool, number: Any = None, named: bool = False
) -> pa.Table:
    number = number or pa.int32()
    words = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[str, Any] = {}
    for role, name in plan.columns.pairs():
        if role == "document":
            kinds[name] = words if in_words else pa.int64()
        elif role in WORDS or (named and role == "layer"):
            kinds[name] = words
        elif role in ("weight", "weights"):
            kinds[name] = pa.string() if plan.columns.listed else pa.float32()
        else:
            kinds[name] = pa.string() if role == "experts" and plan.columns.listed else number
    return pa.csv.read_csv(
        pa.py_buffer(block.text),
        read_options=pa.csv.ReadOptions(
            column_names=list(plan.held), use_threads=False, block_size=max(len(block.text) + 1, 1 << 10)
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=plan.delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted and b'"' in block.text,
        ),
        convert_options=pa.csv.ConvertOptions(
            include_columns=plan.columns.used, column_types=kinds, null_values=list(EMPTY)
        ),
    )


def wrong_cells(plan: Plan, record: list[str]) -> str:
    """Describe what is wrong with a record; empty if nothing is."""
    if len(record) != len(plan.held):
        return f"{len(record)} values where there are {len(plan.held)} columns"
    cells = dict(zip(plan.held, record, strict=True))
    for role, name in plan.columns.pairs():
        wrong = _wrong_value(plan, role, name, cells[name].strip())
        if wrong:
            return wrong
    return ""


def _wrong_value(plan: Plan, role: str, name: str, cell: str) -> str:
    if role in (*WORDS, "document") or (role == "token" and cell in EMPTY):
        return ""
    if role in ("experts", "weights") and plan.columns.listed:
        return ""
    if cell in EMPTY:
        return "" if role in ("weight", "weights") else f"column {name} is empty"
    if role == "layer" and number_in(cell, named=True) is not None:
        return ""
    try:
        number = float(cell)
    except ValueError:
        return f"column {name}: {shown(cell)} is no number"
    if role in ("weight", "weights"):
        return ""
    if not number.is_integer():
        return f"column {name}: {shown(cell)} is no whole number"
    return f"column {name}: {shown(cell)} is beyond ±2147483647" if abs(number) > LARGEST else ""
