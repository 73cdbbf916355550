"""Progress of a capture: documents, tokens a second, time left; lines instead of a bar where a log is written."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY = 30.0


class CaptureDisplay:
    """Documents and tokens done, on stderr.

    Parameters
    ----------
    documents : int or None
        How many there will be; None where a stream does not say.
    """

    def __init__(self, documents: int | None) -> None:
        self._total = documents
        self._start = self._spoke = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.completed:,.0f} documents"),
            BarColumn(),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=documents, speed=0.0)
        self.documents = self.tokens = 0

    def __enter__(self) -> "CaptureDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    def advance(self, documents: int, tokens: int) -> None:
        """So many more are done."""
        self.documents += documents
        self.tokens += tokens
        speed = self.tokens / max(self.seconds, 1e-9)
        self._bar.update(self._task, completed=self.documents, speed=speed)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._spoke >= LINE_EVERY:
            self._spoke = now
            print(self._line(speed), file=sys.stderr, flush=True)

    def _line(self, speed: float) -> str:
        line = f"{self.documents:,} documents, {self.tokens:,} tokens, {speed:,.0f} tokens/s"
        if self._total and self.documents:
            left = (self._total - self.documents) * self.seconds / self.documents
            line += f", {left / 60:,.0f} min left"
        return line
