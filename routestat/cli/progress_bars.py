"""Progress bars on stderr."""

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from routestat.progress import Progress


class ProgressBars:
    """Progress bars with the time left, one per kind of work; nothing where stderr is not a terminal."""

    def __init__(self) -> None:
        """Make the display; `with` shows it."""
        self.console = Console(stderr=True)
        self._bars = RichProgress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            # A redirected stderr holds error messages only.
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBars":
        """Show the display."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the display."""
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` units of `what` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=max(total, 1))
        self._bars.update(self._tasks[what], completed=done, total=max(total, 1))

    def of(self, what: str) -> Progress:
        """Return the callback (done, total) for one kind of work."""
        return lambda done, total: self(what, done, total)
