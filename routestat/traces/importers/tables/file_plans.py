"""How a file is read: its kind, its columns and what they hold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routestat.traces.importers.tables.columns import Columns

#: Roles whose columns hold whole numbers, and words.
INTEGERS = ("position", "layer", "expert", "slot", "token")
WORDS = ("phase", "domain", "cluster")


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
    belied : tuple of str
        Notes on columns that do not hold what their names say.
    comments : list of str
        Lines that begin with ``#``, filled while reading.
    """

    path: Path
    kind: str
    columns: Columns
    held: tuple[str, ...]
    delimiter: str = ","
    header: bytes = b""
    in_words: bool = False
    kinds: tuple[tuple[str, Any], ...] = ()
    belied: tuple[str, ...] = ()
    comments: list[str] = field(default_factory=list, compare=False)
