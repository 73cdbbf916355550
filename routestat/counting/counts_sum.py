"""The sum of counts of the parts of one trace, which have to have been counted alike."""

from dataclasses import replace

from routestat.counting.counts import Counts
from routestat.counting.origin import Origin, require_same_trace
from routestat.errors import RoutestatError
from routestat.traces.number_ranges import span


class Sum:
    """Counts of the parts of one trace, added one by one."""

    def __init__(self) -> None:
        """Begin with no part."""
        self._total: Counts | None = None
        self._first = ""

    def add(self, counts: Counts, name: str) -> None:
        """Add a part; `name` says in errors which it is, such as its file.

        Raises
        ------
        RoutestatError
            If it is not of the same trace, was counted in another way, or has rows that were added before.
        """
        _origin_of(counts, name)
        if self._total is None:
            self._total, self._first = counts, name
            return
        _require_alike(self._total, counts, self._first, name)
        try:
            self._total = self._total + counts
        except RoutestatError as error:
            raise RoutestatError(f"{name}: {error}") from None

    def finished(self, allow_missing: bool = False) -> tuple[Counts, str]:
        """Return the sum, and which parts are missing in words, or an empty text.

        Raises
        ------
        RoutestatError
            If nothing was added; if parts are missing, unless that is allowed: the sum's `note` then says which.
        """
        if self._total is None:
            raise RoutestatError("nothing to add: name files that count wrote")
        missing = _origin_of(self._total, self._first).missing
        if not missing:
            return self._total, ""
        if not allow_missing:
            raise RoutestatError(
                f"{missing} of the trace missing: count them too, or add the others with --allow-missing"
            )
        note = "; ".join(filter(None, [self._total.note, f"counted without {missing} of the trace"]))
        return replace(self._total, note=note), missing


def _origin_of(counts: Counts, name: str) -> Origin:
    if len(counts.origins) != 1:
        known = "no trace" if not counts.origins else f"{len(counts.origins)} traces"
        raise RoutestatError(f"{name}: expected counts of one stored trace, got those of {known}")
    return counts.origins[0]


def _require_alike(first: Counts, other: Counts, name_of_first: str, name: str) -> None:
    """Refuse counts of another trace, or counted in another way; says what differs."""
    said = f"{name}: expected counts as in {name_of_first}"
    require_same_trace(first.origins[0], other.origins[0], said)
    for words, ours, theirs in (
        ("view", first.states, other.states),
        ("layers", span([r.layer for r in first.routers]), span([r.layer for r in other.routers])),
        ("routers", first.routers, other.routers),
        (
            "contexts",
            ", ".join(c.name for c in first.contexts),
            ", ".join(c.name for c in other.contexts),
        ),
        ("groups", first.groups, other.groups),
    ):
        if ours != theirs:
            raise RoutestatError(
                f"{said}, with {words} {ours}, got {theirs}; count all with the same options"
            )
