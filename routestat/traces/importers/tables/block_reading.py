"""The blocks of a file as rows, several read at a time."""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.tables.csv_lines import wrong_cells
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.json_lines import json_rows
from routestat.traces.importers.tables.parquet_rows import batches, parse_batch
from routestat.traces.importers.tables.probing import json_array
from routestat.traces.importers.tables.rows import Rows, WrongRowError
from routestat.traces.importers.tables.sources import Block, Text
from routestat.traces.importers.tables.text import line_of, parse

# Arrow reads without Python's lock; more threads would wait for the disk or each other.
THREADS = 2


WAITING = 4


@dataclass(frozen=True)
class Piece:
    """Rows of one block, before documents are numbered."""

    plan: Plan
    rows: Rows
    block: Block | None
    first: int
    section: int
    done: int

    def where(self, row: int) -> str:
        """Return file and line (Parquet: row, from 1) of a row."""
        place = self.rows.place(row)
        if self.block is None:
            return f"{self.plan.path}, {'row' if self.plan.kind == 'parquet' else 'item'} {self.first + place + 1}"
        return f"{self.plan.path}, line {line_of(self.plan, self.block, place)}"


def read_pieces(plan: Plan) -> Iterator[Piece]:
    """Yield the blocks of a file as rows, in order; several are read at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Piece]] = deque()
        try:
            for job in _jobs(plan):
                waiting.append(pool.submit(*job))
                if len(waiting) >= WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _jobs(plan: Plan) -> Iterator[tuple[Any, ...]]:
    size = plan.path.stat().st_size
    if plan.kind == "parquet":
        for first, total, batch in batches(plan):
            yield _of_batch, plan, first, size * (first + batch.num_rows) // max(total, 1), batch
    elif plan.kind == "json":
        yield _of_objects, plan, size
    else:
        text = Text(plan.path, quoted=plan.kind == "csv", is_row=_row_in_comment(plan))
        section = 0
        for number, block in enumerate(text.blocks()):
            parts = _without_header(plan, block, first=number == 0)
            plan.comments[:] = text.comments
            for place, part in enumerate(parts):
                section += place > 0
                yield _of_block, plan, part, section


def _row_in_comment(plan: Plan) -> Callable[[bytes], bool] | None:
    """Return a test of whether a line that begins with ``#`` is a row (the text of a token) and not a comment."""
    if plan.kind != "csv" or plan.held[0] in plan.columns.used:
        return None

    def is_row(line: bytes) -> bool:
        cells = next(csv.reader([line.decode("utf-8", "replace")], delimiter=plan.delimiter), [])
        return not wrong_cells(plan, cells)

    return is_row


def _of_batch(plan: Plan, first: int, done: int, batch: Any) -> Piece:
    return Piece(plan, parse_batch(plan, first, batch), None, first, 0, done)


def _of_objects(plan: Plan, size: int) -> Piece:
    records = [(f"item {place + 1}", record) for place, record in enumerate(json_array(plan.path))]
    try:
        return Piece(plan, json_rows(plan, records), None, 0, 0, size)
    except WrongRowError as error:
        raise FormatError(f"{plan.path}, item {error.row + 1}: {error.words}") from None


def _of_block(plan: Plan, block: Block, section: int) -> Piece:
    return Piece(plan, parse(plan, block), block, 0, section, block.done)


def _without_header(plan: Plan, block: Block, first: bool) -> list[Block]:
    """Empty the header of a block, and cut the block where the header is repeated by an appended table."""
    header, text = plan.header, block.text
    if not header or header not in text:
        return [block]
    starts = [
        found.start() for found in re.finditer(rb"^" + re.escape(header) + rb"\r?$", text, re.MULTILINE)
    ]
    bounds = [0, *starts[1 if first else 0 :], len(text)]
    parts = []
    for start, end in pairwise(bounds):
        piece = text[start:end]
        if (starts and start <= starts[0] < end) or start in starts:
            # An empty line is kept, so that lines are numbered as in the file.
            piece = piece.replace(header, b"", 1)
        parts.append(
            Block(block.path, piece, block.number, block.done, text.count(b"\n", 0, start), block.quoted)
        )
    return parts
