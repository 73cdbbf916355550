"""A capture on disk: whole documents are saved at intervals, and a resumed run continues after the last."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.corpus import Document
from capture.positions import RecordedRows
from routestat.errors import RoutestatError
from routestat.traces.interrupts import held_back
from routestat.traces.manifest import MANIFEST, replace_file
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.rows import rank_rows
from routestat.traces.store import Trace
from routestat.traces.writer import TraceWriter

RUN_FILE = "capture.json"


class _CheckpointError(Exception):
    """Leaves a writer as an interrupt does: everything is written, and the trace stays incomplete."""


class CaptureStore:
    """The trace that a capture writes, and the record of the run beside it.

    Parameters
    ----------
    out : path
    meta : TraceMeta
    options : mapping
        Everything that decides what is recorded; a resumed run must have the same.
    resume : bool
    top1, weights : bool
        Columns to write.

    Raises
    ------
    RoutestatError
        If `out` holds a trace and `resume` is not set, or the trace was made with other options.
    """

    def __init__(
        self,
        out: Path,
        meta: TraceMeta,
        options: Mapping[str, Any],
        *,
        resume: bool = False,
        top1: bool = False,
        weights: bool = False,
    ) -> None:
        self.out, self.meta = out, meta
        self._top1, self._weights = top1, weights
        self._rows: list[RecordedRows] = []
        self._documents: list[dict[str, Any]] = []
        # Seconds, joules and flips of earlier runs; a resumed run adds to them.
        self.before: dict[str, Any] = {}
        self.done: set[int] = set()
        self._options = json.loads(json.dumps(options))
        out.mkdir(parents=True, exist_ok=True)
        if refuse_taken(out, resume):
            self._resume()
        self.write_record({}, complete=False)

    def _resume(self) -> None:
        file = self.out / RUN_FILE
        if not file.exists():
            raise RoutestatError(f"{self.out}: was not written by capture, so it cannot be resumed")
        try:
            record = json.loads(file.read_bytes())
            options, self.before = dict(record["options"]), dict(record["run"])
        except (ValueError, KeyError, TypeError):
            raise RoutestatError(
                f"{file}: damaged, so the capture cannot be resumed; choose another --out"
            ) from None
        # Keys of both: a run that forces nothing lacks the options of an intervention.
        known = {**options, **self._options}
        changed = [key for key in known if options.get(key) != self._options.get(key)]
        if changed:
            old, new = options.get(changed[0]), self._options.get(changed[0])
            raise RoutestatError(
                f"{self.out}: was made with {changed[0]} {old!r}, not {new!r}; "
                "resume with the same options or choose another --out"
            )
        if (self.out / MANIFEST).exists():
            trace = Trace.open(self.out)
            self.done = set(trace.documents.column("document").to_pylist())

    def write_record(self, run: Mapping[str, Any], complete: bool) -> None:
        """Write ``capture.json``: the options, and tokens, time, energy and flips so far."""
        record = {"complete": complete, "options": self._options, "run": {**self.before, **run}}
        replace_file(self.out / RUN_FILE, json.dumps(record, indent=1, ensure_ascii=False).encode())

    def record_replay(self, flips: int, compared: int) -> None:
        """Add to the metadata how many of the compared selections differ between generation and replay."""
        if compared:
            replay = {"selections": compared, "changed": flips}
            self.meta = replace(self.meta, extra={**self.meta.extra, "replay": replay})

    def add(self, rows: RecordedRows) -> None:
        """Add recorded rows; they stay in memory until `save`."""
        self._rows.append(rows)

    def add_document(self, document: Document, prompt_tokens: int) -> None:
        """Add a document before its rows; it may have none."""
        self._documents.append(
            {
                "document": document.number,
                "name": document.name,
                "domain": document.domain,
                "prompt_tokens": prompt_tokens,
            }
        )

    def save(self, unfinished: int | None = None, *, complete: bool = False) -> None:
        """Write all documents to disk except the `unfinished` one and those that have no rows yet."""
        rows = [rows.select(rows.document != unfinished) for rows in self._rows]
        rest = [rows.select(rows.document == unfinished) for rows in self._rows]
        recorded = {int(number) for part in rows for number in np.unique(part.document)}
        ready = [one for one in self._documents if one["document"] in recorded or not one["prompt_tokens"]]
        if not ready and not complete:
            return
        # An interrupt must not separate what is on disk from the list of what is still to be written.
        with held_back():
            with suppress(_CheckpointError), TraceWriter(self.out, self.meta, append=True) as writer:
                if ready:
                    writer.add_documents({key: [one[key] for one in ready] for key in ready[0]})
                for part in rows:
                    if len(part):
                        self._write(writer, part)
                if not complete:
                    raise _CheckpointError
            taken = {one["document"] for one in ready}
            self.done |= taken
            self._documents = [one for one in self._documents if one["document"] not in taken]
            self._rows = [part for part in rest if len(part)]

    def _write(self, writer: TraceWriter, rows: RecordedRows) -> None:
        states: dict[str, NDArray[np.unsignedinteger]] = {}
        columns: dict[str, NDArray[Any]] = {}
        for router in self.meta.routers:
            experts = rows.columns["experts", router.name]
            states[router.name] = rank_rows(experts, router)
            if self._top1 or self._weights:
                by_id, heaviest = _ordered_weights(experts, rows.columns["weights", router.name], router)
                if self._top1:
                    columns[f"{router.name}.top1"] = heaviest
                if self._weights:
                    columns[f"{router.name}.weights"] = by_id
            for (kind, name), values in rows.columns.items():
                if kind == "ahead" and name.split(".")[0] == router.name:
                    columns[name] = rank_rows(values, router)
        phase = np.where(rows.decode, "decode", "prefill")
        writer.write(
            rows.document, rows.position, states=states, token=rows.token, phase=phase, columns=columns
        )


def refuse_taken(out: Path, resume: bool) -> bool:
    """Return whether a folder holds a capture.

    Raises
    ------
    RoutestatError
        If it does and is not to be resumed.
    """
    taken = (out / RUN_FILE).exists() or (out / MANIFEST).exists()
    if taken and not resume:
        raise RoutestatError(f"{out}: already holds a trace; continue with --resume or choose another --out")
    return taken


def _ordered_weights(
    experts: NDArray[np.int16], weights: NDArray[np.float16], router: Router
) -> tuple[NDArray[np.float16], NDArray[np.unsignedinteger]]:
    """Return weights by ascending expert id, 0 where the choice is missing, and the expert of the largest."""
    kind = router.alphabet.expert_dtype
    missing = np.asarray((experts < 0).any(axis=1))
    ascending = np.take_along_axis(weights, np.argsort(experts, axis=1), axis=1)
    heaviest = np.take_along_axis(experts, weights.argmax(axis=1)[:, None], axis=1)[:, 0]
    by_id = np.where(missing[:, None], np.float16(0), ascending)
    return by_id, np.where(missing, np.iinfo(kind).max, heaviest.astype(np.int64)).astype(kind)
