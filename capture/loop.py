"""The loop of a capture: documents → batches → rows → the store, and what to keep when it stops early."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from capture.corpus import Document, Encoder
from capture.energy import Energy, EnergyMeter
from capture.forward import Runner, Segment, batches
from capture.progress import CaptureDisplay
from capture.store import CaptureStore
from routestat.errors import RoutestatError
from routestat.traces.interrupts import held_back


@dataclass
class CaptureLoop:
    """Everything that one capture needs.

    Parameters
    ----------
    batch_size : int
        Texts, or windows, run at once.
    save_every : float
        Seconds between two saves; what a kill can cost.
    total : int, optional
        Documents to come, where that is known.
    seed : int, optional
        Of the sampling. Every batch has its own, so that a resumed run draws what an unstopped one would.
    """

    runner: Runner
    output: CaptureStore
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
            For a document or a model that cannot be run, a full disk or memory; what was recorded before is on disk.
        """
        meter, pace = EnergyMeter(), CaptureDisplay(self.total)
        self._open: int | None = None
        try:
            with pace:
                self._loop(documents, pace, meter)
            self._save(complete=True)
            self.output.note(self._said(pace, meter.read()), complete=True)
        except OSError as error:
            kept = len(self.output.done)
            raise RoutestatError(
                f"{self.output.out} cannot be written ({error.strerror or error}); {kept:,} documents are kept: "
                "make room and go on with --resume"
            ) from None
        except torch.OutOfMemoryError:
            self._keep(pace, meter)
            raise RoutestatError(
                "out of memory on the card: lower --batch-size, then go on with --resume"
            ) from None
        except RuntimeError as error:
            self._keep(pace, meter)
            raise RoutestatError(
                f"the model cannot be run as it was loaded ({' '.join(str(error).split())[:200]}); where it is the "
                "experts' kernel, --experts eager goes without"
            ) from None
        except (KeyboardInterrupt, RoutestatError):
            self._keep(pace, meter)
            raise

    def _keep(self, pace: CaptureDisplay, meter: EnergyMeter) -> None:
        self._save()
        self.output.note(self._said(pace, meter.read()), complete=False)

    def _save(self, *, complete: bool = False) -> None:
        self.output.replayed(*self._flips())
        self.output.save(None if complete else self._open, complete=complete)

    def _flips(self) -> tuple[int, int]:
        """Selections that changed on replay and all that were compared, with those of the runs resumed."""
        before = self.output.before
        return before.get("flips", 0) + self.runner.flips, before.get("compared", 0) + self.runner.compared

    def _loop(self, documents: Iterator[Document], pace: CaptureDisplay, meter: EnergyMeter) -> None:
        upcoming = batches(self._segments(documents), self.batch_size)
        saved = time.monotonic()
        batch = next(upcoming, None)
        while batch is not None:
            if self.seed is not None:
                own = np.random.SeedSequence([self.seed, batch[0].document])
                torch.manual_seed(int(own.generate_state(1)[0]))
            rows = self.runner.run(batch)
            last = batch[-1].document
            with held_back():
                self.output.add(rows)
                # Until the next batch is known, the last document may go on in it.
                self._open = last if self.encoder.window else None
            following = next(upcoming, None)
            if following is None or following[0].document != last:
                self._open = None
            finished = len({segment.document for segment in batch}) - (self._open is not None)
            pace.advance(finished, len(rows))
            meter.poll()
            if time.monotonic() - saved >= self.save_every:
                self._save()
                self.output.note(self._said(pace, meter.read()), complete=False)
                saved = time.monotonic()
            batch = following

    def _segments(self, documents: Iterator[Document]) -> Iterator[Segment]:
        for document in documents:
            if document.number in self.output.done:
                continue
            segments = self.encoder.encode(document)
            self.output.describe(document, sum(len(segment.tokens) - segment.skip for segment in segments))
            yield from segments

    def _said(self, pace: CaptureDisplay, energy: Energy) -> dict[str, object]:
        """Time and energy of this run and those it resumed, and the flips of a replay."""
        before = self.output.before
        flips, compared = self._flips()
        joules = [value for value in (before.get("joules"), energy.joules) if value is not None]
        return {
            "tokens": before.get("tokens", 0) + pace.tokens,
            "seconds": before.get("seconds", 0.0) + energy.seconds,
            "joules": sum(joules) if joules else None,
            "energy_source": energy.source,
            "flips": flips,
            "compared": compared,
        }
