"""Parts of a trace: whole documents, cut evenly by rows, so that several processes count one trace."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from routestat.errors import RoutestatError, TraceError
from routestat.progress import Progress
from routestat.traces.dummy_rows.not_measured import NotMeasured
from routestat.traces.manifest import MANIFEST, Manifest, sha256_of
from routestat.traces.shards import check_rows_between
from routestat.traces.store import Trace

# More parts than this are a mistake: each is a process.
MOST_PARTS = 1 << 20


@dataclass(frozen=True, order=True)
class RowRange:
    """One of several equal parts of the stored rows of a trace.

    Attributes
    ----------
    number, of : int
        Part `number` of `of`, from 1.
    start, stop : int
        Stored rows ``start … stop − 1``: the documents whose first row lies in part `number` of `of` equal
        parts of the rows.
    """

    number: int
    of: int
    start: int
    stop: int

    def __str__(self) -> str:
        """Return ``3/16``."""
        return f"{self.number}/{self.of}"


class SameTrace(Trace):
    """Another reading of a trace: everything but the rows that it yields is that of the trace.

    Parameters
    ----------
    trace : Trace
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        super().__init__(
            trace.meta,
            trace.documents,
            (),
            trace.n_tokens,
            trace.columns,
            trace.complete,
            trace.units,
            trace.template,
            dummy_rows=trace.dummy_rows,
        )
        self.note, self.folder, self.identity = trace.note, trace.folder, trace.identity
        self.cluster = trace.cluster

    @property
    def not_measured(self) -> NotMeasured:
        """Dummy rows and layers of the whole trace."""
        return self._trace.not_measured

    @property
    def n_stored(self) -> int:
        """Rows as stored, those of the whole trace."""
        return self._trace.n_stored

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows of the trace."""
        return self._trace.record_batches(columns)

    def shards_between(self, start: int, stop: int) -> tuple[str, ...]:
        """Return the names of the shards that hold any of the rows `start` … `stop` − 1 of the whole trace."""
        return self._trace.shards_between(start, stop)


class Part(SameTrace):
    """The rows of some consecutive documents of a trace.

    Everything but the rows is that of the whole trace: its documents and their clusters and groups, and `n_tokens` and
    `n_counted`, on which sizes of tables and samples depend.

    Parameters
    ----------
    trace : Trace
    rows : RowRange
    """

    def __init__(self, trace: Trace, rows: RowRange) -> None:
        super().__init__(trace)
        self.rows = rows

    @property
    def n_counted_before(self) -> int:
        """Counted rows of the whole trace before these rows."""
        trace, start = self._trace, self.rows.start
        if trace.n_stored == trace.n_counted:
            return start
        before = Part(trace, RowRange(1, 1, 0, start))
        return sum(len(batch) for batch in before.counted([]))

    def record_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows; the record batches and shards without any of them are not read."""
        return self._trace.record_batches_between(self.rows.start, self.rows.stop, columns)


def part_of(trace: Trace, number: int, of: int) -> Part:
    """Return part `number` (from 1) of `of` parts of a trace.

    Parts are whole documents: a part has those whose first row lies in its share of the rows, so that it is empty
    where a document is longer than several shares. Together the parts have every document once.

    Raises
    ------
    RoutestatError
        If there is no such part.
    """
    if not 1 <= number <= of:
        raise RoutestatError(f"part {number}/{of}: parts are numbered from 1 to {of}")
    rows = trace.n_stored
    start, stop = (trace.next_document(place * rows // of) for place in (number - 1, number))
    return Part(trace, RowRange(number, of, start, stop))


def parse_part(text: str) -> tuple[int, int]:
    """Read ``3/16`` as part 3 of 16.

    Raises
    ------
    RoutestatError
        If it is not two such numbers.
    """
    found = re.fullmatch(r"(\d{1,7})/(\d{1,7})", text.strip(), re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST_PARTS:
        raise RoutestatError(f"--part is K/N with K from 1 to N, such as 3/16, got {text!r}")
    return int(found[1]), int(found[2])


def check_part(part: Part, progress: Progress | None = None) -> set[int]:
    """Check the rows of a part of a store and the shards they are in; return its documents.

    Raises
    ------
    TraceError
        For a shard that is missing or altered, a row that is impossible, or a store that is no longer that which was
        opened; names the file and the row.
    """
    if part.folder is None:
        return set()
    manifest, rows = Manifest.load(part.folder), part.rows
    if not part.identity.startswith(sha256_of(part.folder / MANIFEST)):
        raise TraceError(f"{part.folder}: altered since it was opened; start again")
    # Where dummy rows are left out of a view, its rows have other places than those stored: all are checked.
    start, stop = (rows.start, rows.stop) if manifest.n_tokens == part.n_stored else (0, manifest.n_tokens)
    return check_rows_between(part.folder, manifest, start, stop, progress)
