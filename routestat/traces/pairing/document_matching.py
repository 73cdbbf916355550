"""Documents that two traces have in common, by their token ids or choices, never by names alone."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.traces.pairing.document_contents import HEAD, TAIL, Content, Contents, Document

WISHES = ("auto", "yes", "no")
#: The evidence by which documents are paired.
TOKENS, ROWS, SAME, NAMES, PLACES = "token ids", "choices", "same trace", "names", "places"
# Least rows of a document after rows are removed from it, and the largest share of rows that may be removed.
LEAST_ROWS, MOST_MISSING = 8, 0.2
# Least rows of a document if only its last row is removed: later rows do not change earlier ones.
LEAST_BEFORE_LAST = 3
#: Rows missing at the beginning of A, of B, at the end of A, of B; fewest first, and only one of two at each end.
MISSING = sorted(
    (
        (a, b, c, d)
        for a in range(HEAD + 1)
        for b in range(HEAD + 1)
        for c in range(TAIL + 1)
        for d in range(TAIL + 1)
        if not (a and b) and not (c and d)
    ),
    key=lambda rows: (sum(rows), rows),
)


@dataclass(frozen=True)
class Pair:
    """A document of A and the same of B, by their numbers.

    `skip_a` and `skip_b` rows at the start are in one of the two only; the `rows` after them are in both.
    """

    a: int
    b: int
    skip_a: int
    skip_b: int
    rows: int


@dataclass(frozen=True)
class Pairing:
    """The common documents of two traces.

    Attributes
    ----------
    paired : bool
        Whether common documents are compared with themselves.
    n_common : int
        Their number; without `paired` none were searched for.
    by : str
        The evidence, see `TOKENS` and the others; empty without `paired`.
    aligned : bool
        Whether their rows are known to be of the same tokens, so that choices compare token by token.
    numbers_a, numbers_b : mapping of the trace's number to the new one
        Common documents get the same first numbers; all others get different ones.
    common_a, common_b : mapping of the new number to (first row, rows)
        The common rows of the two documents of a pair, if these are not all rows.
    n_missing : int
        Pairs of which one has rows that the other lacks.
    reasons : tuple of str
        Reasons why others were not paired, one sentence each.
    """

    paired: bool
    n_common: int
    by: str
    aligned: bool
    numbers_a: Mapping[int, int]
    numbers_b: Mapping[int, int]
    common_a: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    common_b: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    n_missing: int = 0
    reasons: tuple[str, ...] = ()


_UNLIKE = "no remaining document of the other agrees with them beyond chance"
#: Pairs documents of A and B by their choices.
ByRows = Callable[[Sequence[Document], Sequence[Document]], Sequence[Pair]]


def pair_documents(
    a: Sequence[Document],
    b: Sequence[Document],
    wish: str,
    same_trace: bool = False,
    by_rows: ByRows | None = None,
) -> Pairing:
    """Find common documents by their token ids or, where these are unknown, by their choices.

    Parameters
    ----------
    a, b : sequences of Document
    wish : {"auto", "yes", "no"}
        "yes" pairs by name where nothing proves that documents are the same, and by place without names but with
        equal lengths, which is reported.
    same_trace : bool
        Both come from one trace, so that equal numbers are the same document.
    by_rows : callable, optional
        Finds pairs by their choices among documents of which token ids are unknown.

    Raises
    ------
    RoutestatError
        For "yes" without any common document, or another word.
    """
    if wish not in WISHES:
        raise RoutestatError(f"--paired is {', '.join(WISHES)}, got {wish!r}")
    if wish == "no":
        return number_documents(a, b, [], "", False, ())
    if same_trace:
        both = {one.number for one in a} & {one.number for one in b}
        same = [Pair(one.number, one.number, 0, 0, one.tokens) for one in a if one.number in both]
        return number_documents(a, b, same, SAME, True, ())
    found = pair_by_content({d.number: d.content for d in a}, {d.number: d.content for d in b})
    by = TOKENS if found else ""
    left = _left(a, found, lambda p: p.a), _left(b, found, lambda p: p.b)
    if by_rows is not None and any(d.content is None for part in left for d in part) and all(left):
        known = {d.number for d in left[1] if d.content is not None}
        identified = {d.number for d in left[0] if d.content is not None}
        # Where both have token ids, these differ even if choices agree.
        more = [p for p in by_rows(*left) if not (p.a in identified and p.b in known)]
        by = " and ".join(word for word, some in ((TOKENS, found), (ROWS, more)) if some)
        found = [*found, *more]
    if found or wish == "auto":
        return number_documents(a, b, found, by, bool(found), _reasons(a, b, found))
    found, by = _by_name(a, b), NAMES
    if not found and [d.tokens for d in a] == [d.tokens for d in b]:
        found = [Pair(x.number, y.number, 0, 0, x.tokens) for x, y in zip(a, b, strict=True)]
        by = PLACES
    if not found:
        raise RoutestatError(
            "--paired yes: the two traces have no document in common, by token ids, by choices or by name"
        )
    return number_documents(a, b, found, by, False, _reasons(a, b, found))


def pair_by_content(a: Mapping[int, Content | None], b: Mapping[int, Content | None]) -> list[Pair]:
    """Pair documents of equal rows, up to a few that one of the two lacks at an end.

    Of several equal documents the first is paired with the first. Pairs with fewest missing rows come first.

    Parameters
    ----------
    a, b : mappings of a document's number to its content
        None: unknown.
    """
    numbers = [[number for number, one in side.items() if one is not None] for side in (a, b)]
    first, second = (Contents([one for one in side.values() if one is not None]) for side in (a, b))
    free = [np.ones(len(some), bool) for some in numbers]
    found: list[tuple[int, Pair]] = []
    for head_a, head_b, tail_a, tail_b in MISSING:
        # Rows missing in A are removed from B.
        keys_a, keys_b = first.without(head_b, tail_b), second.without(head_a, tail_a)
        may_a = np.flatnonzero(free[0] & _shortened(first.rows, head_b, tail_b))
        may_b = np.flatnonzero(free[1] & _shortened(second.rows, head_a, tail_a))
        if not len(may_a) or not len(may_b):
            continue
        here = may_a[np.isin(keys_a[may_a], keys_b[may_b])]
        if not len(here):
            continue
        keyed: dict[int, deque[int]] = defaultdict(deque)
        for place in may_b[np.isin(keys_b[may_b], keys_a[here])].tolist():
            keyed[int(keys_b[place])].append(place)
        for place in here.tolist():
            if others := keyed[int(keys_a[place])]:
                other = others.popleft()
                rows = int(first.rows[place]) - head_b - tail_b
                found.append((place, Pair(numbers[0][place], numbers[1][other], head_b, head_a, rows)))
                free[0][place] = free[1][other] = False
    return [one for _, one in sorted(found, key=lambda item: item[0])]


def _shortened(rows: NDArray[np.int64], head: int, tail: int) -> NDArray[np.bool_]:
    """Return which documents may be compared without this many rows at the start and at the end."""
    gone = head + tail
    if not gone:
        return np.asarray(rows > 0)
    may = (rows - gone >= LEAST_ROWS) & (gone <= MOST_MISSING * rows)
    return np.asarray(may | (rows > LEAST_BEFORE_LAST) if (head, tail) == (0, 1) else may)


def _by_name(a: Sequence[Document], b: Sequence[Document]) -> list[Pair]:
    """Pair the first document of a name with the first, and so on; documents without a name are not paired."""
    keyed: dict[str, deque[Document]] = defaultdict(deque)
    for one in b:
        if one.name:
            keyed[one.name].append(one)
    found = []
    for one in a:
        if one.name and keyed.get(one.name):
            other = keyed[one.name].popleft()
            found.append(Pair(one.number, other.number, 0, 0, min(one.tokens, other.tokens)))
    return found


def _left(
    documents: Iterable[Document], found: Sequence[Pair], number: Callable[[Pair], int]
) -> list[Document]:
    taken = {number(one) for one in found}
    return [one for one in documents if one.number not in taken]


def _reasons(a: Sequence[Document], b: Sequence[Document], found: Sequence[Pair]) -> tuple[str, ...]:
    """Return reasons why documents of either trace are unpaired."""
    left = _left(a, found, lambda p: p.a), _left(b, found, lambda p: p.b)
    reasons = []
    for name, rest, other in zip("AB", left, (b, a), strict=True):
        identified = [d for d in rest if d.content is not None]
        if identified:
            whole = {(d.content.rows, d.content.whole) for d in other if d.content is not None}
            copies = sum(
                (d.content.rows, d.content.whole) in whole for d in identified if d.content is not None
            )
            if copies:
                reasons.append(f"{copies} of {name} are further copies of documents that were paired")
            if len(identified) > copies:
                why = (
                    "no document of the other has the same token ids (up to a few rows at an end)"
                    if whole
                    else f"the other has no token ids, and {_UNLIKE}"
                )
                reasons.append(f"{len(identified) - copies} of {name}: {why}")
        if len(rest) > len(identified):
            reasons.append(f"{len(rest) - len(identified)} of {name} have no token ids, and {_UNLIKE}")
    names = [{d.name for d in part if d.name} for part in left]
    if shared := len(names[0] & names[1]):
        reasons.append(f"{shared} of them have the same name in both, which is no proof")
    return tuple(reasons)


def number_documents(
    a: Sequence[Document],
    b: Sequence[Document],
    found: Sequence[Pair],
    by: str,
    aligned: bool,
    reasons: tuple[str, ...],
) -> Pairing:
    """Give the documents of both traces new numbers: common documents first, under the same numbers."""
    common = len(found)
    numbers_a = {one.a: new for new, one in enumerate(found)}
    numbers_b = {one.b: new for new, one in enumerate(found)}
    rows_a, rows_b = ({d.number: d.tokens for d in side} for side in (a, b))
    common_a, common_b, n_missing = {}, {}, 0
    for new, one in enumerate(found if aligned else ()):
        if (rows_a[one.a], rows_b[one.b]) != (one.rows, one.rows):
            n_missing += 1
            common_a[new], common_b[new] = (one.skip_a, one.rows), (one.skip_b, one.rows)
    # Unpaired traces may use the same numbers: their groups are never combined.
    following = common
    for document in a:
        if document.number not in numbers_a:
            numbers_a[document.number] = following
            following += 1
    following = following if common else 0
    for document in b:
        if document.number not in numbers_b:
            numbers_b[document.number] = following
            following += 1
    return Pairing(
        common > 0,
        common,
        by,
        aligned and common > 0,
        numbers_a,
        numbers_b,
        common_a,
        common_b,
        n_missing,
        reasons,
    )
