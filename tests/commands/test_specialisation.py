"""`analyze --tokenizer`: classes in the report of a trace, and errors of one line before anything is computed."""

import json
from pathlib import Path

import pytest

from routestat.analyze import app
from routestat.traces import synthetic
from tests.commands.harness import ask, complaint
from tests.structure.label_cases import planted


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    made, _, _ = planted(1, lexical=6.0, documents=40, mean_length=60)
    return synthetic.write(made, tmp_path_factory.mktemp("trace") / "planted")


def tokenizer(folder: Path, n_ids: int) -> Path:
    vocabulary = {f"{'Ġ' if one % 5 == 1 else ''}{'a' if one % 5 < 2 else one}": one for one in range(n_ids)}
    vocabulary = {f"{piece}{'x' * one if one % 5 < 2 else ''}": one for piece, one in vocabulary.items()}
    file = folder / "tokenizer.json"
    content = {"model": {"type": "BPE", "vocab": vocabulary}, "decoder": {"type": "ByteLevel"}}
    file.write_text(json.dumps(content))
    return file


def test_classes_are_in_the_report(trace, tmp_path):
    tokenizer(tmp_path, 60)
    said = ask(
        app,
        "routestat analyze",
        trace,
        "--only",
        "specialisation",
        "--tokenizer",
        tmp_path,
        "--out",
        tmp_path / "r",
    )
    assert said.returncode == 0, said.stderr
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert record["parts"] == ["specialisation"]
    assert record["specialisation_summary"]["kind"] == "class"
    assert {"digits", "Latin word part"} <= set(record["specialisation_summary"]["values"])


def test_a_tokenizer_that_does_not_fit_is_one_line(trace, tmp_path):
    tokenizer(tmp_path, 7)
    line = complaint(ask(app, "routestat analyze", trace, "--tokenizer", tmp_path, "--out", tmp_path / "r"))
    assert "one of 7 ids, but the trace has id" in line
    assert not (tmp_path / "r" / "results.json").exists()
    line = complaint(
        ask(app, "routestat analyze", trace, "--tokenizer", tmp_path / "none", "--out", tmp_path / "r")
    )
    assert "got nothing there" in line
