"""Rows in memory, or beyond a budget in sorted temporary files that are read back in ranges."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.traces.importers.tables.rows import Rows, joined

#: Most bytes of rows in memory before they are written to files.
BUDGET_BYTES = 320 << 20
# Positions may be negative until prompts are known.
_OFFSET = 1 << 31


def keys_of(document: NDArray[np.integer], position: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return one number for document and position, increasing in both."""
    return np.asarray((document.astype(np.int64) << 32) + (position.astype(np.int64) + _OFFSET))


@dataclass
class RowStore:
    """Rows in their order, in memory or in sorted runs on disk.

    Parameters
    ----------
    budget : int
        Bytes of rows that are held in memory.
    scratch : path, optional
        Folder for temporary files; the system's default if not given.
    """

    budget: int = BUDGET_BYTES
    scratch: Path | None = None
    held: list[Rows] = field(default_factory=list)
    runs: list[dict[str, Path]] = field(default_factory=list)
    n_rows: int = 0
    _bytes: int = 0
    _folder: Any = None

    def __enter__(self) -> "RowStore":
        """Return the store of rows."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary files."""
        if self._folder is not None:
            self._folder.cleanup()

    def _on_disk(self) -> bool:
        """Return whether rows are on disk; then all of them are."""
        if self.runs:
            self.spill()
        return bool(self.runs)

    def add(self, rows: Rows) -> None:
        """Add rows after those that were added before."""
        self.held.append(replace(rows, source=None, names=(), said=(), skipped=0))
        self.n_rows += len(rows)
        self._bytes += self.held[-1].nbytes
        if self._bytes > self.budget:
            self.spill()

    def spill(self) -> None:
        """Write the rows in memory as one sorted run."""
        if self.held:
            rows = joined(self.held)
            self._write(rows, len(self.runs))
            self._bytes = 0

    def _write(self, rows: Rows, number: int) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="rows-", dir=self.scratch)
        key = keys_of(rows.document, rows.position)
        if (key[1:] < key[:-1]).any():
            order = np.argsort(key, kind="stable")
            key, rows = key[order], rows.take(order)
        files = {}
        for name, array in (("key", key), *rows.arrays().items()):
            files[name] = Path(self._folder.name) / f"{number}-{name}.npy"
            np.save(files[name], array)
        self.runs[number : number + 1] = [files]

    def take_all(self) -> Rows:
        """Return all rows and release them, if none are on disk."""
        return joined(self.held)

    def change(self, change: Callable[[Rows], Rows]) -> None:
        """Give every row another document or position."""
        if not self._on_disk():
            self.held = [change(self.take_all())]
            return
        for number, files in enumerate(self.runs):
            rows = self._read(files, slice(None))
            self._write(change(rows), number)

    def _read(self, files: dict[str, Path], rows: slice) -> Rows:
        arrays: dict[str, Any] = {
            name: np.array(np.load(file, mmap_mode="r")[rows])
            for name, file in files.items()
            if name != "key"
        }
        return Rows(**arrays)

    def pieces(self) -> Iterator[Rows]:
        """Yield all rows, in pieces with all rows of their documents and positions; the rows are kept."""
        if self._on_disk():
            yield from self.parts()
        elif self.held:
            self.held = [joined(self.held)]
            yield self.held[0]

    def parts(self) -> Iterator[Rows]:
        """Yield all rows in ranges that fit the budget, cut between documents where possible."""
        if not self._on_disk():
            yield self.take_all()
            return
        keys = [np.load(files["key"], mmap_mode="r") for files in self.runs]
        # Half the budget, as the arrays made from the rows need memory, too.
        row_bytes = sum(np.load(file, mmap_mode="r")[:1].nbytes for file in self.runs[0].values())
        bounds = _bounds(keys, max(self.budget // (2 * row_bytes), 1))
        for low, high in pairwise(bounds):
            found = []
            for key, files in zip(keys, self.runs, strict=True):
                first, last = np.searchsorted(key, [low, high])
                if last > first:
                    found.append(self._read(files, slice(int(first), int(last))))
            if found:
                yield joined(found)


def _bounds(keys: list[NDArray[np.int64]], most: int) -> list[int]:
    """Return keys between which about `most` rows lie, from a sample of the keys of each run."""
    step = max(1, most // 64)
    sample = np.sort(np.concatenate([np.asarray(key[::step]) for key in keys]))
    per_part = max(1, most // step)
    bounds = [int(sample[0])]
    place = per_part
    while place < len(sample):
        cut = int(sample[place])
        # At the start of a document if one begins in this part.
        document = (cut >> 32) << 32
        cut = document if document > bounds[-1] else cut
        if cut > bounds[-1]:
            bounds.append(cut)
        place = max(int(np.searchsorted(sample, bounds[-1])) + per_part, place + 1)
    return [*bounds, int(np.iinfo(np.int64).max)]
