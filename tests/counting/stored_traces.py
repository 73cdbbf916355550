"""A store of uneven documents in several shards of several record batches, and workers in this process."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from routestat import Router, TraceMeta, TraceWriter
from routestat.traces.parts import part_of

LENGTHS = (40, 7, 300, 61, 5, 5, 120, 33, 90, 18, 64, 2, 1, 77, 150)
#: Tokens that begin every document longer than that: a template.
PROMPT = 6


def write_store(path: Path, wide: bool = False, seed: int = 0, name: str = "uneven") -> Path:
    """Write a store with shards of 200 rows and batches of 64; its documents have other numbers than places."""
    rng = np.random.default_rng(seed)
    document = np.repeat(rng.permutation(40)[: len(LENGTHS)], LENGTHS)
    position = np.concatenate([np.arange(n) for n in LENGTHS])
    alphabets = [(40, 3)] * 3 if wide else [(5, 2), (6, 2), (4, 1)]
    routers = tuple(Router(2 * place, e, k) for place, (e, k) in enumerate(alphabets))
    states = {
        router.name: rng.integers(0, router.alphabet.size, len(document)).astype(router.alphabet.dtype)
        for router in routers
    }
    for router in routers:
        states[router.name][rng.random(len(document)) < 0.05] = router.alphabet.missing
    token = np.where(position < PROMPT, position, rng.integers(10, 400, len(document)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("routestat.traces.manifest.BATCH_ROWS", 64)
        with TraceWriter(path, TraceMeta(routers, name=name, model="m"), shard_rows=200) as writer:
            writer.write(document, position, states=states, token=token)
    return path


class InTurn:
    """Workers of one process: what they are sent and what they return is pickled, as between processes."""

    def __init__(self, n_parts):
        self.n_parts = n_parts

    def run(self, trace, function, combine, progress=None):
        total = None
        for number in range(1, self.n_parts + 1):
            sent = pickle.loads(pickle.dumps((trace, function)))
            found = pickle.loads(pickle.dumps(sent[1](part_of(sent[0], number, self.n_parts))))
            total = found if number == 1 else combine(total, found)
            if progress is not None:
                progress(number, self.n_parts)
        return total


def same_counts(first, second):
    """Refuse counts that differ in anything."""
    for name in ("states", "routers", "contexts", "note", "wraps"):
        assert getattr(first, name) == getattr(second, name), name
    for name in ("tokens", "documents", "clusters"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), name)
    assert list(first.tables) == list(second.tables)
    for key, table in first.tables.items():
        np.testing.assert_array_equal(table, second.tables[key], str(key))
    return True
