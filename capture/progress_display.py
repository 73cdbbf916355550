"""Progress of a run on stderr: a bar in a terminal, a line every half minute in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 30.0


class ProgressDisplay:
    """A bar of one task where stderr is a terminal, and lines where it is not.

    Parameters
    ----------
    columns : ProgressColumn
        The parts of the bar, from left to right.
    total : float or None
        The task's size; None where it is not known.
    completed : float
        What earlier runs did of it.
    fields : any
        Further values that the columns show.
    """

    def __init__(
        self, *columns: ProgressColumn, total: float | None, completed: float = 0, **fields: Any
    ) -> None:
        self._started = self._last_line = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=total, completed=int(completed), **fields)

    def __enter__(self) -> Self:
        """Start drawing the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the start of this run."""
        return time.monotonic() - self._started

    def show(self, line: str, completed: float, *, last: bool = False, **fields: Any) -> None:
        """Move the bar, or print the line if the previous one is old enough or this is the last."""
        self._bar.update(self._task, completed=completed, **fields)
        now = time.monotonic()
        if not self._console.is_terminal and (last or now - self._last_line >= SECONDS_BETWEEN_LINES):
            self._last_line = now
            print(line, file=sys.stderr, flush=True)


class CaptureDisplay(ProgressDisplay):
    """Documents done, tokens per second and time left.

    Parameters
    ----------
    documents : int or None
        Documents to run; None where a stream does not say.
    """

    def __init__(self, documents: int | None) -> None:
        super().__init__(
            TextColumn("{task.completed:,.0f} documents"),
            BarColumn(),
            TextColumn("{task.fields[speed]:,.0f} tokens/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            total=documents,
            speed=0.0,
        )
        self._total = documents
        self.documents = self.tokens = 0

    def advance(self, documents: int, tokens: int) -> None:
        """Add documents and tokens that are done."""
        self.documents += documents
        self.tokens += tokens
        speed = self.tokens / max(self.seconds, 1e-9)
        self.show(self._line(speed), self.documents, speed=speed)

    def _line(self, speed: float) -> str:
        line = f"{self.documents:,} documents, {self.tokens:,} tokens, {speed:,.0f} tokens/s"
        if self._total and self.documents:
            left = (self._total - self.documents) * self.seconds / self.documents
            line += f", {left / 60:,.0f} min left"
        return line
