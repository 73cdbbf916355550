"""Blocks of CSV, TSV and JSON lines as rows; what is wrong is looked for line by line, once a block was refused."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.checked import shown
from routestat.traces.importers.opening import reason
from routestat.traces.importers.tables import rows as arrow
from routestat.traces.importers.tables.layouts import Columns
from routestat.traces.importers.tables.rows import Rows, WrongRowError
from routestat.traces.importers.tables.sources import Block

# What stands for nothing in a column of numbers.
EMPTY = ("", "null", "None", "NA")
INTEGERS = ("position", "layer", "expert", "slot", "token")
WORDS = ("phase", "domain", "cluster")
# Brackets and quotes around lists, and what parts their items.
_AROUND = b"[](){}\"'"
_BETWEEN = bytes.maketrans(b";| \t", b",,,,")


@dataclass(frozen=True)
class Plan:
    """How a file is read.

    Attributes
    ----------
    kind : {"csv", "jsonl", "json", "parquet"}
    held : tuple of str
        All its columns.
    delimiter : str
    header : bytes
        The line that names the columns; empty: there is none.
    in_words : bool
        Documents are text, or numbers with leading zeros.
    kinds : tuple
        Of JSON: the Arrow type of each column of words, by the first lines.
    comments : list of str
        Lines that begin with ``#``, once they were read.
    """

    path: Path
    kind: str
    columns: Columns
    held: tuple[str, ...]
    delimiter: str = ","
    header: bytes = b""
    in_words: bool = False
    kinds: tuple[tuple[str, Any], ...] = ()
    comments: list[str] = field(default_factory=list, compare=False)


def parse(plan: Plan, block: Block) -> Rows:
    """The rows of a block.

    Raises
    ------
    FormatError
        Naming the line that cannot be read.
    """
    read = _csv if plan.kind == "csv" else _json
    try:
        return read(plan, block)
    except WrongRowError as error:
        raise FormatError(f"{plan.path}, line {line_of(plan, block, error.row)}: {error.words}") from None
    except (pa.ArrowException, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        _complain_of_line(plan, block)
        raise FormatError(
            f"{plan.path}, from line {block.first_line()}: cannot be read ({reason(error)})"
        ) from None


def line_of(plan: Plan, block: Block, row: int) -> int:
    """The number of the line of a row of a block."""
    for place, (line, _) in enumerate(_records(plan, block)):
        if place == row:
            return line
    return block.first_line()


def _records(plan: Plan, block: Block) -> Iterator[tuple[int, Any]]:
    """The records of a block with the number of the line that each begins with."""
    text, top = block.text.decode("utf-8", "replace"), block.first_line()
    if plan.kind == "csv":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=plan.delimiter)
        before = 0
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
    else:
        for place, line in enumerate(text.split("\n")):
            if line.strip():
                yield top + place, line


def _csv(plan: Plan, block: Block) -> Rows:
    try:
        table = _read_csv(plan, block, plan.in_words)
    except pa.ArrowInvalid:
        # Numbers as floats (5.0), or documents that are words here.
        table = _read_csv(plan, block, True, pa.float64())
    return _to_rows(plan, table)


def _read_csv(plan: Plan, block: Block, in_words: bool, number: Any = None) -> pa.Table:
    number = number or pa.int32()
    words = pa.dictionary(pa.int32(), pa.string())
    kinds: dict[str, Any] = {}
    for role, name in plan.columns.pairs():
        if role == "document":
            kinds[name] = words if in_words else pa.int64()
        elif role in WORDS:
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
        parse_options=pa.csv.ParseOptions(delimiter=plan.delimiter, newlines_in_values=b'"' in block.text),
        convert_options=pa.csv.ConvertOptions(
            include_columns=plan.columns.used, column_types=kinds, null_values=list(EMPTY)
        ),
    )


def _json(plan: Plan, block: Block) -> Rows:
    schema = pa.schema([(name, _json_type(plan, role, name)) for role, name in plan.columns.pairs()])
    if not block.text.strip():
        return _to_rows(plan, schema.empty_table())
    try:
        table = pa.json.read_json(
            pa.py_buffer(block.text),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=max(len(block.text) + 1, 1 << 10)),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        # Lines of several types, numbers as floats (5.0), or what is wrong and has a line.
        block.text.decode("utf-8")
        return json_rows(
            plan, [(f"line {line}", _object(plan, line, text)) for line, text in _records(plan, block)]
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


def without_others(plan: Plan, table: pa.Table) -> Rows:
    """The rows of the table; those that hold neither a layer nor experts are of another kind."""
    columns = plan.columns
    needed = [columns.layer, *(columns.experts or (columns.expert,))]
    other = np.logical_and.reduce([table.column(name).is_null().to_numpy() for name in needed])
    if not other.any():
        return _to_rows(plan, table)
    kept = np.flatnonzero(~other).astype(np.int32)
    try:
        rows = _to_rows(plan, table.take(pa.array(kept)))
    except WrongRowError as error:
        raise WrongRowError(int(kept[error.row]), error.words) from None
    source = kept if rows.source is None else kept[rows.source]
    return replace(rows, source=source, skipped=int(other.sum()))


def _to_rows(plan: Plan, table: pa.Table) -> Rows:
    """Columns of Arrow as rows, whatever file they came from."""
    columns = plan.columns
    held: dict[str, Any] = {}
    for role in INTEGERS:
        name = getattr(columns, role)
        if name:
            held[role] = arrow.whole(table.column(name), name, -1 if role == "token" else None)
    for role, read in (("experts", arrow.whole), ("weights", arrow.floats)):
        names = getattr(columns, role)
        if names and columns.listed:
            held[role] = _listed(table.column(names[0]), names[0], read)
        elif names:
            held[role] = np.stack([read(table.column(name), name) for name in names], axis=1)
    if columns.expert:
        held["experts"] = held.pop("expert")[:, None]
    if columns.weight:
        held["weights"] = arrow.floats(table.column(columns.weight), columns.weight)[:, None]
    if "weights" in held and held["weights"].shape != held["experts"].shape:
        raise WrongRowError(0, f"{held['weights'].shape[1]} weights of {held['experts'].shape[1]} experts")
    if columns.phase:
        held["phase"] = arrow.phases(columns.phase, table.column(columns.phase))
    names_: tuple[str, ...] = ()
    if columns.document:
        codes, values = arrow.encoded(table.column(columns.document))
        for place, value in enumerate(values):
            if value is None or value == "":
                raise WrongRowError(
                    int(np.argmax(codes == place)), f"column {columns.document} is empty: of which document?"
                )
        held["document"], names_ = codes, tuple(_label(value) for value in values)
    said = []
    for role in ("domain", "cluster"):
        name = getattr(columns, role)
        if name:
            column = table.column(name)
            required = role in columns.named
            said.append((role, arrow.of_documents(held.get("document"), len(names_), name, column, required)))
    held["said"] = tuple(said)
    return arrow.checked(columns, held, names_)


def _label(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(column: Any, name: str, read: Any) -> NDArray:
    """Lists as Arrow has them, or in the words of a cell: ``[3, 17]``, ``3 17``, ``3;17``, ``3|17``."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
            raise WrongRowError(0, f"column {name} holds {column.type}, wanted lists")
        return arrow.lists(column, name, read)
    cells = [text or "" for text in column.to_pylist()] if column.null_count else None
    if cells is None and len(column):
        try:
            return _split(column, read, name)
        except (pa.ArrowException, WrongRowError):
            cells = column.to_pylist()
    values = []
    for row, cell in enumerate(cells or ()):
        values.append(_numbers(row, cell, name, read is arrow.floats))
        if len(values[-1]) != len(values[0]):
            raise WrongRowError(
                row,
                f"{len(values[-1])} values in {name} ({shown(cell)}) where the row before has {len(values[-2])}",
            )
    return np.array(values, np.float32 if read is arrow.floats else np.int64).reshape(len(values), -1)


def _split(column: Any, read: Any, name: str) -> NDArray:
    """Cells of one width, read by the CSV parser at once."""
    ended = pa.compute.binary_join_element_wise(column.cast(pa.large_string()), "\n", "")
    data = ended.buffers()[2].to_pybytes()
    if b"\r" in data or data.count(b"\n") != len(column):
        raise pa.ArrowInvalid("a line break in a list")
    data = data.replace(b", ", b",").translate(_BETWEEN, _AROUND)
    width = data[: data.index(b"\n")].count(b",") + 1
    names = [str(place) for place in range(width)]
    kind = pa.float32() if read is arrow.floats else pa.int32()
    table = pa.csv.read_csv(
        pa.py_buffer(data),
        read_options=pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, kind), null_values=[]),
    )
    if table.num_rows != len(column):
        raise pa.ArrowInvalid("a cell without numbers")
    return np.stack([read(table.column(one), name) for one in names], axis=1)


def _numbers(row: int, cell: str | None, name: str, fractions: bool) -> list[Any]:
    """The numbers of one cell."""
    text = (cell or "").encode("utf-8", "replace").translate(_BETWEEN, _AROUND).decode("utf-8", "replace")
    items = [item for item in text.split(",") if item]
    if not items:
        raise WrongRowError(row, f"column {name} is empty")
    try:
        numbers = [float(item) for item in items]
    except ValueError:
        raise WrongRowError(row, f"column {name}: {shown(cell)} is no list of numbers") from None
    if fractions:
        return numbers
    if not all(number.is_integer() and abs(number) < 2**31 for number in numbers):
        raise WrongRowError(row, f"column {name}: {shown(cell)} is no list of whole numbers")
    return [int(number) for number in numbers]


def _complain_of_line(plan: Plan, block: Block) -> None:
    """Name the first line of a refused block that cannot be."""
    try:
        block.text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.first_line() + block.text.count(b"\n", 0, error.start)
        raise FormatError(f"{plan.path}, line {line}: not UTF-8 text ({error.reason})") from None
    for line, record in _records(plan, block):
        wrong = _wrong_cells(plan, record) if plan.kind == "csv" else ""
        if wrong:
            raise FormatError(f"{plan.path}, line {line}: {wrong}")


def _wrong_cells(plan: Plan, record: list[str]) -> str:
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
    try:
        number = float(cell)
    except ValueError:
        return f"column {name}: {shown(cell)} is no number"
    if role in ("weight", "weights"):
        return ""
    if not number.is_integer():
        return f"column {name}: {shown(cell)} is no whole number"
    return f"column {name}: {shown(cell)} is beyond ±2147483647" if abs(number) > arrow.LARGEST else ""


def _wrong_object(plan: Plan, record: Any) -> str:
    if not isinstance(record, dict):
        return f"wanted an object, got {type(record).__name__}"
    for role, name in plan.columns.pairs():
        value = record.get(name)
        several = role in ("experts", "weights") and plan.columns.listed
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
        return "is neither text nor a whole number"
    if isinstance(item, bool) or not isinstance(item, int | float):
        return "is no number"
    if role in ("weight", "weights"):
        return ""
    if not float(item).is_integer():
        return "is no whole number"
    return f"is beyond ±{arrow.LARGEST}" if abs(item) > arrow.LARGEST else ""


def json_rows(plan: Plan, records: list[tuple[str, Any]]) -> Rows:
    """Rows from objects that are in memory, each with its place in words.

    Raises
    ------
    FormatError
        Naming the first that cannot be.
    """
    for where, record in records:
        wrong = _wrong_object(plan, record)
        if wrong:
            raise FormatError(f"{plan.path}, {where}: {wrong}")
    plan = replace(plan, kinds=())
    table = pa.table(
        {
            name: pa.array(
                [_as(role, record.get(name)) for _, record in records],
                _json_type(plan, role, name, pa.int64()),
            )
            for role, name in plan.columns.pairs()
        }
    )
    return without_others(plan, table)


def _as(role: str, value: Any) -> Any:
    if value is None:
        return None
    if role in (*WORDS, "document"):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if role in ("weight", "weights"):
        return value
    return [None if item is None else int(item) for item in value] if isinstance(value, list) else int(value)


def object_facts(plan: Plan, block: Block, most: int) -> dict[str, Any]:
    """What the first lines of another type say, by key: text and numbers."""
    facts: dict[str, Any] = {}
    needed = (plan.columns.layer, *(plan.columns.experts or (plan.columns.expert,)))
    seen = 0
    for _, text in _records(plan, block):
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
