"""Compiled loops.

A table is counted run by run. A block of rows is first turned into flat cells in a scratch that stays in the L1
cache (this vectorises), then one is added to each cell (this does not): one loop that does
both is several times slower. A cell beyond the last state of an axis collects missing choices, so that neither loop
has a branch. Runs are sorted by group, so that a group's table is loaded into the cache once per batch. The rows of
the next runs then lie anywhere in the batch, where the processor does not expect them: they are prefetched.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

Array = Any

# Runs ahead whose rows are prefetched, and bytes of each: the processor itself goes on from there.
AHEAD, LINE, MOST_LINES = 3, 64, 16


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter lock, and cache the machine code where possible."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's is writable: compile anew in every process.
        return njit(nogil=True, error_model="numpy")(function)


@compiled
def cut_runs(
    document: Array, position: Array, window: int, previous: int, starts: Array, fresh: Array
) -> int:  # pragma: no cover - compiled
    """Find where runs begin, and whether a document begins with them; return the number of runs.

    A run ends where the document changes, a position is skipped, or a window of the model begins. `previous` is
    the document of the row before the first.
    """
    runs = 0
    for t in range(len(document)):
        if t == 0 or document[t] != document[t - 1]:
            fresh[runs] = t > 0 or document[t] != previous
        elif position[t] != position[t - 1] + 1 or (window > 0 and position[t] % window == 0):
            fresh[runs] = False
        else:
            continue
        starts[runs] = t
        runs += 1
    return runs


@intrinsic
def _prefetch(typing: Any, column: Any, row: Any) -> Any:  # pragma: no cover - compiled
    """Load ``column[row]`` into the cache, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        pointer = cgutils.get_item_pointer(context, builder, signature.args[0], array, [arguments[1]])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        # For reading, into all levels of the cache, as data.
        builder.call(function, [builder.bitcast(pointer, byte), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(column, types.intp), generate


@compiled
def _expect(column: Array, starts: Array, stops: Array, run: int) -> None:  # pragma: no cover - compiled
    """Prefetch the first rows of a run, if there is such a run."""
    if run < len(starts):
        step = max(LINE // column.itemsize, 1)
        stop = min(stops[run], starts[run] + MOST_LINES * step, len(column))
        for row in range(starts[run], stop, step):
            _prefetch(column, row)


@compiled
def _fuse(
    first: Array, second: Array, size_first: int, size_second: int, out: Array
) -> None:  # pragma: no cover
    limit_first = out.dtype.type(size_first)
    limit_second = out.dtype.type(size_second)
    width = out.dtype.type(size_second + 1)
    for i in range(len(second)):
        out[i] = min(out.dtype.type(first[i]), limit_first) * width + min(
            out.dtype.type(second[i]), limit_second
        )


@compiled
def _add(cells: Array, table: Array) -> None:  # pragma: no cover - compiled
    for i in range(len(cells)):
        table[cells[i]] += table.dtype.type(1)


@compiled
def fuse(
    first: Array, second: Array, size_first: int, size_second: int, out: Array
) -> None:  # pragma: no cover
    """Flat cells of two axes, for tables of more than two; each axis has one cell more than its size."""
    _fuse(first, second, size_first, size_second, out)


@compiled
def count_one(
    values: Array,
    size: int,
    starts: Array,
    stops: Array,
    groups: Array,
    lag: int,
    scratch: Array,
    table: Array,
) -> None:  # pragma: no cover - compiled
    """Add rows ``starts + lag … stops`` of every run to ``table[group, state]``.

    The columns begin at row `lag` of the batch: the first `lag` rows of a run have no context.
    """
    limit = scratch.dtype.type(size)
    held, group = 0, 0
    for r in range(len(starts)):
        begin, end = starts[r], stops[r] - lag
        _expect(values, starts, stops, r + AHEAD)
        if groups[r] != group:
            _add(scratch[:held], table[group])
            held, group = 0, groups[r]
        while begin < end:
            if held == len(scratch):
                _add(scratch, table[group])
                held = 0
            n = min(end - begin, len(scratch) - held)
            for i in range(n):
                scratch[held + i] = min(scratch.dtype.type(values[begin + i]), limit)
            held += n
            begin += n
    _add(scratch[:held], table[group])


@compiled
def count_two(
    first: Array,
    second: Array,
    size_first: int,
    size_second: int,
    starts: Array,
    stops: Array,
    groups: Array,
    lag: int,
    scratch: Array,
    table: Array,
) -> None:  # pragma: no cover - compiled
    """Add rows of every run to ``table[group, first · (size_second + 1) + second]``, as `count_one`."""
    held, group = 0, 0
    for r in range(len(starts)):
        begin, end = starts[r], stops[r] - lag
        _expect(first, starts, stops, r + AHEAD)
        _expect(second, starts, stops, r + AHEAD)
        if groups[r] != group:
            _add(scratch[:held], table[group])
            held, group = 0, groups[r]
        while begin < end:
            if held == len(scratch):
                _add(scratch, table[group])
                held = 0
            n = min(end - begin, len(scratch) - held)
            _fuse(
                first[begin : begin + n],
                second[begin : begin + n],
                size_first,
                size_second,
                scratch[held : held + n],
            )
            held += n
            begin += n
    _add(scratch[:held], table[group])


@compiled
def unrank(
    states: Array,
    size: int,
    n_experts: int,
    binomials: Array,
    highest: Array,
    missing: int,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Expert rows ``out[row, slot]`` of states; a row of `missing` where there is no state.

    `highest` is `Alphabet.highest_places`: where the search for the expert of a slot begins. Mostly it ends there or
    one place below.
    """
    top_k, last = out.shape[1], n_experts - 1
    first = np.uint64(1023 << 4)
    for t in range(len(states)):
        state = np.uint64(states[t])
        if state >= np.uint64(size):
            out[t, :] = missing
            continue
        rest = np.uint64(size - 1) - state
        for slot in range(top_k - 1):
            above = np.float64(rest + np.uint64(1)).view(np.uint64) >> np.uint64(48)
            c = np.int64(highest[slot, above - first])
            c -= np.int64(binomials[slot, c] > rest)
            while binomials[slot, c] > rest:
                c -= 1
            rest -= binomials[slot, c]
            out[t, slot] = last - c
        out[t, top_k - 1] = last - np.int64(rest)


@compiled
def cross_experts(
    source: Array,
    target: Array,
    starts: Array,
    stops: Array,
    groups: Array,
    lag: int,
    missing: Array,
    slots: Array,
    table: Array,
) -> None:  # pragma: no cover - compiled
    """Count experts i at the source and j at the target: k·k cells of ``table[group, i, j]`` a token.

    `slots` are two tuples as long as a row of each: their lengths are known when this is compiled, so that both loops
    over slots are unrolled.
    """
    n_sources, n_targets = len(slots[0]), len(slots[1])
    width, one = np.uint64(table.shape[2]), table.dtype.type(1)
    for r in range(len(starts)):
        cells = table[groups[r]].reshape(-1)
        for t in range(starts[r] + lag, stops[r]):
            if source[t - lag, 0] == missing[0] or target[t, 0] == missing[1]:
                continue
            for i in range(n_sources):
                row = np.uint64(source[t - lag, i]) * width
                for j in range(n_targets):
                    cells[row + np.uint64(target[t, j])] += one


@compiled
def close_document(
    rows: Array, columns: Array, tokens: int, table: Array
) -> None:  # pragma: no cover - compiled
    """Add rows · columns' / tokens to `table`, and empty the margins."""
    if tokens > 0:
        for i in range(len(rows)):
            if rows[i] > 0:
                share = rows[i] / tokens
                for j in range(len(columns)):
                    table[i, j] += share * columns[j]
    rows[:] = 0.0
    columns[:] = 0.0


@compiled
def within_documents(
    source: Array,
    target: Array,
    starts: Array,
    groups: Array,
    limits: Array,
    rows: Array,
    columns: Array,
    tokens: int,
    table: Array,
) -> int:  # pragma: no cover - compiled
    """Add (source margin)(target margin)' / tokens of every document to ``table[group, source, target]``.

    ``starts[d] … starts[d + 1]`` are the rows of a document of ``groups[d]``. The last document may go on in the
    next batch: its margins stay in `rows` and `columns`, and its tokens are returned; the first one goes on from
    what those hold.
    """
    last = len(groups) - 1
    for d in range(len(groups)):
        for t in range(starts[d], starts[d + 1]):
            if source[t, 0] >= limits[0] or target[t, 0] >= limits[1]:
                continue
            tokens += 1
            for i in range(source.shape[1]):
                rows[source[t, i]] += 1.0
            for j in range(target.shape[1]):
                columns[target[t, j]] += 1.0
        if d < last:
            close_document(rows, columns, tokens, table[groups[d]])
            tokens = 0
    return tokens


@compiled
def single_experts(
    target: Array, starts: Array, stops: Array, groups: Array, missing: int, table: Array
) -> None:  # pragma: no cover - compiled
    """Count the experts of every token in ``table[group, j]``."""
    for r in range(len(starts)):
        cells = table[groups[r]]
        for t in range(starts[r], stops[r]):
            if target[t, 0] != missing:
                for j in range(target.shape[1]):
                    cells[target[t, j]] += table.dtype.type(1)


@compiled
def lagged_features(
    source: Array, starts: Array, stops: Array, lag: int, missing: int, offset: int, out: Array
) -> None:  # pragma: no cover - compiled
    """Features ``out[row, slot]`` of a source: `offset` + its expert `lag` tokens back, −1 where there is none."""
    for r in range(len(starts)):
        for t in range(starts[r], stops[r]):
            if t - lag < starts[r] or source[t - lag, 0] == missing:
                out[t, :] = -1
                continue
            for slot in range(source.shape[1]):
                out[t, slot] = offset + source[t - lag, slot]


@compiled
def _is_complete(features: Array) -> bool:  # pragma: no cover - compiled
    least = 0
    for slot in range(len(features)):
        least = min(least, features[slot])
    return least >= 0


@compiled
def add_moments(
    features: Array,
    target: Array,
    starts: Array,
    stops: Array,
    folds: Array,
    first: int,
    missing: int,
    within: Array,
    across: Array,
) -> None:  # pragma: no cover - compiled
    """Count the features of every complete row from `first` on with each other and with the target's experts.

    ``folds[run]`` says which of ``within[fold, feature, feature]`` (filled from the diagonal down only) and
    ``across[fold, feature, j]`` is added to.
    """
    for r in range(len(starts)):
        pairs, cells = within[folds[r]], across[folds[r]]
        for t in range(max(starts[r], first), stops[r]):
            if target[t, 0] == missing or not _is_complete(features[t]):
                continue
            for a in range(features.shape[1]):
                x = features[t, a]
                for b in range(features.shape[1]):
                    if features[t, b] <= x:
                        pairs[x, features[t, b]] += pairs.dtype.type(1)
                for j in range(target.shape[1]):
                    cells[x, target[t, j]] += cells.dtype.type(1)


@compiled
def count_expert_pairs(
    experts: Array,
    n_experts: int,
    starts: Array,
    stops: Array,
    groups: Array,
    missing: int,
    pairs: Array,
    singles: Array,
) -> None:  # pragma: no cover - compiled
    """Count the pairs i < j of every token's experts in ``pairs[group, pair]``, and the experts themselves.

    Pairs are numbered (0, 1), (0, 2), … as in an alphabet of two.
    """
    for r in range(len(starts)):
        cells, alone = pairs[groups[r]], singles[groups[r]]
        for t in range(starts[r], stops[r]):
            if experts[t, 0] == missing:
                continue
            for a in range(experts.shape[1]):
                x = np.int64(experts[t, a])
                alone[x] += alone.dtype.type(1)
                for b in range(a):
                    y = np.int64(experts[t, b])
                    i, j = min(x, y), max(x, y)
                    cells[i * (2 * n_experts - i - 1) // 2 + j - i - 1] += cells.dtype.type(1)
