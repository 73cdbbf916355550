"""Progress of a training on stderr: loss, tokens per second and time left."""

from rich.progress import BarColumn, TextColumn

from capture.progress_display import ProgressDisplay
from capture.train.checkpoint import TrainingProgress
from capture.train.loop import StepResult

# Weight of a new step in the moving mean of the loss.
SMOOTHING = 0.2
# Parts of the bar.
PARTS = 1000


class TrainingDisplay(ProgressDisplay):
    """Steps done.

    Parameters
    ----------
    done : TrainingProgress
        What earlier runs did.
    """

    def __init__(self, done: TrainingProgress) -> None:
        super().__init__(
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            total=PARTS,
            completed=round(PARTS * done.fraction),
            text="",
        )
        self._done = done
        self._tokens, self._loss, self.speed = 0, 0.0, 0.0

    def advance(self, result: StepResult, tokens: int) -> None:
        """Add one step of `tokens` tokens."""
        self._loss += (result.loss - self._loss) * (SMOOTHING if self._tokens else 1.0)
        self._tokens += tokens
        seconds = result.seconds - self._done.seconds
        self.speed = self._tokens / max(seconds, 1e-9)
        fraction = min(result.fraction, 1.0)
        left = seconds * (1 - fraction) / max(fraction - self._done.fraction, 1e-9)
        line = (
            f"step {result.step:,}  loss {self._loss:.3f}  balance {result.balance:.3f}  "
            f"{self.speed:,.0f} tokens/s  {_clock(left)} left"
        )
        self.show(line, round(PARTS * fraction), last=result.fraction >= 1, text=line)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
