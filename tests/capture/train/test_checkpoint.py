"""Damaged checkpoints and full disks."""

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from capture.train import checkpoint, recipe
from tests.capture.train.harness import command, damaged, stop_after


@pytest.mark.parametrize("damage", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"junk" * 30])
def test_a_damaged_checkpoint_gets_one_line(text, tmp_path, capsys, monkeypatch, damage):
    arguments = ("--text", text, "--steps", 4, "--processes", 1, "--out", tmp_path / "t")
    stop_after(monkeypatch, 1)
    assert command(*arguments) == 130
    monkeypatch.undo()
    capsys.readouterr()
    (tmp_path / "t" / "checkpoint.safetensors").write_bytes(damage)
    assert command(*arguments, "--resume") == 2
    assert "not a checkpoint of this model" in capsys.readouterr().err


def test_a_checkpoint_whose_progress_is_no_number_gets_one_line(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    file = tmp_path / "t" / "checkpoint.safetensors"
    tensors = load_file(file)
    save_file(tensors, file, {"progress": '{"step": 1, "seconds": null, "fraction": 0.25}'})
    capsys.readouterr()
    assert command(*again) == 2
    assert "not a checkpoint of this model" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["checkpoint", "model"])
def test_a_full_disk_gets_one_line_and_the_training_continues(text, tmp_path, capsys, monkeypatch, written):
    """safetensors has an error of its own for what other writers call an OSError."""

    def full(*arguments, **options):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    if written == "checkpoint":
        monkeypatch.setattr(checkpoint, "save_file", full)
    else:
        monkeypatch.setattr(recipe.MixtralForCausalLM, "save_pretrained", full)
    arguments = ("--text", text, "--steps", 3, "--processes", 1, "--out", tmp_path / "t")
    assert command(*arguments) == 2
    error = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("step ")]
    assert len(error) == 1
    assert "No space left on device" in error[0]
    assert "continue with --resume" in error[0]
    monkeypatch.undo()
    assert command(*arguments, "--resume") == 0
