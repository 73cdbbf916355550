"""What a run of the command must be, whatever it was given: a right trace, a note, or one line."""

import io
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from routestat import Trace
from routestat.cli.runner import run
from routestat.convert import app
from routestat.traces.batch import to_batch
from routestat.traces.importers.arrays import read_arrays

SECONDS, MIB, LONGEST = 10, 600, 400
# What Python calls things; a user of the command has no use for it.
PYTHON = re.compile(
    r"Traceback|NoneType|object at 0x|\b(?:Key|Value|Type|Index|Attribute|Overflow|Unicode\w*|Recursion|Assertion|"
    r"Lookup|Runtime|EOF|Memory)Error\b"
)


class TooLongError(BaseException):
    """The run took too long; no reader may catch this."""


class Stored(NamedTuple):
    """One document of a trace, comparable."""

    position: tuple[int, ...]
    experts: bytes
    token: tuple[int, ...]
    decode: tuple[bool, ...]


@dataclass(frozen=True)
class Content:
    """What a trace holds."""

    layers: tuple[int, ...]
    top_k: int
    documents: tuple[Stored, ...]


@dataclass(frozen=True)
class Outcome:
    """What one run of the command did."""

    code: int
    out: str
    err: str
    seconds: float
    mib: float
    crash: str
    warned: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """Notes with their numbers taken out, so that notes of two runs can be compared."""
        said = [line for line in self.err.splitlines() if line.startswith("note: ")]
        return [re.sub(r"\d+", "#", line) for line in said]

    @property
    def lines(self) -> list[str]:
        """All other lines of stderr."""
        return [line for line in self.err.splitlines() if not line.startswith("note: ")]


def converted(source: str, out: str, options: tuple[object, ...]) -> Outcome:
    """Run the command in this process, with all that it prints, warns, takes and leaves."""
    spoken = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors="replace") for _ in range(2)]
    kept, crash, code = (sys.stdout, sys.stderr), "", -1
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with warnings.catch_warnings(record=True) as caught, _limited(), _descriptor() as leaked:
        warnings.simplefilter("always")
        sys.stdout, sys.stderr = spoken
        try:
            code = run(app, "routestat convert", [source, "--out", out, *map(str, options)])
        except (Exception, TooLongError):
            crash = traceback.format_exc()
        finally:
            sys.stdout, sys.stderr = kept
    seconds = time.process_time() - start
    mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    said = []
    for stream in spoken:
        stream.seek(0)
        said.append(stream.read())
    shown = tuple(str(one.message) for one in caught) + ((leaked[0],) if leaked[0] else ())
    return Outcome(code, said[0], said[1], seconds, mib, crash, shown)


@contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLongError

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 3 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@contextmanager
def _descriptor() -> Iterator[list[str]]:
    """What libraries write to the process's stderr behind Python's back."""
    said = [""]
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            said[0] = file.read().decode("utf-8", "replace")


def content_of(path: Path) -> Content:
    """What the command wrote, opened with every check."""
    return _content_of_arrays(path) if path.suffix == ".npz" else _content_of_store(path)


def _content_of_store(path: Path) -> Content:
    trace = Trace.open(path, verify=True)
    document, position, token, decode, experts = [], [], [], [], []
    for record in trace.record_batches():
        batch = to_batch(record)
        document.append(batch.document)
        position.append(batch.position)
        token.append(batch.columns["token"])
        decode.append(np.array([word == "decode" for word in record.column("phase").to_pylist()]))
        columns = []
        for router in trace.meta.routers:
            states, rows = batch.columns[router.name], np.full((len(batch), router.top_k), -1, np.int64)
            present = states != router.alphabet.missing
            rows[present] = router.alphabet.unrank(states[present])
            columns.append(rows)
        experts.append(np.stack(columns, axis=1))
    held = [np.concatenate(one) if one else np.zeros(0) for one in (document, position, token, decode)]
    return _grouped(trace.meta.layers, trace.meta.routers[0].top_k, *held, np.concatenate(experts))


def _content_of_arrays(path: Path) -> Content:
    got = read_arrays(path)
    n = len(got.document)
    token = np.full(n, -1) if got.token is None else got.token
    decode = np.zeros(n, bool) if got.decode is None else got.decode
    layers = tuple(router.layer for router in got.routers)
    return _grouped(layers, got.experts.shape[2], got.document, got.position, token, decode, got.experts)


def _grouped(layers, top_k, document, position, token, decode, experts) -> Content:
    found = []
    for number in dict.fromkeys(document.tolist()):
        rows = document == number
        found.append(
            Stored(
                tuple(position[rows].tolist()),
                subset_bytes(experts[rows]),
                tuple(token[rows].tolist()),
                tuple(decode[rows].tolist()),
            )
        )
    return Content(tuple(layers), top_k, tuple(found))


def subset_bytes(experts: np.ndarray) -> bytes:
    """Rows as sets, comparable."""
    return np.sort(np.asarray(experts, np.int64), axis=-1).tobytes()


def require_decent(outcome: Outcome, names: tuple[str, ...], left: list[str], out: str) -> None:
    """A trace, or one line with the file's name; nothing else on stderr, nothing left, in bounded time and memory.

    Parameters
    ----------
    outcome : Outcome
    names : tuple of str
        The source's name or those of its files: the line must have one.
    left : list of str
        What lies where the trace was to go.
    out : str
    """
    assert not outcome.crash, outcome.crash
    assert outcome.seconds < SECONDS, f"{outcome.seconds:.1f} s"
    assert outcome.mib < MIB, f"{outcome.mib:.0f} MiB"
    assert not outcome.warned, f"warned: {outcome.warned}"
    assert outcome.code in (0, 2), outcome
    if outcome.code == 0:
        assert not outcome.lines, outcome.err
        assert left == [out], left
        return
    assert left == [], left
    assert outcome.out == "", outcome.out
    assert len(outcome.lines) == 1, outcome.err
    line = outcome.lines[0]
    assert line.startswith("error: "), line
    assert len(line) <= LONGEST, f"{len(line)} characters: {line}"
    assert not PYTHON.search(line), line
    assert line.isprintable(), repr(line)
    assert any(name in line for name in names), f"names no file: {line}"


def lost(before: Content, after: Content) -> int:
    """How many documents of `before` are not in `after` as they were."""
    return sum((Counter(before.documents) - Counter(after.documents)).values())
