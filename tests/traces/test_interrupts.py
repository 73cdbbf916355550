"""Ctrl-C at every line of the writer: what is on disk opens, and the rest can be appended."""

import signal

import numpy as np
import pytest

import routestat.traces.writer as writer_module
from routestat import Trace, TraceMeta, TraceWriter
from routestat.traces.interrupts import held_back
from routestat.traces.metadata import routers_like
from tests.traces.interrupted import interrupted_at

META = TraceMeta(routers_like([0], 8, 2), name="small", model="m")


def nested(done):
    with held_back():
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    done.append("never")


def test_a_signal_waits_for_the_end_of_the_outermost_block():
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            nested(done)
        assert done == ["inner", "outer"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with held_back():
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("shard_rows", [3, 100])
def test_ctrl_c_at_any_line_of_the_writer_loses_and_doubles_nothing(tmp_path, shard_rows):
    rng = np.random.default_rng(0)
    states = rng.integers(0, 28, (3, 4, 1)).astype(np.uint8)

    def write(path, documents, append=False):
        with TraceWriter(path, META, append=append, shard_rows=shard_rows) as writer:
            for document in documents:
                writer.write(np.full(4, document), states=states[document])

    line, went_on = 0, True
    while went_on:
        line += 1
        path = tmp_path / f"t{line}"
        went_on = interrupted_at(line, lambda path=path: write(path, range(3)), {writer_module.__file__})
        kept = rows_of(path) if (path / "manifest.json").exists() else []
        documents = sorted({document for document, _ in kept})
        # Whole shards only, in order; a document that a shard's end cut is completed by hand here.
        assert kept == [(d, int(state)) for d in range(3) for state in states[d, :, 0]][: len(kept)], line
        if len(kept) % 4 == 0:
            write(path, range(len(documents), 3), append=True)
            assert rows_of(path) == [(d, int(s)) for d in range(3) for s in states[d, :, 0]], line
    assert line > 100


def rows_of(path):
    return [
        (int(document), int(state))
        for batch in Trace.open(path).batches()
        for document, state in zip(batch.document, batch.columns["L00"], strict=True)
    ]
