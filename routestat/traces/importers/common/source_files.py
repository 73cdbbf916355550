"""The files of a source, and notes on those that are not read."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import listed

# Files beside the data that are not data.
BESIDE = re.compile(r"\.|README|LICEN[CS]E|.*\.(?:md|ya?ml|log)$", re.IGNORECASE)


def files_of(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the file itself, or the files of a folder with these suffixes, by name.

    Raises
    ------
    FormatError
        If there is none.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in suffixes and file.is_file())
        if not files:
            raise FormatError(f"{path}: no {', '.join(suffixes)} files in this folder")
        return files
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    return [path]


def note_unread_files(path: Path, read: Iterable[Path]) -> list[str]:
    """Return a note on the files of a folder that were not read; none for a single file."""
    if not path.is_dir():
        return []
    known = set(read)
    rest = [
        file.name
        for file in sorted(path.iterdir())
        if file.is_file() and file not in known and not BESIDE.match(file.name)
    ]
    return [f"{len(rest)} files of {path} are not read: {listed(rest)}"] if rest else []
