"""A run that is stopped at any point keeps what it had, and a resumed run equals an uninterrupted one."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
import routestat.traces.writer
from capture.forward import Runner, Segment
from routestat import Trace
from tests.capture.conftest import ROOT, TINY
from tests.capture.harness import command, read, require_same

pytest.importorskip("torch", reason="capture needs torch")
import capture.loop
import capture.store
from capture.corpus import Document
from capture.loop import CaptureLoop
from capture.positions import RecordedRows
from capture.store import CaptureStore
from routestat import TraceMeta
from routestat.traces.metadata import routers_like
from tests.traces.interrupted import interrupted_at


@pytest.mark.parametrize(
    ("stop", "code"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow)],
    ids=["kill", "interrupt", "terminate"],
)
def test_a_stopped_run_keeps_what_it_had_and_continues(tmp_path, capsys, many, stop, code):
    file, whole = many
    out = tmp_path / "stopped"
    arguments = ["--text", file, "--out", out, "--max-new-tokens", 0, "--save-every", 0, "--batch-size", 1]
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", TINY, "--dtype", "float32", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "shard-00002.arrow").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    if stop != signal.SIGKILL:
        assert error.strip().splitlines()[-1] == "error: interrupted"
        assert "continue with --resume" in error
    kept = Trace.open(out)
    assert not kept.complete
    assert 2 <= kept.documents.num_rows < 64
    capsys.readouterr()
    assert command(*arguments) == 2
    assert "continue with --resume" in capsys.readouterr().err
    assert command(*arguments, "--resume", "--save-every", 60) == 0
    assert Trace.open(out).complete
    require_same(read(out), read(whole))


def test_a_full_disk_keeps_what_was_saved(tmp_path, capsys, many, monkeypatch):
    file, whole = many
    out = tmp_path / "full"
    arguments = ("--text", file, "--out", out, "--save-every", 0, "--batch-size", 4)
    real = routestat.traces.writer.write_arrow

    def full(path, table):
        if path.name == "shard-00003.arrow":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, table)

    monkeypatch.setattr(routestat.traces.writer, "write_arrow", full)
    capsys.readouterr()
    assert command(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "No space left on device" in error
    assert "12 documents are kept: free some space and continue with --resume" in error
    assert len(error.splitlines()) == 1
    monkeypatch.undo()
    assert Trace.open(out).documents.num_rows == 12
    assert command(*arguments, "--resume") == 0
    require_same(read(out), read(whole))


def test_windows_of_a_long_document_are_saved_only_whole(tmp_path, capsys, monkeypatch):
    """Interrupted in the middle of the second document: only the first is kept, and the rest follows."""
    file = tmp_path / "two.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"{word} " * 60}) for word in ("sea", "time")))
    arguments = ("--text", file, "--window", 16, "--batch-size", 2, "--save-every", 0, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    run_batch, calls = Runner.run, []

    def interrupted(self, segments):
        calls.append(segments)
        if segments[0].document == 1 and segments[0].first >= 32:
            raise KeyboardInterrupt
        return run_batch(self, segments)

    monkeypatch.setattr(Runner, "run", interrupted)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut").documents.num_rows == 1
    assert len(calls) > 2
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    require_same(read(tmp_path / "cut"), read(tmp_path / "whole"))


@pytest.mark.parametrize("replayed", [(), ("--num-beams", 2)], ids=["plain", "beams"])
def test_a_resumed_sampled_run_draws_what_an_uninterrupted_one_would(
    tmp_path, capsys, many, monkeypatch, replayed
):
    file, _ = many
    sampled = ("--text", file, "--limit", 12, "--max-new-tokens", 6, "--sample", "--save-every", 0, *replayed)
    arguments = (*sampled, "--batch-size", 4, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    run_batch = Runner.run

    def interrupted(self, segments):
        if segments[0].document == 8:
            raise KeyboardInterrupt
        return run_batch(self, segments)

    monkeypatch.setattr(Runner, "run", interrupted)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut").documents.num_rows == 8
    capsys.readouterr()
    assert command(*sampled, "--batch-size", 3, "--out", tmp_path / "cut", "--resume") == 2
    assert "was made with batch_size 4, not 3" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    require_same(read(tmp_path / "cut"), read(tmp_path / "whole"))
    assert command(*arguments, tmp_path / "other", "--seed", 1) == 0
    tokens, others = (read(tmp_path / name)["token"] for name in ("whole", "other"))
    assert len(tokens) != len(others) or (tokens != others).any()


META = TraceMeta(routers_like([0], 8, 2), name="small", model="m")


FILES = {module.__file__ for module in (capture.store, capture.loop, routestat.traces.writer)}


LENGTHS = (2, 3, 0, 1)


class Cutter:
    """In place of the encoder: documents of known lengths, in windows of two tokens or whole."""

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
    """In place of the model: the experts are a function of document and position."""

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


def test_an_interrupt_at_any_line_of_a_capture_loses_and_doubles_nothing(tmp_path):
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
