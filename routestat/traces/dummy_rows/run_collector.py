"""Runs of equal rows collected batch by batch."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.traces.document_rows import count_within
from routestat.traces.dummy_rows.row_runs import LEAST_ALIKE_LAYERS, LONG, RUN, RowFeatures, RowRuns

# Rows of each phase, and keys of short runs, that are kept as a sample.
SAMPLE = 1 << 19
# Runs of rows with the same ids in every layer that are kept at most.
MOST_ALIKE = 1 << 20


@dataclass
class RunCollector:
    """A collector of runs batch by batch; documents are contiguous and positions rise, as in every trace.

    Parameters
    ----------
    n_layers, top_k : int
    """

    n_layers: int
    top_k: int
    _kept: list[NDArray[np.void]] = field(default_factory=list)
    _open: NDArray[np.void] | None = None
    _lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(LONG, np.int64))
    _short: list[NDArray[np.uint64]] = field(default_factory=list)
    _sample: dict[int, list[tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.int32]]]] = field(
        default_factory=lambda: {0: [], 1: []}
    )
    _n_phase: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    _alike: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    _disagreeing: float = 0.0
    _done: int = 0

    def add(self, rows: RowFeatures) -> None:
        """Add the next rows."""
        if not rows.present.all():
            rows = rows.taken(np.flatnonzero(rows.present))
        if not len(rows.key):
            return
        self._count(rows)
        new = np.ones(len(rows.key), bool)
        same_segment = (rows.document[1:] == rows.document[:-1]) & (rows.phase[1:] == rows.phase[:-1])
        new[1:] = ~same_segment | (rows.key[1:] != rows.key[:-1])
        start = np.flatnonzero(new)
        starts = np.ones(len(start), bool)
        starts[1:] = ~same_segment[start[1:] - 1]
        self._take(rows, start, starts)

    def finished(self) -> RowRuns:
        """Return the result, after every batch has been added."""
        if self._open is not None:
            self._open["ends"] = True
            self._kept.append(self._open)
            self._open = None
        pieces = np.concatenate([np.empty(0, RUN), *self._kept])
        sample = {
            phase: (join(0), join(1), join(2))
            for phase, parts in self._sample.items()
            if parts
            for join in [lambda column, parts=parts: np.concatenate([part[column] for part in parts])]
        }
        n, links = int(self._n_phase.sum()), max(self.n_layers - 1, 1)
        share = 1.0 - self._disagreeing / (links * n) if n else 0.0
        runs = _across_phases(pieces)
        return RowRuns(
            runs,
            _segments(pieces),
            self._lengths,
            np.concatenate([np.empty(0, np.uint64), *self._short])[:SAMPLE],
            sample,
            self._n_phase,
            self.n_layers,
            self.top_k,
            int(self._alike[0]),
            int(self._alike[1]),
            share**links,
            int(np.count_nonzero(runs["opens"])),
        )

    def _count(self, rows: RowFeatures) -> None:
        self._n_phase += np.bincount(rows.phase, minlength=2)[:2]
        if self.n_layers >= LEAST_ALIKE_LAYERS:
            # A layer that differs disagrees with one or two neighbours.
            nearly = 1 if self.n_layers < 2 * LEAST_ALIKE_LAYERS else 2
            times = np.bincount(rows.disagreeing, minlength=3)
            self._alike += times[0], times[1 : nearly + 1].sum()
            self._disagreeing += float(rows.disagreeing.sum(dtype=np.int64))
        for phase, parts in self._sample.items():
            held = sum(len(part[0]) for part in parts)
            if held < SAMPLE and (here := np.flatnonzero(rows.phase == phase)[: SAMPLE - held]).size:
                token = np.full(here.size, -1, np.int32) if rows.token is None else rows.token[here]
                parts.append((rows.key[here], rows.document[here], token))

    def _take(self, rows: RowFeatures, start: NDArray[np.int64], starts: NDArray[np.bool_]) -> None:
        """Keep the runs of a batch that are needed; the last one stays open."""
        n = np.diff(np.append(start, len(rows.key)))
        x = _worth(rows, start, n)
        ends = np.append(starts[1:], False)
        alike = rows.disagreeing[start] == 0
        if self.n_layers < LEAST_ALIKE_LAYERS or sum(map(len, self._kept)) > MOST_ALIKE:
            alike[:] = False
        chosen = starts | ends | (n >= LONG) | alike
        chosen[[0, -1]] = True
        others = np.flatnonzero(~chosen)
        self._lengths += np.bincount(x[others], minlength=LONG)[:LONG]
        if sum(map(len, self._short)) < SAMPLE:
            self._short.append(rows.key[start[others]])
        at = np.flatnonzero(chosen)
        run = np.zeros(len(at), RUN)
        first, last = start[at], start[at] + n[at] - 1
        run["document"], run["phase"], run["key"] = rows.document[first], rows.phase[first], rows.key[first]
        run["n"], run["x"] = n[at], x[at]
        run["first"], run["last"] = rows.position[first], rows.position[last]
        run["head"], run["tail"] = (-1, -1) if rows.token is None else (rows.token[first], rows.token[last])
        run["row"] = self._done + first
        run["opens"] = (first == 0) | (rows.document[np.maximum(first - 1, 0)] != rows.document[first])
        run["prev"] = np.where(starts[at], 0, rows.key[np.maximum(first - 1, 0)])
        run["next"] = np.where(ends[at], 0, rows.key[np.minimum(last + 1, len(rows.key) - 1)])
        run["starts"], run["ends"] = starts[at], ends[at]
        run["alike"], run["blank"] = alike[at], rows.blank[first]
        self._join(run, rows)
        self._done += len(rows.key)

    def _join(self, run: NDArray[np.void], rows: RowFeatures) -> None:
        """Join the open run of the last batch with the first of this one if they are one run."""
        held, run = self._open, run.copy()
        if held is not None:
            head = run[0]
            head["opens"] = held["document"][0] != head["document"]
            together = all(held[name][0] == head[name] for name in ("document", "phase"))
            if together and held["key"][0] == head["key"]:
                x = held["x"][0], head["x"]
                # Tokens of the two parts are not compared: at least as many differ as in either.
                head["x"] = sum(x) if min(held["tail"][0], head["head"]) < 0 else max(x)
                head["n"] += held["n"][0]
                for name in ("first", "row", "opens", "prev", "starts", "head"):
                    head[name] = held[name][0]
            else:
                held["ends"], held["next"] = not together, head["key"] if together else 0
                if together:
                    head["starts"], head["prev"] = False, held["key"][0]
                self._kept.append(self._only_kept(held))
        self._kept.append(self._only_kept(run[:-1]))
        self._open = run[-1:].copy()

    def _only_kept(self, run: NDArray[np.void]) -> NDArray[np.void]:
        """Drop a run that was kept only because the batch began with it."""
        if not len(run):
            return run
        head = run[0]
        if head["starts"] or head["ends"] or head["n"] >= LONG or head["alike"]:
            return run
        self._lengths[min(int(head["x"]), LONG - 1)] += 1
        self._short.append(run["key"][:1].copy())
        return run[1:]


def _segments(pieces: NDArray[np.void]) -> NDArray[np.void]:
    """Return the segments, from runs that end where the phase changes."""
    found = pieces[pieces["starts"]].copy()
    tails = pieces[pieces["ends"]]
    found["n"] = tails["row"] + tails["n"] - found["row"]
    found["last"] = tails["last"]
    return found


def _across_phases(pieces: NDArray[np.void]) -> NDArray[np.void]:
    """Merge runs that continue where the phase changes."""
    if not len(pieces):
        return pieces
    new = np.ones(len(pieces), bool)
    new[1:] = (
        (pieces["key"][1:] != pieces["key"][:-1])
        | (pieces["document"][1:] != pieces["document"][:-1])
        | (pieces["row"][1:] != pieces["row"][:-1] + pieces["n"][:-1])
    )
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(pieces)) - 1
    runs = pieces[first].copy()
    for name in ("n", "x"):
        runs[name] = np.add.reduceat(pieces[name], first)
    for name in ("last", "next", "ends", "phase", "tail"):
        runs[name] = pieces[name][last]
    return runs


def _worth(rows: RowFeatures, start: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the effective length of each run: rows with different tokens, or all rows without token ids."""
    x, several = n.copy(), np.flatnonzero(n > 1)
    if rows.token is None or not len(several):
        return x
    length = n[several]
    held = rows.token[np.repeat(start[several], length) + count_within(length)]
    low = np.minimum.reduceat(held, np.cumsum(length) - length)
    # Loops of a few tokens are as little evidence as runs of one.
    run = np.repeat(np.arange(len(several)), length)
    pairs = np.sort((run << 32) | np.maximum(held, 0))
    fresh = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    x[several] = np.where(low < 0, length, np.bincount(fresh >> 32, minlength=len(several)))
    return x
