"""A thousand cluster resamples of 31 tables against resampling the raw arrays.

Each contender makes bootstrap tables of all layer pairs from the same draws of documents; they are compared cell
by cell before anything is timed. The raw ones are timed for a few resamples, since a thousand would take minutes.
"""

import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.inference.base.resampling import group_resamples, resample_weights
from routestat.traces.store import Trace
from tests.benchmarks.machine import print_machine, seconds

TRACE = Path(__file__).parents[2] / "data" / "traces" / "tiny-mixtral"
RESAMPLES, RAW, ROUNDS = 1000, 3, 3
ADJACENT = Context.layer(1)

Draw = Callable[[np.ndarray], np.ndarray]


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Tables ``[group, pair, source, target]``, and the raw arrays: document and cell of each token and pair."""
    trace = Trace.open(path)
    routers = trace.routers(None)
    batches = list(trace.batches([router.name for router in routers]))
    document = np.concatenate([batch.document for batch in batches])
    states = np.stack(
        [np.concatenate([batch.columns[router.name] for batch in batches]) for router in routers]
    )
    k = routers[0].alphabet.size
    cell = (states[:-1].astype(np.int64) * k + states[1:]).astype(np.intp)
    counts = count(trace, contexts=[ADJACENT], groups=int(document.max()) + 1)
    tables = np.stack([counts.table(ADJACENT, router) for router in counts.routers[1:]], axis=1)
    return tables, document, cell, k


def raw_contenders(document: np.ndarray, cell: np.ndarray, k: int) -> dict[str, Draw]:
    """Ways to make one resample ``[pair, source, target]`` from the arrays; `weight` is per document."""
    order = np.argsort(document, kind="stable")
    starts = np.searchsorted(document[order], np.arange(document.max() + 2))
    owned = [order[a:b] for a, b in pairwise(starts)]

    def gathered(weight: np.ndarray) -> np.ndarray:
        rows = np.concatenate([owned[d] for d, times in enumerate(weight) for _ in range(times)])
        return np.stack([np.bincount(pair[rows], minlength=k * k) for pair in cell]).reshape(-1, k, k)

    def weighted(weight: np.ndarray) -> np.ndarray:
        each = weight[document].astype(np.float64)
        return np.stack([np.bincount(pair, each, k * k) for pair in cell]).reshape(-1, k, k)

    return {"documents gathered, bincount": gathered, "tokens weighted, bincount": weighted}


def tokens_apart(rng: np.random.Generator, cell: np.ndarray, k: int) -> np.ndarray:
    """One resample of single tokens, wrong for routing as it is: what everyone else draws."""
    rows = rng.integers(cell.shape[1], size=cell.shape[1])
    return np.stack([np.bincount(pair[rows], minlength=k * k) for pair in cell]).reshape(-1, k, k)


def check(tables: np.ndarray, contenders: dict[str, Draw]) -> None:
    """Stop unless every contender makes the same tables of the same draws."""
    weights = resample_weights(len(tables), np.random.default_rng(7), RAW)
    ours = np.concatenate(list(group_resamples(tables, np.random.default_rng(7), RAW)))
    for name, draw in contenders.items():
        for weight, table in zip(weights, ours, strict=True):
            np.testing.assert_array_equal(draw(weight), table, err_msg=name)
        print(f"  identical: {name}")


def thousand(tables: np.ndarray) -> None:
    for _ in group_resamples(tables, np.random.default_rng(8), RESAMPLES):
        pass


def main() -> None:
    print_machine()
    tables, document, cell, k = read(TRACE)
    print(f"{len(document):,} tokens of {len(tables)} documents, {len(cell)} pairs of {k} x {k} states")
    contenders = raw_contenders(document, cell, k)
    check(tables, contenders)
    rng, weight = np.random.default_rng(9), resample_weights(len(tables), np.random.default_rng(9), 1)[0]
    bundled = np.stack([tables[start::256].sum(axis=0) for start in range(256)])
    ours = {f"{len(t)} groups, one product": t for t in (bundled, tables)}
    raw = {name: (lambda draw=draw: draw(weight)) for name, draw in contenders.items()}
    raw["single tokens drawn, bincount"] = lambda: tokens_apart(rng, cell, k)
    base = {
        name: statistics.median(seconds(lambda t=t: thousand(t)) for _ in range(ROUNDS))
        for name, t in ours.items()
    }
    print(f"\n{'':34}{'s per 1000':>12}" + "".join(f"{'÷ ' + name.split(',')[0]:>14}" for name in base))
    for name, taken in base.items():
        print(f"{name:34}{taken:12.3f}")
    for name, run in raw.items():
        each = RESAMPLES * statistics.median(seconds(run) for _ in range(RAW))
        print(f"{name:34}{each:12.1f}" + "".join(f"{each / taken:13.0f}×" for taken in base.values()))


if __name__ == "__main__":
    main()
