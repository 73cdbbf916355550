"""What was counted: the trace, and which of its documents, so that nothing is added twice or to something else."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from routestat.errors import RoutestatError
from routestat.traces.clusters.units import Units
from routestat.traces.number_ranges import span
from routestat.traces.parts import Part, RowRange
from routestat.traces.store import Trace


@dataclass(frozen=True)
class Origin:
    """A trace and the parts of it that were counted.

    Attributes
    ----------
    name, model : str
        Those of the trace.
    identity : str
        Hash of the manifest of its store, see `Trace`.
    units : str
        Hash of its clusters, templates and repeated rows: which rows are counted and in which groups depends on them.
    template, dummy_rows : str
        Treatment of a prefix that documents share, and of rows that are no measurements.
    rows : int
        Stored rows of the whole trace.
    parts : tuple of RowRange
        What was counted, by first row.
    shards : tuple of str
        The files that hold these rows.
    """

    name: str
    model: str
    identity: str
    units: str
    template: str
    dummy_rows: str
    rows: int
    parts: tuple[RowRange, ...]
    shards: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every row of the trace is in one of the parts."""
        return not self._gaps()

    @property
    def missing(self) -> str:
        """The parts that are missing, in words; empty if none is."""
        gaps = self._gaps()
        if not gaps:
            return ""
        numbers = {part.of for part in self.parts}
        if len(numbers) == 1:
            of = numbers.pop()
            absent = sorted(set(range(1, of + 1)) - {part.number for part in self.parts})
            return f"{'parts' if len(absent) > 1 else 'part'} {span(absent)} of {of}"
        return "rows " + ", ".join(f"{start:,}-{stop - 1:,}" for start, stop in gaps)

    def same_trace(self, other: "Origin") -> bool:
        """Whether the other is of the same trace, with the same clusters and the same rows left out."""
        return self._of_all() == other._of_all()

    def with_parts_of(self, other: "Origin") -> "Origin":
        """Return the parts of both.

        Raises
        ------
        RoutestatError
            If a part is in both, or two parts have rows in common.
        """
        parts = sorted((*self.parts, *other.parts), key=lambda part: (part.start, part.stop))
        named = [(part.number, part.of) for part in parts]
        for one, following in pairwise(parts):
            if following.start < one.stop and one.start < one.stop and following.start < following.stop:
                if (one.number, one.of) == (following.number, following.of):
                    raise RoutestatError(f"part {one} of {self.name or 'the trace'} is given twice")
                raise RoutestatError(f"parts {one} and {following} overlap; use parts of one division")
        twice = [name for name in named if named.count(name) > 1] if len(set(named)) < len(named) else []
        if twice:
            raise RoutestatError(
                f"part {twice[0][0]}/{twice[0][1]} of {self.name or 'the trace'} is given twice"
            )
        return replace(self, parts=tuple(parts), shards=tuple(sorted({*self.shards, *other.shards})))

    def _of_all(self) -> "Origin":
        return replace(self, parts=(), shards=())

    def _gaps(self) -> list[tuple[int, int]]:
        gaps, at = [], 0
        for part in self.parts:
            if part.start > at:
                gaps.append((at, part.start))
            at = max(at, part.stop)
        return [*gaps, (at, self.rows)] if at < self.rows else gaps


def origins_of(trace: Trace) -> tuple[Origin, ...]:
    """Return the origin of counts of a trace or a part of one; none for a trace in memory, which has no identity."""
    if not trace.identity:
        return ()
    rows = trace.rows if isinstance(trace, Part) else RowRange(1, 1, 0, trace.n_stored)
    meta = trace.meta
    return (
        Origin(
            meta.name,
            meta.model,
            trace.identity,
            digest_of(trace.units),
            trace.template,
            trace.dummy_rows,
            trace.n_stored,
            (rows,),
            trace.shards_between(rows.start, rows.stop),
        ),
    )


def require_same_trace(expected: Origin, got: Origin, said: str) -> None:
    """Refuse counts of another trace, or with other documents as clusters; says what differs, after `said`.

    Raises
    ------
    RoutestatError
    """
    if expected.identity != got.identity:
        names = [f"{one.name or 'without a name'} ({one.identity[:8]})" for one in (expected, got)]
        raise RoutestatError(f"{said}, of trace {names[0]}, got those of {names[1]}")
    for field, words in (("template", "--template"), ("dummy_rows", "dummy rows"), ("units", "clusters")):
        ours, theirs = getattr(expected, field)[:8], getattr(got, field)[:8]
        if ours != theirs:
            raise RoutestatError(
                f"{said}, with {words} {ours}, got {theirs}; give all commands the same options"
            )


def joined(first: Sequence[Origin], second: Sequence[Origin]) -> tuple[Origin, ...]:
    """Return the origins of a sum; none if one of the summands does not know its own.

    Raises
    ------
    RoutestatError
        If something was counted in both.
    """
    if not first or not second:
        return ()
    together = list(first)
    for origin in second:
        place = next((at for at, one in enumerate(together) if one.same_trace(origin)), None)
        if place is None:
            together.append(origin)
        else:
            together[place] = together[place].with_parts_of(origin)
    return tuple(together)


def digest_of(units: Units) -> str:
    """Return a hash of the clusters of a trace and of the rows that are left out."""
    digest = hashlib.sha256()
    arrays: Iterable[np.ndarray] = (units.document, units.cluster, units.template, units.repeated)
    for array in arrays:
        digest.update(np.ascontiguousarray(array, "<i8").tobytes())
    return digest.hexdigest()
