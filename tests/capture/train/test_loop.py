"""The same seed gives the same weights bit for bit, also after an interruption and in several processes."""

import os
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from tests.capture.conftest import ROOT
from tests.capture.train.harness import SHAPE, command, course, stop_after, weights


def test_the_same_seed_gives_the_same_weights_and_another_does_not(text, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = ("--steps", 4, "--processes", 1, "--seed", seed)
        assert command("--text", text, "--out", tmp_path / name, *options) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert course(tmp_path / "a") == course(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_a_stopped_training_continues_to_the_same_weights(text, tmp_path, monkeypatch, capsys):
    arguments = ("--text", text, "--steps", 12, "--processes", 1, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    stop_after(monkeypatch, 5)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert "continue with --resume" in capsys.readouterr().err
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert len(course(tmp_path / "cut")) == 6
    assert command(*arguments, tmp_path / "cut") == 2
    assert "holds a training; continue with --resume" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume", "--seed", 9) == 2
    assert "was made with seed 0, not 9" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert course(tmp_path / "cut") == course(tmp_path / "whole")
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()
    assert command(*arguments, tmp_path / "cut", "--resume") == 2
    assert "this training is finished" in capsys.readouterr().err


@pytest.fixture(scope="module")
def of_two_processes(text, tmp_path_factory):
    """What to type for a training in two processes, and the folder of one that nothing stopped."""
    arguments = ("--text", text, "--steps", 100, "--save-every", 0, "--processes", 2, "--out")
    whole = tmp_path_factory.mktemp("two") / "whole"
    assert command(*arguments, whole) == 0
    return arguments, whole


def test_two_processes_are_reproducible_too_and_continue_after_a_stop(
    of_two_processes, tmp_path, monkeypatch
):
    arguments, whole = of_two_processes
    stop_after(monkeypatch, 3)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert len(course(tmp_path / "cut")) == 4
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(whole)
    assert course(tmp_path / "cut") == course(whole)


@pytest.mark.slow
def test_a_killed_training_continues_from_its_checkpoint(of_two_processes, tmp_path):
    arguments, whole = of_two_processes
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "capture.train", *SHAPE, *map(str, arguments), out],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait(30)
    assert not (out / "model.safetensors").exists()
    assert command(*arguments, out, "--resume") == 0
    assert weights(out) == weights(whole)
    assert course(out) == course(whole)
