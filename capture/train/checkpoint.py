"""Checkpoints: weights, optimizer moments and progress in one file that is replaced as a whole."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from routestat.errors import RoutestatError

FILE = "checkpoint.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class TrainingProgress:
    """Steps and time that a training has taken.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Training time over all runs.
    fraction : float
        Share of the steps or of the time that is over; the learning rate is a function of it.
    """

    step: int = 0
    seconds: float = 0.0
    fraction: float = 0.0

    @classmethod
    def of(cls, out: Path) -> "TrainingProgress":
        """Read the progress from the checkpoint in a folder; zero if there is none."""
        if not (out / FILE).exists():
            return cls()
        try:
            with safe_open(out / FILE, "pt") as stored:
                record = json.loads(stored.metadata()["progress"])
                return cls(int(record["step"]), float(record["seconds"]), float(record["fraction"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _damaged(out, error) from None


def save(out: Path, model: Any, optimizer: torch.optim.Optimizer, progress: TrainingProgress) -> None:
    """Write weights, optimizer moments and progress; an interrupted write leaves the previous file."""
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[name] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}:{name}"] = optimizer.state[weight][moment]
    partial = out / f"{FILE}.partial"
    with disk_errors(partial):
        save_file(tensors, partial, {"progress": json.dumps(vars(progress))})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(out / FILE)


def restore(out: Path, model: Any, optimizer: torch.optim.Optimizer) -> TrainingProgress:
    """Restore a checkpoint bit for bit; without one a training starts at the beginning.

    Raises
    ------
    RoutestatError
        If the file is damaged or of another model.
    """
    progress = TrainingProgress.of(out)
    if not progress.step:
        return progress
    try:
        with safe_open(out / FILE, "pt") as stored:
            for name, weight in model.named_parameters():
                with torch.no_grad():
                    weight.copy_(stored.get_tensor(name))
                moments = {moment: stored.get_tensor(f"{moment}:{name}") for moment in _MOMENTS}
                optimizer.state[weight] = {"step": torch.tensor(float(progress.step)), **moments}
    except (SafetensorError, RuntimeError) as error:
        raise _damaged(out, error) from None
    return progress


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn write errors of safetensors into one line.

    Raises
    ------
    RoutestatError
        If the file cannot be written, for example on a full disk.
    """
    try:
        yield
    except SafetensorError as error:
        raise RoutestatError(
            f"{path} cannot be written ({error}): free some space and continue with --resume from the last checkpoint"
        ) from None


def _damaged(out: Path, error: Exception) -> RoutestatError:
    return RoutestatError(f"{out / FILE}: not a checkpoint of this model ({error}); remove it to start again")
