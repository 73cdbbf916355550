"""Held-out documents, and tokenizers that are damaged."""

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.train import data
from tests.capture.train.harness import command, damaged


def test_held_out_documents_are_whole_and_few():
    sizes = [1000] * 40
    kept, held = data.split_documents(sizes, 0)
    assert sorted(kept + held) == list(range(40))
    assert len(held) == 2
    # One document that is most of the text is never held out; where none is small enough, the smallest is.
    assert 0 not in data.split_documents([100_000, *[300] * 60], 1)[1]
    assert data.split_documents([500, 400], 0) == ([0], [1])


def test_a_damaged_tokenizer_gets_one_line_and_is_made_again(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    file = tmp_path / "t" / "tokenizer.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:99])
    capsys.readouterr()
    assert command(*again) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "tokenizer.json: not a tokenizer" in error[0]
    file.unlink()
    assert command(*again) == 0
    assert file.read_bytes() == whole
