"""JSON and JSON Lines: records with their places, and values of the wanted type."""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import kind_of, reason
from routestat.traces.validation import shown


def json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSON or JSON Lines file, each with its place in words; lines are read one by one."""
    for where, value in json_values(path):
        yield where, json_object(where, value)


def json_values(path: Path) -> Iterator[tuple[str, Any]]:
    """As `json_records`, whatever the items or lines are."""
    try:
        with path.open(encoding="utf-8-sig") as handle:
            lines = ((number, line) for number, line in enumerate(handle, 1) if line.strip())
            first, second = next(lines, None), next(lines, None)
            if first is None:
                raise FormatError(f"{path}: empty")
            if second is not None and _is_json(first[1]):
                for number, line in chain((first, second), lines):
                    yield f"{path}, line {number}", _parse(f"{path}, line {number}", line)
                return
        content = _parse(str(path), path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    if isinstance(content, list):
        for index, item in enumerate(content):
            yield f"{path}, item {index}", item
    else:
        yield str(path), content


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(where: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_named_once)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except RecursionError:
        raise FormatError(f"{where}: not valid JSON (nested too deeply)") from None
    except ValueError as error:
        raise FormatError(f"{where}: not valid JSON ({reason(error)}); was it cut off?") from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of pairs, and refuse a name that occurs twice."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in record if names.count(name) > 1)
        raise FormatError(f"the name {shown(twice)} comes twice in one object")
    return record


def json_object(where: str, value: Any) -> dict[str, Any]:
    """Return the value if it is an object."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected an object, got {kind_of(value)}")
    return value


def inner(where: str, record: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object inside a record; empty if it is absent."""
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FormatError(f"{where}: {name} must be an object, got {kind_of(value)}")
    return value


def whole_number(where: str, record: dict[str, Any], name: str, least: int = 0) -> int:
    """Return a whole number of a record."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise FormatError(f"{where}: {name} must be a whole number from {least}, got {_value(value)}")
    return value


def _value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return kind_of(value)
    return reason(shown(value) if isinstance(value, str) else value)
