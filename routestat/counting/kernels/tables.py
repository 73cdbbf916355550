"""Compiled loops that count tokens into tables of states.

A table is counted run by run. A block of rows is first turned into flat cells in a scratch that stays in the L1
cache (this vectorises), then one is added to each cell (this does not): one loop that does both is several times
slower. A cell beyond the last state of an axis collects missing choices, so that neither loop has a branch. Runs
are sorted by group, so that a group's table is loaded into the cache once per batch. The rows of the next runs then
lie anywhere in the batch, where the processor does not expect them: they are prefetched, as is the next group's table.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from routestat.counting.kernels.compiling import Array, compiled, inlined

# Runs ahead whose rows are prefetched, the bytes of a cache line, and the lines of a run and of a table: the processor
# itself goes on from there.
AHEAD, LINE, MOST_LINES, TABLE_LINES = 3, 64, 16, 64


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


@inlined
def _expect(column: Array, row: int, stop: int, lines: int) -> None:  # pragma: no cover - compiled
    """Prefetch the first rows of a run that ends before `stop`."""
    step = max(LINE // column.itemsize, 1)
    for at in range(row, min(stop, row + lines * step, len(column)), step):
        _prefetch(column, at)


@inlined
def _add(cells: Array, n: int, table: Array) -> None:  # pragma: no cover - compiled
    for i in range(n):
        table[cells[i]] += table.dtype.type(1)


@compiled
def fuse(
    first: Array, second: Array, size_first: int, size_second: int, out: Array
) -> None:  # pragma: no cover - compiled
    """Flat cells of two axes; each axis has one cell more than its size."""
    limit_first = out.dtype.type(size_first)
    limit_second = out.dtype.type(size_second)
    width = out.dtype.type(size_second + 1)
    for i in range(len(second)):
        out[i] = min(out.dtype.type(first[i]), limit_first) * width + min(
            out.dtype.type(second[i]), limit_second
        )


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
    # After the last run, what is held is added.
    for r in range(len(starts) + 1):
        begin, end, own = 0, 0, -1
        if r < len(starts):
            begin, end, own = starts[r], stops[r] - lag, groups[r]
        if r + AHEAD < len(starts):
            _expect(values, starts[r + AHEAD], stops[r + AHEAD], MOST_LINES)
        while begin < end or own != group:
            if held == len(scratch) or own != group:
                _add(scratch, held, table[group])
                held = 0
                if own < 0:
                    break
                if own != group:
                    _expect(table[own], 0, table.shape[1], TABLE_LINES)
                group = own
            n = min(end - begin, len(scratch) - held)
            for i in range(n):
                scratch[held + i] = min(scratch.dtype.type(values[begin + i]), limit)
            held += n
            begin += n


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
    for r in range(len(starts) + 1):
        begin, end, own = 0, 0, -1
        if r < len(starts):
            begin, end, own = starts[r], stops[r] - lag, groups[r]
        if r + AHEAD < len(starts):
            _expect(first, starts[r + AHEAD], stops[r + AHEAD], MOST_LINES)
            _expect(second, starts[r + AHEAD], stops[r + AHEAD], MOST_LINES)
        while begin < end or own != group:
            if held == len(scratch) or own != group:
                _add(scratch, held, table[group])
                held = 0
                if own < 0:
                    break
                if own != group:
                    _expect(table[own], 0, table.shape[1], TABLE_LINES)
                group = own
            n = max(min(end - begin, len(scratch) - held), 0)
            fuse(
                first[begin : begin + n],
                second[begin : begin + n],
                size_first,
                size_second,
                scratch[held : held + n],
            )
            held += n
            begin += n
