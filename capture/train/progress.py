"""Progress of a training: loss, tokens a second and time left; lines instead of a bar where a log is written."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from capture.train.checkpoint import TrainingProgress as Done
from capture.train.loop import StepResult

LINE_EVERY = 30.0
SMOOTH = 0.2


class TrainingDisplay:
    """Steps done, on stderr.

    Parameters
    ----------
    done : checkpoint.TrainingProgress
        What earlier runs did.
    """

    def __init__(self, done: Done) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(), TextColumn("{task.description}"), console=self._console, disable=not self.terminal
        )
        self._task = self._bar.add_task("", total=1000, completed=round(1000 * done.fraction))
        self._done = done
        self._spoke = time.monotonic()
        self._tokens, self._loss, self.speed = 0, 0.0, 0.0

    @property
    def terminal(self) -> bool:
        """Whether somebody watches."""
        return self._console.is_terminal

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, said: StepResult, tokens: int) -> None:
        """One more step, of `tokens`."""
        self._loss += (said.loss - self._loss) * (SMOOTH if self._tokens else 1.0)
        self._tokens += tokens
        seconds = said.seconds - self._done.seconds
        self.speed = self._tokens / max(seconds, 1e-9)
        fraction = min(said.fraction, 1.0)
        left = seconds * (1 - fraction) / max(fraction - self._done.fraction, 1e-9)
        words = (
            f"step {said.step:,}  loss {self._loss:.3f}  balance {said.aux:.3f}  {self.speed:,.0f} tokens/s  "
            f"{_minutes(left)} left"
        )
        self._bar.update(self._task, completed=round(1000 * fraction), description=words)
        now = time.monotonic()
        if not self.terminal and (now - self._spoke >= LINE_EVERY or said.fraction >= 1):
            self._spoke = now
            print(words, file=sys.stderr, flush=True)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
