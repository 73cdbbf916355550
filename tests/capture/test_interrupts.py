"""Ctrl-C at every line between the model and the disk: a resumed capture equals one that nothing stopped."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="capture needs torch")

import capture.loop
import capture.store
import routestat.traces.writer
from capture.corpus import Document
from capture.forward import Segment
from capture.loop import CaptureLoop
from capture.positions import RecordedRows
from capture.store import CaptureStore
from routestat import Trace, TraceMeta
from routestat.traces.metadata import routers_like
from tests.traces.interrupted import interrupted_at

META = TraceMeta(routers_like([0], 8, 2), name="small", model="m")
FILES = {module.__file__ for module in (capture.store, capture.loop, routestat.traces.writer)}
LENGTHS = (2, 5, 0, 1)


class Cutter:
    """Stands for the tokenizer: documents of known lengths, in windows of two tokens or whole."""

    def __init__(self, window):
        self.window = window

    def encode(self, document):
        length = LENGTHS[document.number]
        width = self.window or length
        return [
            Segment(document.number, list(range(first, min(first + width, length))), first)
            for first in range(0, length, width or 1)
        ]


class Model:
    """Stands for the model: the experts are a function of document and position."""

    flips = compared = 0

    def run(self, segments):
        document = np.concatenate([np.full(len(segment.tokens), segment.document) for segment in segments])
        position = np.concatenate([np.asarray(segment.tokens) for segment in segments])
        experts = np.stack([(document + position) % 7, np.full(len(document), 7)], axis=1)
        decode = np.zeros(len(document), bool)
        return RecordedRows(document, position, position, decode, {("experts", "L00"): experts})


def work(path, window, *, resume=False):
    output = CaptureStore(path, META, {}, resume=resume)
    documents = (Document(number, f"d{number}", "") for number in range(len(LENGTHS)))
    CaptureLoop(Model(), output, Cutter(window), 2, 0.0).run(documents)


def rows_of(path):
    trace = Trace.open(path)
    rows = [
        (int(d), int(p), int(s))
        for batch in trace.batches()
        for d, p, s in zip(batch.document, batch.position, batch.columns["L00"], strict=True)
    ]
    return rows, trace.documents.to_pylist(), trace.complete


def test_ctrl_c_at_any_line_of_a_capture_loses_and_doubles_nothing(tmp_path):
    window = 2
    work(tmp_path / "whole", window)
    whole = rows_of(tmp_path / "whole")
    assert len(whole[0]) == sum(LENGTHS)
    line, went_on = 0, True
    while went_on:
        line += 1
        path = tmp_path / f"t{line}"
        went_on = interrupted_at(line, lambda path=path: work(path, window), FILES)
        if (path / "capture.json").exists():
            work(path, window, resume=True)
        else:
            work(path, window)
        assert rows_of(path) == whole, line
    assert line > 200
