"""Everything a training needs to go on, in one file that is replaced whole and holds numbers alone."""

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
    """How far a training has come.

    Attributes
    ----------
    step : int
        Steps done.
    seconds : float
        Of training, over all runs.
    fraction : float
        Of the steps or of the time, as the next step's learning rate sees it.
    """

    step: int = 0
    seconds: float = 0.0
    fraction: float = 0.0

    @classmethod
    def of(cls, out: Path) -> "TrainingProgress":
        """What the checkpoint in a folder says; the beginning if there is none."""
        if not (out / FILE).exists():
            return cls()
        try:
            with safe_open(out / FILE, "pt") as stored:
                said = json.loads(stored.metadata()["progress"])
                return cls(int(said["step"]), float(said["seconds"]), float(said["fraction"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise _damaged(out, error) from None


def save(out: Path, model: Any, optimizer: torch.optim.Optimizer, progress: TrainingProgress) -> None:
    """Write weights, the optimizer's moments and the progress; a kill while writing leaves the file before."""
    tensors = {}
    for name, weight in model.named_parameters():
        tensors[name] = weight.detach()
        for moment in _MOMENTS:
            tensors[f"{moment}:{name}"] = optimizer.state[weight][moment]
    partial = out / f"{FILE}.partial"
    with written(partial):
        save_file(tensors, partial, {"progress": json.dumps(vars(progress))})
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(out / FILE)


def restore(out: Path, model: Any, optimizer: torch.optim.Optimizer) -> TrainingProgress:
    """Put a checkpoint back, bit for bit; a training without one starts at the beginning.

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
def written(path: Path) -> Iterator[None]:
    """Say in one line that safetensors could not write.

    Raises
    ------
    RoutestatError
        If the disk is full, say.
    """
    try:
        yield
    except SafetensorError as error:
        raise RoutestatError(
            f"{path} cannot be written ({error}): make room and go on with --resume from the last checkpoint"
        ) from None


def _damaged(out: Path, error: Exception) -> RoutestatError:
    return RoutestatError(f"{out / FILE}: no checkpoint of this model ({error}); remove it to start again")
