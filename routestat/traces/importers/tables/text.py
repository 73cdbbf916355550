"""Blocks of text as rows; errors of a refused block are found line by line."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason
from routestat.traces.importers.tables.csv_lines import csv_to_rows, records_of, wrong_cells
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.json_lines import lines_of, lines_to_rows
from routestat.traces.importers.tables.quotes import are_characters
from routestat.traces.importers.tables.rows import Rows, WrongRowError
from routestat.traces.importers.tables.sources import Block


def parse(plan: Plan, block: Block) -> Rows:
    """Read the rows of a block.

    Raises
    ------
    FormatError
        Naming the line that cannot be read.
    """
    try:
        return _csv_rows(plan, block) if plan.kind == "csv" else lines_to_rows(plan, block)
    except WrongRowError as error:
        raise FormatError(f"{plan.path}, line {line_of(plan, block, error.row)}: {error.words}") from None
    except (pa.ArrowException, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        _complain_of_line(plan, block)
        raise FormatError(
            f"{plan.path}, from line {block.first_line()}: cannot be read ({reason(error)})"
        ) from None


def _csv_rows(plan: Plan, block: Block) -> Rows:
    if b'"' not in block.text:
        return csv_to_rows(plan, block)
    try:
        rows = csv_to_rows(plan, block)
    except (pa.ArrowException, WrongRowError):
        if are_characters(plan, block):
            return csv_to_rows(plan, block, quoted=False)
        raise
    # Where every line is a row no quotes contain line breaks, and none can hide rows.
    if len(rows) < block.text.count(b"\n") and are_characters(plan, block):
        return csv_to_rows(plan, block, quoted=False)
    return rows


def line_of(plan: Plan, block: Block, row: int) -> int:
    """Return the number of the line of a row of a block."""
    for place, (line, _) in enumerate(_records(plan, block)):
        if place == row:
            return line
    return block.first_line()


def _records(plan: Plan, block: Block) -> Iterator[tuple[int, Any]]:
    return records_of(plan, block) if plan.kind == "csv" else lines_of(block)


def _complain_of_line(plan: Plan, block: Block) -> None:
    """Name the first impossible line of a refused block."""
    try:
        block.text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.first_line() + block.text.count(b"\n", 0, error.start)
        raise FormatError(f"{plan.path}, line {line}: not UTF-8 text ({error.reason})") from None
    for line, record in _records(plan, block):
        wrong = wrong_cells(plan, record) if plan.kind == "csv" else ""
        if wrong:
            raise FormatError(f"{plan.path}, line {line}: {wrong}")
