"""The loss curve of a training: ``loss.csv`` while it runs, ``loss.png`` when it ends."""

import csv
from pathlib import Path
from types import TracebackType

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from capture.train.loop import StepResult

CSV, PNG = "loss.csv", "loss.png"
COLUMNS = ("step", "seconds", "tokens", "loss", "aux", "lr", "held_out_loss")


class LossCurve:
    """Rows of ``loss.csv``; a resumed training drops the rows after its checkpoint.

    Columns: steps done, seconds, tokens seen, cross-entropy of the step in nats per token, mean balance loss per
    layer (1 if the load is even), learning rate, and at intervals the cross-entropy on held-out text.

    Parameters
    ----------
    folder : Path
    step : int
        Steps done.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self.rows = [row for row in read(folder) if int(row["step"]) <= step]
        self._file = (folder / CSV).open("w", newline="", buffering=1)
        self._writer = csv.DictWriter(self._file, COLUMNS)

    def __enter__(self) -> "LossCurve":
        """Write the rows of earlier runs."""
        self._writer.writeheader()
        self._writer.writerows(self.rows)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and draw the curve."""
        self._file.close()
        if self.rows:
            draw(self.rows, self._folder / PNG)

    def add(self, result: StepResult) -> None:
        """Add one step."""
        held_out = "" if result.held_out is None else f"{result.held_out:.6f}"
        values = (
            str(result.step),
            f"{result.seconds:.3f}",
            str(result.tokens),
            f"{result.loss:.6f}",
            f"{result.balance:.6f}",
            f"{result.rate:.6g}",
            held_out,
        )
        row = dict(zip(COLUMNS, values, strict=True))
        self.rows.append(row)
        self._writer.writerow(row)


def read(folder: Path) -> list[dict[str, str]]:
    """Read the complete rows of a ``loss.csv``; none if there is no such file."""
    file = folder / CSV
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        # An interrupted write may have cut the last line.
        return [row for row in csv.DictReader(lines) if None not in row.values()]


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw the loss of every step, its moving mean and the held-out loss, with the balance loss below."""
    tokens = [int(row["tokens"]) / 1e6 for row in rows]
    loss = [float(row["loss"]) for row in rows]
    # Centred, a fortieth of the run to each side: a mean over previous steps alone would lag behind a falling curve.
    reach = len(loss) // 40
    smooth = [float(np.mean(loss[max(i - reach, 0) : i + reach + 1])) for i in range(len(loss))]
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    top.plot(tokens, loss, color="0.8", linewidth=0.6, label="each step")
    top.plot(tokens, smooth, color="C0", label="moving mean")
    held = [row for row in rows if row["held_out_loss"]]
    if held:
        at = [int(row["tokens"]) / 1e6 for row in held]
        top.plot(at, [float(row["held_out_loss"]) for row in held], "o", color="C1", ms=3, label="held out")
    top.set_ylabel("cross-entropy (nats per token)")
    top.legend(frameon=False)
    below.plot(tokens, [float(row["aux"]) for row in rows], color="C2", linewidth=0.8)
    below.axhline(1, color="0.6", linewidth=0.6)
    below.set_ylabel("balance loss\n(1 is even)")
    below.set_xlabel("million tokens seen")
    figure.savefig(path, dpi=120)
