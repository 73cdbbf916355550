"""The training command on a toy language, and what it writes."""

import csv
import signal

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.train import command as train_command
from routestat.cli.runner import run

SMALL = {"layers": 2, "hidden": 16, "intermediate": 16, "vocab": 300, "context": 32, "batch-tokens": 256}


SHAPE = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]


WORDS = [
    "the",
    "captain",
    "sold",
    "forty",
    "clips",
    "and",
    "returned",
    "to",
    "the",
    "sea",
    "in",
    "time",
    "for",
    "tea",
]


def command(*arguments):
    return run(train_command.app, "capture.train", [*SHAPE, *map(str, arguments)])


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def course(folder):
    """The loss of every step; seconds differ from run to run."""
    with (folder / "loss.csv").open() as lines:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(lines)]


def stop_after(monkeypatch, steps):
    """Ctrl-C, as the user would send it, while the training runs."""
    add = train_command.LossCurve.add

    def stopping(self, result):
        add(self, result)
        if result.step == steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train_command.LossCurve, "add", stopping)


def damaged(text, folder, monkeypatch):
    """A training that was stopped after a step, and what to type to go on."""
    arguments = ("--text", text, "--steps", 4, "--out", folder)
    stop_after(monkeypatch, 1)
    assert command(*arguments, "--processes", 1) == 130
    monkeypatch.undo()
    return (*arguments, "--resume")
