"""The loop of a capture: documents → batches → recorded rows → the store."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from capture.corpus import Document, Encoder
from capture.energy import Energy, EnergyMeter
from capture.forward import Runner, Segment, batches
from capture.inputs import RunInputs
from capture.progress_display import CaptureDisplay
from capture.store import CaptureStore
from routestat.errors import RoutestatError
from routestat.traces.interrupts import held_back


def record_documents(
    inputs: RunInputs, runner: Runner, store: CaptureStore, *, seed: int | None = None
) -> None:
    """Run the documents that the store does not have yet; on Ctrl-C, say how to continue.

    Parameters
    ----------
    inputs : RunInputs
    runner : Runner
    store : CaptureStore
    seed : int, optional
        Seed of the sampling; None without any.

    Raises
    ------
    KeyboardInterrupt
        After what was recorded has been saved.
    RoutestatError
        As in `CaptureLoop.run`.
    """
    batch_size, save_every = inputs.settings.batch_size, inputs.settings.save_every
    remaining = inputs.remaining(len(store.done))
    loop = CaptureLoop(runner, store, inputs.encoder, batch_size, save_every, remaining, seed)
    try:
        loop.run(inputs.documents())
    except KeyboardInterrupt:
        kept = f"{len(store.done):,} documents are kept in {store.out}"
        print(f"note: {kept}; continue with --resume", file=sys.stderr)
        raise


@dataclass
class CaptureLoop:
    """Everything that a capture needs.

    Parameters
    ----------
    runner : Runner
    store : CaptureStore
    encoder : Encoder
    batch_size : int
        Texts, or windows, that run together.
    save_every : float
        Seconds between two saves.
    total : int, optional
        Documents to run, where that is known.
    seed : int, optional
        Seed of the sampling. Every batch has its own, so that a resumed run draws what an uninterrupted one would.
    """

    runner: Runner
    store: CaptureStore
    encoder: Encoder
    batch_size: int
    save_every: float
    total: int | None = None
    seed: int | None = None

    def run(self, documents: Iterator[Document]) -> None:
        """Run all documents that the store does not have yet.

        Raises
        ------
        RoutestatError
            For a document or a model that cannot be run, a full disk, or too little memory; what was recorded
            before is on disk.
        """
        meter, display = EnergyMeter(), CaptureDisplay(self.total)
        self._open: int | None = None
        try:
            with display:
                self._loop(documents, display, meter)
            self._save(complete=True)
            self.store.write_record(self._facts(display, meter.read()), complete=True)
        except OSError as error:
            kept = len(self.store.done)
            raise RoutestatError(
                f"{self.store.out} cannot be written ({error.strerror or error}); {kept:,} documents are kept: "
                "free some space and continue with --resume"
            ) from None
        except torch.OutOfMemoryError:
            self._save_unfinished(display, meter)
            raise RoutestatError(
                "out of GPU memory: lower --batch-size, then continue with --resume"
            ) from None
        except RuntimeError as error:
            self._save_unfinished(display, meter)
            raise RoutestatError(
                f"the model cannot be run as it was loaded ({' '.join(str(error).split())[:200]}); if the experts' "
                "kernel is the cause, --experts eager runs without it"
            ) from None
        except (KeyboardInterrupt, RoutestatError):
            self._save_unfinished(display, meter)
            raise

    def _save_unfinished(self, display: CaptureDisplay, meter: EnergyMeter) -> None:
        self._save()
        self.store.write_record(self._facts(display, meter.read()), complete=False)

    def _save(self, *, complete: bool = False) -> None:
        self.store.record_replay(*self._flips())
        self.store.save(None if complete else self._open, complete=complete)

    def _flips(self) -> tuple[int, int]:
        """Return the selections that changed on replay and all that were compared, over all resumed runs."""
        before = self.store.before
        return before.get("flips", 0) + self.runner.flips, before.get("compared", 0) + self.runner.compared

    def _loop(self, documents: Iterator[Document], display: CaptureDisplay, meter: EnergyMeter) -> None:
        upcoming = batches(self._segments(documents), self.batch_size)
        saved = time.monotonic()
        batch = next(upcoming, None)
        while batch is not None:
            if self.seed is not None:
                of_batch = np.random.SeedSequence([self.seed, batch[0].document])
                torch.manual_seed(int(of_batch.generate_state(1)[0]))
            rows = self.runner.run(batch)
            last = batch[-1].document
            with held_back():
                self.store.add(rows)
                # Until the next batch is known, the last document may continue in it.
                self._open = last if self.encoder.window else None
            following = next(upcoming, None)
            if following is None or following[0].document != last:
                self._open = None
            finished = len({segment.document for segment in batch}) - (self._open is not None)
            display.advance(finished, len(rows))
            meter.poll()
            if time.monotonic() - saved >= self.save_every:
                self._save_unfinished(display, meter)
                saved = time.monotonic()
            batch = following

    def _segments(self, documents: Iterator[Document]) -> Iterator[Segment]:
        for document in documents:
            if document.number in self.store.done:
                continue
            segments = self.encoder.encode(document)
            self.store.add_document(document, sum(len(one.tokens) - one.skip for one in segments))
            yield from segments

    def _facts(self, display: CaptureDisplay, energy: Energy) -> dict[str, object]:
        """Return tokens, time, energy and flips of this run and of those that it resumed."""
        before = self.store.before
        flips, compared = self._flips()
        joules = [value for value in (before.get("joules"), energy.joules) if value is not None]
        return {
            "tokens": before.get("tokens", 0) + display.tokens,
            "seconds": before.get("seconds", 0.0) + energy.seconds,
            "joules": sum(joules) if joules else None,
            "energy_source": energy.source,
            "flips": flips,
            "compared": compared,
        }
