"""The kind of a file and the meaning of its columns, by its first rows."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import listed, reason
from routestat.traces.importers.common.misspelt_names import closest_name
from routestat.traces.importers.tables.arrow_columns import FORWARD_MODES, PHASE_WORDS
from routestat.traces.importers.tables.columns import Columns, parse_columns
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.layouts import recognise, require, settle_form, unnamed
from routestat.traces.importers.tables.names import NAMES, plain
from routestat.traces.importers.tables.sources import Text, head_of, is_table_name
from routestat.traces.validation import shown

# Rows from which the content of a column is recognised.
SAMPLE_ROWS = 500
HEAD_BYTES = 1 << 20
# Beyond this a JSON array is not read whole.
LARGEST_JSON = 1 << 30


def probe(path: Path, said: str | None) -> Plan:
    """Determine how to read the table in a file.

    Parameters
    ----------
    said : str, optional
        The caller's ``--columns``.

    Raises
    ------
    FormatError
        If it is empty or not a table, or a required column is not recognised.
    """
    with path.open("rb") as handle:
        magic = handle.read(4)
    if not magic:
        raise FormatError(f"{path}: empty")
    if magic == b"PAR1":
        return _probe_parquet(path, said)
    first = next(Text(path).blocks(HEAD_BYTES), None)
    lines = [] if first is None else [line for line in first.text.split(b"\n") if line.strip()]
    if not lines:
        raise FormatError(f"{path}: empty: only comments")
    start = lines[0].lstrip()[:1]
    if start == b"{":
        return _probe_lines(path, said, lines)
    if start == b"[" and path.suffix.lower() not in (".csv", ".tsv"):
        return _settled(path, "json", json_array(path)[:SAMPLE_ROWS], said)
    return _probe_csv(path, said, lines)


def json_array(path: Path) -> list[Any]:
    """Read the objects of a JSON array."""
    parts = [block.text for block in Text(path, quoted=False).blocks()]
    if sum(map(len, parts)) > LARGEST_JSON:
        raise FormatError(f"{path}: a JSON array of more than 1 GiB; write one object a line (JSON lines)")
    try:
        return [] if not (found := json.loads(b"".join(parts))) else list(found)
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: not valid JSON ({reason(error)}); was it cut off?") from None


def _probe_csv(path: Path, said: str | None, lines: list[bytes]) -> Plan:
    text = [line.decode("utf-8", "replace").rstrip("\r") for line in lines[: SAMPLE_ROWS + 1]]
    delimiter = _delimiter(path, text[0])
    try:
        records = list(csv.reader(io.StringIO("\n".join(text), newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise FormatError(f"{path}, line 1: not a line of a table ({reason(error)})") from None
    first = [cell.strip() for cell in records[0]]
    bare = all(re.fullmatch(r"-?\d+", cell) for cell in first)
    if bare and len(first) < 3:
        raise FormatError(
            f"{path}, line 1: numbers without a header, expected pos,layer,id0,id1,…; name the columns there"
        )
    held, columns = unnamed(len(first)) if bare else (_named(path, first), Columns())
    sample = [record for record in records[0 if bare else 1 :] if len(record) == len(held)]
    values = {name: [record[place] for record in sample] for place, name in enumerate(held)}
    belied: tuple[str, ...] = ()
    if said is not None or not bare:
        columns, belied = _columns(path, said, held, values)
    numbers = all(re.fullmatch(r"0|-?[1-9]\d*", cell.strip()) for cell in values.get(columns.document, ()))
    header = b"" if bare else lines[0]
    return Plan(path, "csv", columns, tuple(held), delimiter, header, not numbers, belied=belied)


def _delimiter(path: Path, line: str) -> str:
    outside = re.sub(r'"[^"]*"', "", line)
    if "\t" in outside or ".tsv" in path.suffixes:
        return "\t"
    return max(",;|", key=outside.count)


def _named(path: Path, names: list[str]) -> list[str]:
    """Return the header, with names for columns that have none (an index that pandas wrote)."""
    held = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
    twice = next((name for place, name in enumerate(held) if name in held[:place]), None)
    if twice is not None:
        raise FormatError(f"{path}, line 1: column {shown(twice)} is named twice")
    if len(held) > 10_000:
        raise FormatError(f"{path}, line 1: {len(held)} columns: is the first line a header?")
    return held


def _columns(
    path: Path, said: str | None, held: list[str], values: dict[str, list[Any]]
) -> tuple[Columns, tuple[str, ...]]:
    """Return the columns by role, and those whose values contradict their names."""
    named = recognise(held, Columns() if said is None else parse_columns(str(path), said, held))
    columns, belied = settle_form(named, values), []
    require(str(path), columns, held, values)
    if named.token and named.token not in columns.used:
        belied.append(f"column {named.token} is not read: its values are not token ids")
    if columns.phase and "phase" not in columns.named and not _are_phases(columns.phase, values):
        belied.append(f"column {columns.phase} is not read: its values are not phases")
        columns = replace(columns, phase="")
    belied += _doubtful(columns, held)
    return columns, tuple(belied)


def _doubtful(columns: Columns, held: list[str]) -> list[str]:
    """Return notes on columns that are not read, but may be one of those that are, under another name."""
    # The first column without a name is the index that pandas writes.
    rest = [name for name in held if name not in columns.used and name != "Unnamed: 0"]
    slots = () if columns.listed or "experts" in columns.named else columns.experts
    roles = ("document", "position", "token", "phase", "domain", "cluster")
    known = {name for role in roles if not getattr(columns, role) for name in NAMES[role]}
    if slots:
        known.add(re.sub(r"\d+$", lambda number: str(int(number[0]) + 1), slots[-1]))
    said = [
        f"column {listed([name])} is not read; did you mean {one}?"
        for name in rest
        if (one := closest_name(plain(name), known))
    ]
    unnamed = [name for name in rest if name.startswith("Unnamed: ")]
    if slots and rest and (unnamed or len(slots) == 1 or not slots[0].endswith("0")):
        said.append(f"experts are read from {listed(slots)} (k = {len(slots)}), and not from {listed(rest)}")
    return said


def _are_phases(name: str, values: dict[str, list[Any]]) -> bool:
    known = FORWARD_MODES if plain(name) == "forward_mode" else PHASE_WORDS
    return all(str(value).strip().lower() in known for value in values.get(name, ()) if value is not None)


def _probe_lines(path: Path, said: str | None, lines: list[bytes]) -> Plan:
    records = []
    for line in lines[:SAMPLE_ROWS]:
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError, UnicodeDecodeError):
            continue
    if not records:
        if len(lines) > 1 or lines[0].strip() == b"{":
            raise FormatError(f"{path}, line 1: not valid JSON lines; was it cut off?")
        raise FormatError(f"{path}, line 1: begins like JSON but is not; was it cut off?")
    return _settled(path, "jsonl", records, said)


def _settled(path: Path, kind: str, records: list[Any], said: str | None) -> Plan:
    """Make a plan from the first objects of a file; objects without the layer's column do not define the columns."""
    objects = [record for record in records if isinstance(record, dict)]
    if not objects:
        raise FormatError(f"{path}: no objects with columns in it")
    widest = list(dict.fromkeys(name for record in objects for name in record))
    columns = parse_columns(str(path), said, widest) if said is not None else Columns()
    # Lines with the layer's column are those of the table.
    columns = recognise(widest, columns)
    rows = [
        record for record in objects if columns.layer and record.get(columns.layer) is not None
    ] or objects
    held = list(dict.fromkeys(name for record in rows for name in record))
    values = {name: [record.get(name) for record in rows if record.get(name) is not None] for name in held}
    columns, belied = _columns(path, said, held, values)
    kinds = []
    for role, name in columns.pairs():
        if role in ("document", "phase", "domain", "cluster"):
            kinds.append((name, _kind_of(values.get(name, []))))
    return Plan(path, kind, columns, tuple(held), kinds=tuple(kinds), belied=belied)


def _kind_of(values: list[Any]) -> Any:
    if values and all(isinstance(value, bool) for value in values):
        return pa.bool_()
    if values and all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return pa.int64()
    return pa.string()


def _probe_parquet(path: Path, said: str | None) -> Plan:
    try:
        file = pq.ParquetFile(path)
        held = list(file.schema_arrow.names)
        sample = next(file.iter_batches(batch_size=SAMPLE_ROWS), None)
        values = (
            {} if sample is None else {name: sample.column(name).to_pylist() for name in dict.fromkeys(held)}
        )
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise FormatError(f"{path}: not a readable Parquet file ({reason(error)})") from None
    twice = next((name for place, name in enumerate(held) if name in held[:place]), None)
    if twice is not None:
        raise FormatError(f"{path}: column {shown(twice)} is named twice")
    values = {name: [value for value in column if value is not None] for name, column in values.items()}
    columns, belied = _columns(path, said, held, values)
    return Plan(path, "parquet", columns, tuple(held), belied=belied)


def is_table(path: Path) -> bool:
    """Return whether a file of no engine's format looks like a table."""
    try:
        probe(path, None)
    except FormatError:
        # By its name it should be one: then the reader reports its columns.
        head = head_of(path)
        text = bool(head) and (b"\0" not in head or head.startswith((b"\xff\xfe", b"\xfe\xff")))
        suffixes = [suffix.lower() for suffix in path.suffixes]
        return is_table_name(path) and text and (not {".json", ".txt"} & set(suffixes))
    except OSError:
        return False
    return True
