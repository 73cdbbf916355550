"""Blocks of rows and columns of a table by merging: the pair with the largest gain in log evidence at each step."""

import math

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled, within

# From here on three terms of Stirling's series are exact to ten digits.
_FAR = 8.0
_HALF_LOG_TWO_PI = 0.9189385332046727
_LEAST_GAIN = 1e-9
_MOST_SWEEPS = 20


@within
def _log_gamma(x: float) -> float:  # pragma: no cover - compiled
    """Return ln Γ(x) for x of 1 or more."""
    shift = 1.0
    while x < _FAR:
        shift *= x
        x += 1.0
    one = 1.0 / x
    square = one * one
    series = one * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    value = (x - 0.5) * math.log(x) - x + _HALF_LOG_TWO_PI + series
    return value - math.log(shift) if shift > 1.0 else value


@within
def _log_choose(n: int, k: int) -> float:  # pragma: no cover - compiled
    return _log_gamma(n + 1.0) - _log_gamma(k + 1.0) - _log_gamma(n - k + 1.0)


@within
def _of_block(states: float, count: float, corrected: bool) -> float:  # pragma: no cover - compiled
    """Return what a block's states, and how its count is shared among them, add to the log evidence.

    A constant of the table is left out: the sum of ln Γ(1 + count) over the states where degrees are corrected.
    """
    shared = _log_gamma(states) - _log_gamma(states + count) if corrected else -count * math.log(states)
    return shared + _log_gamma(states + 1.0)


@within
def _of_number(cells: float, total: float, n: int, blocks: int) -> float:  # pragma: no cover - compiled
    """Return what the number of cells, and of blocks of n states, adds to the log evidence."""
    return _log_gamma(cells) - _log_gamma(cells + total) - _log_choose(n - 1, blocks - 1)


@within
def _fill(
    table: Array, rows: Array, columns: Array, cells: Array, crossed: Array
) -> None:  # pragma: no cover - compiled
    """Sum the table over blocks: ``cells[row block, column block]``, and its transpose."""
    cells[:] = 0.0
    for i in range(table.shape[0]):
        for j in range(table.shape[1]):
            cells[rows[i], columns[j]] += table[i, j]
    for a in range(cells.shape[0]):
        for b in range(cells.shape[1]):
            crossed[b, a] = cells[a, b]


@within
def _pair_gain(cells: Array, logs: Array, n: int, u: int, v: int) -> float:  # pragma: no cover - compiled
    """Return the gain of the cells of blocks u and v, of n each, when they are summed."""
    gain = 0.0
    for b in range(n):
        x, y = cells[u, b], cells[v, b]
        if x > 0.0 and y > 0.0:
            gain += _log_gamma(1.0 + x + y) - logs[u, b] - logs[v, b]
    return gain


@within
def _all_gains(
    cells: Array, logs: Array, gains: Array, n_own: int, n_other: int
) -> None:  # pragma: no cover - compiled
    for u in range(n_own):
        for b in range(n_other):
            logs[u, b] = _log_gamma(1.0 + cells[u, b])
    for u in range(n_own):
        for v in range(u):
            gains[u, v] = _pair_gain(cells, logs, n_other, u, v)


@within
def _merge(
    cells: Array,
    crossed: Array,
    logs: Array,
    crossed_logs: Array,
    gains: Array,
    crossed_gains: Array,
    labels: Array,
    sizes: Array,
    counts: Array,
    n_own: int,
    n_other: int,
    p: int,
    q: int,
) -> None:  # pragma: no cover - compiled
    """Merge block q of one side into block p < q; the last block takes the number q."""
    last = n_own - 1
    joined = np.empty(n_other)
    for b in range(n_other):
        joined[b] = _log_gamma(1.0 + cells[p, b] + cells[q, b])
    for u in range(n_other):
        x, y = cells[p, u], cells[q, u]
        for v in range(u):
            s, t = cells[p, v], cells[q, v]
            change = 0.0
            if x + y > 0.0 and s + t > 0.0:
                change += _log_gamma(1.0 + x + y + s + t) - joined[u] - joined[v]
            if x > 0.0 and s > 0.0:
                change -= _log_gamma(1.0 + x + s) - logs[p, u] - logs[p, v]
            if y > 0.0 and t > 0.0:
                change -= _log_gamma(1.0 + y + t) - logs[q, u] - logs[q, v]
            crossed_gains[u, v] += change
    for b in range(n_other):
        cells[p, b] += cells[q, b]
        cells[q, b] = cells[last, b]
        logs[p, b], logs[q, b] = joined[b], logs[last, b]
        crossed[b, p], crossed[b, q] = cells[p, b], cells[q, b]
        crossed_logs[b, p], crossed_logs[b, q] = logs[p, b], logs[q, b]
    sizes[p] += sizes[q]
    counts[p] += counts[q]
    sizes[q], counts[q] = sizes[last], counts[last]
    for i in range(len(labels)):
        if labels[i] == q:
            labels[i] = p
        if labels[i] == last:
            labels[i] = p if q == last else q
    for v in range(n_own - 1):
        if q != last and v != q:
            gains[max(q, v), min(q, v)] = gains[last, v]
    for v in range(n_own - 1):
        if v != p:
            gains[max(p, v), min(p, v)] = _pair_gain(cells, logs, n_other, max(p, v), min(p, v))


@within
def _best_pair(
    gains: Array, sizes: Array, counts: Array, n_own: int, corrected: bool
) -> tuple[float, int, int]:  # pragma: no cover - compiled
    """Return the largest gain of a merge on one side, less what all merges of it share, and the pair."""
    best, p, q = -np.inf, 0, 0
    alone = np.empty(n_own)
    for u in range(n_own):
        alone[u] = _of_block(sizes[u], counts[u], corrected)
    for u in range(n_own):
        for v in range(u):
            joined = _of_block(sizes[u] + sizes[v], counts[u] + counts[v], corrected)
            gain = gains[u, v] + joined - alone[u] - alone[v]
            if gain > best:
                best, p, q = gain, v, u
    return best, p, q


@within
def _evidence(
    cells: Array,
    sides: tuple[Array, Array, Array, Array],
    total: float,
    corrected: tuple[bool, bool],
    shape: tuple[int, int],
) -> float:  # pragma: no cover - compiled
    """Return the log evidence of a partition, without the constant of `_of_block`."""
    row_sizes, row_counts, column_sizes, column_counts = sides
    n_a, n_b = cells.shape
    value = _of_number(float(n_a * n_b), total, shape[0], n_a) - _log_choose(shape[1] - 1, n_b - 1)
    for n in shape:
        value -= _log_gamma(n + 1.0) + math.log(float(n))
    for a in range(n_a):
        value += _of_block(row_sizes[a], row_counts[a], corrected[0])
        for b in range(n_b):
            value += _log_gamma(1.0 + cells[a, b])
    for b in range(n_b):
        value += _of_block(column_sizes[b], column_counts[b], corrected[1])
    return value


@within
def _measure(
    labels: Array, degrees: Array, sizes: Array, counts: Array
) -> None:  # pragma: no cover - compiled
    sizes[:] = 0.0
    counts[:] = 0.0
    for i in range(len(labels)):
        sizes[labels[i]] += 1.0
        counts[labels[i]] += degrees[i]


@within
def _reassign(
    table: Array,
    own: Array,
    other: Array,
    own_is_row: bool,
    cells: Array,
    sizes: Array,
    counts: Array,
    degrees: Array,
    corrected: bool,
) -> int:  # pragma: no cover - compiled
    """Move every state of one side to the block that predicts its counts best; return how many moved.

    ``cells[own block, other block]`` is held fixed meanwhile. No block loses its last state.
    """
    n_own, n_other = cells.shape
    logs = np.empty((n_own, n_other))
    for a in range(n_own):
        spread = math.log(counts[a] + sizes[a]) if corrected else math.log(sizes[a])
        for b in range(n_other):
            logs[a, b] = math.log(cells[a, b] + 1.0) - spread
    profile = np.empty(n_other)
    moved = 0
    for i in range(len(own)):
        profile[:] = 0.0
        for j in range(len(other)):
            profile[other[j]] += table[i, j] if own_is_row else table[j, i]
        best, at = -np.inf, own[i]
        for a in range(n_own):
            value = 0.0
            for b in range(n_other):
                value += profile[b] * logs[a, b]
            # A state stays where nothing is gained.
            if a == own[i]:
                value += _LEAST_GAIN * (1.0 + degrees[i])
            if value > best:
                best, at = value, a
        if at != own[i] and sizes[own[i]] > 1.0:
            sizes[own[i]] -= 1.0
            sizes[at] += 1.0
            own[i] = at
            moved += 1
    return moved


@within
def _refine(
    table: Array,
    rows: Array,
    columns: Array,
    n_a: int,
    n_b: int,
    row_degrees: Array,
    column_degrees: Array,
    corrected: tuple[bool, bool],
) -> float:  # pragma: no cover - compiled
    """Move states between blocks while the log evidence grows, in place; return it."""
    cells, crossed = np.empty((n_a, n_b)), np.empty((n_b, n_a))
    row_sizes, row_counts, column_sizes, column_counts = (
        np.empty(n_a),
        np.empty(n_a),
        np.empty(n_b),
        np.empty(n_b),
    )
    total = row_degrees.sum()
    best = -np.inf
    kept_rows, kept_columns = rows.copy(), columns.copy()
    for _ in range(_MOST_SWEEPS):
        _fill(table, rows, columns, cells, crossed)
        _measure(rows, row_degrees, row_sizes, row_counts)
        _measure(columns, column_degrees, column_sizes, column_counts)
        sides = (row_sizes, row_counts, column_sizes, column_counts)
        value = _evidence(cells, sides, total, corrected, table.shape)
        if not value > best + _LEAST_GAIN:
            rows[:] = kept_rows
            columns[:] = kept_columns
            break
        best = value
        kept_rows[:] = rows
        kept_columns[:] = columns
        moved = _reassign(table, rows, columns, True, cells, row_sizes, row_counts, row_degrees, corrected[0])
        if moved:
            _fill(table, rows, columns, cells, crossed)
        moved += _reassign(
            table, columns, rows, False, crossed, column_sizes, column_counts, column_degrees, corrected[1]
        )
        if not moved:
            break
    return best


@compiled
def merge_blocks(
    table: Array,
    row_start: Array,
    column_start: Array,
    most_rows: int,
    most_columns: int,
    least: int,
    corrected_rows: bool,
    corrected_columns: bool,
    rows: Array,
    columns: Array,
    evidence: Array,
) -> None:  # pragma: no cover - compiled
    """Merge blocks of rows and of columns of ``table[source, target]`` one pair after the other, down to one of each.

    From the blocks in `row_start` and `column_start`, numbered without gaps. Once there are at most `most_rows` and
    `most_columns`, states move between blocks at each step, and the step is kept: ``rows[s, source]`` and
    ``columns[s, target]`` are the blocks where s + 2 are left on both sides together, ``evidence[s]`` their log
    evidence without the sum of ln Γ(1 + count) over the states of sides whose degrees are corrected. The last step is
    s = `least`.
    """
    n_a, n_b = row_start.max() + 1, column_start.max() + 1
    corrected = (corrected_rows, corrected_columns)
    own_rows, own_columns = row_start.copy(), column_start.copy()
    row_degrees, column_degrees = table.sum(axis=1), table.sum(axis=0)
    total = row_degrees.sum()
    cells, crossed = np.zeros((n_a, n_b)), np.zeros((n_b, n_a))
    logs, crossed_logs = np.zeros((n_a, n_b)), np.zeros((n_b, n_a))
    row_gains, column_gains = np.zeros((n_a, n_a)), np.zeros((n_b, n_b))
    row_sizes, row_counts, column_sizes, column_counts = (
        np.empty(n_a),
        np.empty(n_a),
        np.empty(n_b),
        np.empty(n_b),
    )
    fresh = True
    while True:
        over = n_a > most_rows or n_b > most_columns
        if not over:
            value = _refine(table, own_rows, own_columns, n_a, n_b, row_degrees, column_degrees, corrected)
            place = n_a + n_b - 2
            rows[place] = own_rows
            columns[place] = own_columns
            evidence[place] = value
            if place <= least:
                return
        if fresh or not over:
            _fill(table, own_rows, own_columns, cells, crossed)
            _measure(own_rows, row_degrees, row_sizes, row_counts)
            _measure(own_columns, column_degrees, column_sizes, column_counts)
            _all_gains(cells, logs, row_gains, n_a, n_b)
            _all_gains(crossed, crossed_logs, column_gains, n_b, n_a)
            fresh = False
        shape, now = table.shape, _log_gamma(float(n_a * n_b)) - _log_gamma(n_a * n_b + total)
        best, by_rows, p, q = -np.inf, True, 0, 0
        if n_a > 1 and (n_a > most_rows or not over):
            gain, u, v = _best_pair(row_gains, row_sizes, row_counts, n_a, corrected_rows)
            fewer = float((n_a - 1) * n_b)
            gain += _log_gamma(fewer) - _log_gamma(fewer + total) - now
            gain += _log_choose(shape[0] - 1, n_a - 1) - _log_choose(shape[0] - 1, n_a - 2)
            best, p, q = gain, u, v
        if n_b > 1 and (n_b > most_columns or not over):
            gain, u, v = _best_pair(column_gains, column_sizes, column_counts, n_b, corrected_columns)
            fewer = float((n_b - 1) * n_a)
            gain += _log_gamma(fewer) - _log_gamma(fewer + total) - now
            gain += _log_choose(shape[1] - 1, n_b - 1) - _log_choose(shape[1] - 1, n_b - 2)
            if gain > best:
                best, by_rows, p, q = gain, False, u, v
        if by_rows:
            _merge(
                cells, crossed, logs, crossed_logs, row_gains, column_gains,
                own_rows, row_sizes, row_counts, n_a, n_b, p, q,
            )  # fmt: skip
            n_a -= 1
        else:
            _merge(
                crossed, cells, crossed_logs, logs, column_gains, row_gains,
                own_columns, column_sizes, column_counts, n_b, n_a, p, q,
            )  # fmt: skip
            n_b -= 1
