"""Progress on stderr: bars with the time left on a terminal, otherwise a line every few seconds."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from routestat.progress import Progress

#: Seconds between two lines where stderr is no terminal, and before the first.
EVERY = 5.0
# Expected seconds are those of one machine. Another is as fast as it was found to be, once that is known: the
# expectation weighs as much as so many measured seconds. A stage that took more than so many times what was expected
# says no more of the others.
_TRUSTED, _MOST_SLOWNESS = 2.0, 4.0


@dataclass
class _Stage:
    """One kind of work: when it began, what it took, how far it is, and what it is expected to take."""

    began: float = 0.0
    spent: float = 0.0
    done: int = 0
    total: int = 1
    share: float = 0.0
    expected: float = 0.0

    @property
    def reached(self) -> float:
        """The expected seconds of what is done."""
        return self.expected * self.share


class ProgressBars:
    """Progress of a run, as a `Tick`.

    Where the stages of the run are known beforehand (`expect`), the share done and the time left are those of the
    whole run; otherwise of the stage at hand.

    Parameters
    ----------
    console : rich.console.Console, optional
        stderr by default.
    clock : callable(), optional
        Returns seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Make the display; `with` shows it."""
        self.console = console or Console(stderr=True)
        self._clock, self._lock = clock, threading.Lock()
        self._last = self._printed = clock()
        self._stages: dict[str, _Stage] = {}
        self._planned: dict[str, _Stage] = {}
        self._shown = 0.0
        self._bars = RichProgress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._whole: TaskID | None = None
        self._current: TaskID | None = None

    def __enter__(self) -> "ProgressBars":
        """Show the display."""
        self._last = self._printed = self._clock()
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the display."""
        self._bars.stop()

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Announce the stages of the run and the seconds that each is expected to take.

        Parameters
        ----------
        seconds : mapping of str to float
            By the name that the stage is called with. Only their ratios matter in the end, and only of stages that
            have not begun: the time left follows the seconds that each stage really took.
        """
        with self._lock:
            for what, cost in seconds.items():
                self._stages.setdefault(what, _Stage()).expected = cost
                self._planned[what] = self._stages[what]
            self._last = self._clock()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` units of `what` are done."""
        with self._lock:
            now = self._clock()
            stage = self._stages.setdefault(what, _Stage())
            if not stage.began:
                stage.began = now
            # Stages may take turns: the time since the last call was that of this one.
            stage.spent += now - self._last
            self._last = now
            stage.done, stage.total = done, total
            # A stage that goes over the trace again begins anew, but what was done stays done.
            stage.share = max(stage.share, min(done / total, 1.0) if total else 1.0)
            if self.console.is_terminal:
                self._update(what, stage, now)
            elif now - self._printed >= EVERY:
                self._printed = now
                self.console.print(
                    self._line(what, stage, now), highlight=False, markup=False, soft_wrap=True
                )

    def of(self, what: str) -> Progress:
        """Return the callback (done, total) for one kind of work."""
        return lambda done, total: self(what, done, total)

    def _left(self, stage: _Stage, now: float) -> str:
        """Return the time left in words; unknown at the very beginning."""
        seconds = self._seconds_left(stage, now)
        return f"about {words_of_seconds(seconds)} left" if seconds == seconds else "time left not known yet"

    def _share(self) -> float:
        """Return the share of the work that is done, by the seconds that stages are now expected to take."""
        costs = [(self._slowness(stage) * stage.expected, stage.share) for stage in self._planned.values()]
        whole = sum(cost for cost, _ in costs)
        # It never falls, though expectations change.
        self._shown = max(self._shown, sum(cost * share for cost, share in costs) / whole if whole else 0.0)
        return self._shown

    def _seconds_left(self, stage: _Stage, now: float) -> float:
        if not self._planned:
            return (now - stage.began) * (1.0 - stage.share) / stage.share if stage.share else float("nan")
        return sum(self._slowness(one) * (one.expected - one.reached) for one in self._planned.values())

    def _slowness(self, stage: _Stage) -> float:
        """Return how many times the expected seconds a stage takes: by itself, and by the others before it begins."""
        seen = [one for one in self._planned.values() if one.reached and not (one is stage and stage.spent)]
        spent = sum(min(one.spent, _MOST_SLOWNESS * (one.reached + _TRUSTED)) for one in seen)
        others = (spent + _TRUSTED) / (sum(one.reached for one in seen) + _TRUSTED)
        if not (stage.spent and stage.reached):
            return others
        own = 1.0 if stage.share == 1.0 else stage.spent / (stage.spent + _TRUSTED)
        return own * stage.spent / stage.reached + (1.0 - own) * others

    def _update(self, what: str, stage: _Stage, now: float) -> None:
        left = self._left(stage, now)
        if self._planned:
            if self._whole is None:
                self._whole = self._bars.add_task("in all", total=1.0, left="")
            self._bars.update(self._whole, completed=self._share(), left=left)
            left = f"{stage.done:,} of {stage.total:,}"
        if self._current is None:
            self._current = self._bars.add_task(what, total=1.0, left="")
        self._bars.update(self._current, description=what, completed=stage.share, left=left)

    def _line(self, what: str, stage: _Stage, now: float) -> str:
        share = self._share() if self._planned else stage.share
        left = self._left(stage, now)
        return f"{100 * share:.0f} % done, {left}: {what}, {stage.done:,} of {stage.total:,}"


def words_of_seconds(seconds: float) -> str:
    """Return a time in the two units that matter, such as ``1 min 20 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
