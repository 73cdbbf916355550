"""Pairs of experts that one token uses in one layer, for alphabets too wide for states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counting_pass import MEMORY, add_cells, cell_type, in_passes
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.experts import count_expert_pairs
from routestat.counting.token_runs import find_runs
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Pairs and inclusions per group, by router's name.
Tables = dict[str, tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]]


@dataclass(frozen=True)
class PairCounts:
    """Counts of pairs of experts within one router, per group of whole documents.

    Attributes
    ----------
    router : Router
    pairs : int array ``[group, pair]``
        Tokens that take both i and j, i < j, in the order of `Alphabet(E, 2)`.
    inclusions : int array ``[group, expert]``
        Tokens that take the expert.
    tokens : int array ``[group]``
        Tokens whose choice in this router is known.
    """

    router: Router
    pairs: NDArray[np.unsignedinteger]
    inclusions: NDArray[np.int64]
    tokens: NDArray[np.int64]


def count_pairs(
    trace: Trace,
    layers: Sequence[int] | None = None,
    groups: int = 256,
    *,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> Iterator[PairCounts]:
    """Count the pairs within each router, in order of depth.

    As many routers are counted in one pass as fit in memory, and yielded before the next pass begins.

    Parameters
    ----------
    trace : Trace
    layers : sequence of int, optional
        Which layers (all).
    groups : int
        Number of groups, as in `count`; use that of the `Counts` they are compared with.
    memory : int
        Bytes for the tables of one pass; one router is always counted.
    progress : callable(rows_done, rows_in_all), optional
        Rows of all passes together.

    Raises
    ------
    RoutestatError
        If a layer is absent, or `groups` is not 1 or more.
    """
    if not isinstance(groups, int | np.integer) or groups < 1:
        raise RoutestatError(f"groups must be a whole number of 1 or more, got {groups!r}")
    dtype, all_routers = cell_type(trace), trace.routers(layers)
    sizes = [groups * _n_pairs(router) * dtype.itemsize for router in all_routers]
    passes = in_passes(all_routers, sizes, memory)
    for number, routers in enumerate(passes):

        def advance(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(passes) * total)

        if isinstance(trace, TraceOnWorkers):
            of_part = partial(_pass, routers=routers, groups=groups, dtype=dtype)
            tables = trace.over_parts(of_part, _added, advance, sum(sizes))
        else:
            tables = _pass(trace, routers, groups, dtype, advance)
        for router in routers:
            pairs, inclusions = tables.pop(router.name)
            tokens = inclusions.sum(axis=1) // router.top_k
            for array in (pairs, inclusions, tokens):
                array.flags.writeable = False
            yield PairCounts(router, pairs, inclusions, tokens)


def _pass(
    trace: Trace, routers: Sequence[Router], groups: int, dtype: np.dtype, progress: Progress | None = None
) -> Tables:
    """Count the pairs and inclusions of some routers in one pass, by router's name."""
    tables, done = {r.name: _empty(r, groups, dtype) for r in routers}, 0
    for batch in trace.counted(list(tables)):
        runs = find_runs(batch.document, batch.position, trace.meta.window, trace.units, groups)
        for router in routers:
            rows = expert_rows(batch.columns[router.name], router)
            missing = int(np.iinfo(router.alphabet.expert_dtype).max)
            where = (runs.starts, runs.stops, runs.groups, missing)
            count_expert_pairs(rows, router.n_experts, *where, *tables[router.name])
        done += len(batch)
        if progress is not None:
            progress(done, trace.n_counted)
    return tables


def _added(first: Tables, second: Tables) -> Tables:
    return {
        name: (add_cells(pairs, second[name][0]), inclusions + second[name][1])
        for name, (pairs, inclusions) in first.items()
    }


def _empty(
    router: Router, groups: int, dtype: np.dtype
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
    return np.zeros((groups, _n_pairs(router)), dtype), np.zeros((groups, router.n_experts), np.int64)


def _n_pairs(router: Router) -> int:
    return router.n_experts * (router.n_experts - 1) // 2
