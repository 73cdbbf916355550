"""Contingency tables: checked once, stripped of what was never seen, and the ways to normalise them.

Rows are the source, columns the target. A leading axis, where there is one, counts groups of whole documents.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.kernels.pair_tables import table_margins
from routestat.errors import RoutestatError

Floats = NDArray[np.float64]

Integers = NDArray[np.int64]

# Above this neighbouring whole numbers are the same float.
LARGEST_EXACT = 2.0**53


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return the same array, closed for writing."""
    array.flags.writeable = False
    return array


def whole_counts(counts: ArrayLike, name: str = "counts") -> NDArray[np.integer[Any]]:
    """Check counts of any shape and return them as an integer array.

    Parameters
    ----------
    counts
        Finite whole numbers, zero or more; floats are welcome when they are whole.
    name
        What the message calls the argument.

    Raises
    ------
    RoutestatError
        For anything that is not such an array: text, NaN, infinity, a negative number, a fraction.
    """
    try:
        array = np.asarray(counts)
    except ValueError as error:
        raise RoutestatError(f"{name}: expected rows of equal length, got a ragged list; pad it") from error
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.kind not in "iuf":
        raise RoutestatError(f"{name}: expected a dense array of counts, got dtype {array.dtype}; convert it")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise RoutestatError(
                f"{name}: expected finite counts, got NaN or infinity; fill or drop those cells"
            )
        if (array != np.floor(array)).any():
            raise RoutestatError(
                f"{name}: expected whole counts, got fractions; pass counts, not probabilities"
            )
    if array.dtype.kind != "u" and (array < 0).any():
        raise RoutestatError(
            f"{name}: expected counts of zero or more, got {array.min()}; check the counting"
        )
    # Small types cannot reach it; a sum of large ones would wrap around without a word.
    if array.dtype.itemsize > 4 and array.size and float(array.sum(dtype=np.float64)) > LARGEST_EXACT:
        raise RoutestatError(
            f"{name}: expected counts up to 2**53 in all, got {array.sum(dtype=np.float64):.4g}; check for overflow"
        )
    return array.astype(np.int64) if array.dtype.kind == "f" or array.dtype == np.uint64 else array


def for_loops(counts: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
    """Return counts as compiled loops take them: of 32 bits where they fit, contiguous, closed for writing.

    A loop is compiled for each kind of array that it gets, which takes about a second each.
    """
    fits = counts.dtype == np.uint32 or int(counts.max(initial=0)) < 1 << 32
    return read_only(np.ascontiguousarray(counts, np.uint32 if fits else np.int64).view())


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """A checked table without its empty rows, columns and groups.

    Attributes
    ----------
    total
        Counts `[source, target]`, summed over the groups.
    tables
        Counts `[group, source, target]`, or None where no groups were given.
    rows, columns, groups
        Indices of what was kept; `groups` is empty where no groups were given.
    sources, targets
        Each kept group's counts of every row and column, `[group, source]` and `[group, target]`; empty without groups.
    """

    total: Floats
    tables: NDArray[np.integer[Any]] | None
    rows: Integers
    columns: Integers
    groups: Integers
    sources: Integers
    targets: Integers


def contingency(table: ArrayLike) -> Contingency:
    """Check a table `[source, target]` or `[group, source, target]` and drop what is empty.

    Raises
    ------
    RoutestatError
        When the array has another number of axes or holds anything but whole counts.
    """
    counts = whole_counts(table, "table")
    if counts.ndim not in (2, 3):
        raise RoutestatError(
            f"table: expected [source, target] or [group, source, target], got {counts.ndim} axes; reshape it"
        )
    if counts.ndim == 2:
        nothing = np.zeros((0, 0), np.int64)
        total, sources, targets = counts, nothing, nothing
    else:
        counts = for_loops(counts)
        sources, targets, total = (
            np.zeros((counts.shape[a], counts.shape[b]), np.int64) for a, b in ((0, 1), (0, 2), (1, 2))
        )
        table_margins(counts, sources, targets, total)
    rows = np.flatnonzero(total.any(axis=1))
    columns = np.flatnonzero(total.any(axis=0))
    tables, groups = None, np.empty(0, dtype=np.int64)
    if counts.ndim == 3:
        groups = np.flatnonzero(sources.any(axis=1))
        # The common case has nothing to drop, and grouped tables can be large: no copy then.
        tables = counts
        for axis, kept in enumerate((groups, rows, columns)):
            tables = tables if len(kept) == counts.shape[axis] else np.take(tables, kept, axis)
        sources, targets = sources[np.ix_(groups, rows)], targets[np.ix_(groups, columns)]
    seen = total[np.ix_(rows, columns)].astype(np.float64)
    indices = (read_only(of) for of in (rows, columns, groups, sources, targets))
    return Contingency(read_only(seen), None if tables is None else read_only(tables), *indices)


def joint(table: ArrayLike) -> Floats:
    """P(source, target): the share of all tokens in each cell `[source, target]`, empty rows and columns dropped.

    A grouped table `[group, source, target]` is summed first. Raises `RoutestatError` as `contingency` does.
    """
    total = contingency(table).total
    return read_only(total / total.sum() if total.size else total.copy())


def conditional(table: ArrayLike) -> Floats:
    """P(target | source): every row `[source, target]` sums to one, empty rows and columns dropped.

    A row of few tokens can show P near one while its joint probability is next to nothing: read it beside
    the row's total. Raises `RoutestatError` as `contingency` does.
    """
    total = contingency(table).total
    return read_only(total / total.sum(axis=1, keepdims=True))


def expected(table: ArrayLike) -> Floats:
    """Compute the counts `[source, target]` expected under independence, empty rows and columns dropped.

    Raises `RoutestatError` as `contingency` does.
    """
    return read_only(expected_counts(contingency(table).total))


def lift(table: ArrayLike) -> Floats:
    """P(source, target) / (P(source) P(target)) as `[source, target]`: one where they are independent.

    Empty rows and columns are dropped, so no cell is undefined. Raises `RoutestatError` as `contingency` does.
    """
    total = contingency(table).total
    return read_only(total / expected_counts(total))


def residuals(table: ArrayLike) -> Floats:
    """Pearson residuals (observed - expected) / sqrt(expected) as `[source, target]`.

    Their squares sum to the Pearson chi-square. Empty rows and columns are dropped. Raises `RoutestatError`
    as `contingency` does.
    """
    total = contingency(table).total
    return read_only(pearson_residuals(total, expected_counts(total)))


def adjusted_residuals(table: ArrayLike) -> Floats:
    """Residuals `[source, target]` in standard errors: standard normal where independent *tokens* are independent.

    (observed - expected) / sqrt(expected (1 - row share)(1 - column share)). NaN everywhere when one row or
    one column is in use: such a table can only equal its expectation, so there is no error to measure it by.
    Tokens of one document are not independent; see `independence` for what that does. Empty rows and columns
    are dropped. Raises `RoutestatError` as `contingency` does.

    References
    ----------
    Haberman (1973), The analysis of residuals in cross-classified tables. Biometrics 29.
    """
    total = contingency(table).total
    return read_only(standardised_residuals(total, expected_counts(total)))


def expected_counts(total: Floats) -> Floats:
    """Row total times column total over the grand total; for a table that `contingency` has checked."""
    n = total.sum()
    rows, columns = total.sum(axis=1), total.sum(axis=0)
    return np.outer(rows, columns) / n if n else np.zeros_like(total)


def pearson_residuals(total: Floats, expectation: Floats) -> Floats:
    """Pearson residuals of a checked table against its expectation."""
    return (total - expectation) / np.sqrt(expectation)


def standardised_residuals(total: Floats, expectation: Floats) -> Floats:
    """Compute adjusted residuals of a checked table; NaN where one row or one column is in use."""
    if min(total.shape) < 2:
        return np.full(total.shape, np.nan)
    n = total.sum()
    # Shares of all the others, added up rather than taken from one: exact when one row has nearly everything.
    rest_rows = (n - total.sum(axis=1)) / n
    rest_columns = (n - total.sum(axis=0)) / n
    return (total - expectation) / np.sqrt(expectation * np.outer(rest_rows, rest_columns))


def numbers(values: ArrayLike, name: str) -> Floats:
    """Return values as floats; raise a `RoutestatError` that calls them by `name` where they are not numbers."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutestatError(
            f"{name}: expected an array of numbers, got something else; convert it"
        ) from error
