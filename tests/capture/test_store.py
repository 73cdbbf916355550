"""The record beside a trace: other options and damaged records are refused."""

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from tests.capture.harness import command


def test_resuming_with_other_options_is_refused(tmp_path, texts, capsys):
    assert command(*texts, "--out", tmp_path / "t") == 0
    capsys.readouterr()
    assert command(*texts, "--out", tmp_path / "t", "--resume", "--max-length", 3) == 2
    assert "was made with max_length 0, not 3" in capsys.readouterr().err
    assert command(*texts, "--out", tmp_path / "t", "--resume") == 0


@pytest.mark.parametrize("record", ["{", "{}", '{"options": 3, "run": {}}'])
def test_a_damaged_record_gets_one_line(tmp_path, texts, capsys, record):
    assert command(*texts, "--out", tmp_path / "t") == 0
    (tmp_path / "t" / "capture.json").write_text(record)
    capsys.readouterr()
    assert command(*texts, "--out", tmp_path / "t", "--resume") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "capture.json: damaged" in error[0]
