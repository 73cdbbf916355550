"""Damaged records of a training."""

import shutil

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from tests.capture.conftest import ROOT
from tests.capture.train.harness import command, damaged


def test_a_record_without_its_options_gets_one_line(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    (tmp_path / "t" / "training.json").write_text('{"options": {}, "run": null}')
    capsys.readouterr()
    assert command(*again) == 2
    assert "was made with layers None, not 2" in capsys.readouterr().err


def test_another_tokenizer_or_a_lost_record_is_no_training(text, tmp_path, capsys):
    shutil.copy(ROOT / "data" / "tiny-mixtral" / "config.json", tmp_path / "config.json")
    (tmp_path / "training.json").write_text("[]")
    assert command("--text", text, "--steps", 2, "--out", tmp_path, "--resume") == 2
    assert "not the record of a training" in capsys.readouterr().err
