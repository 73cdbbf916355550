"""``intervene.json`` and ``intervene.csv`` hold the same results, and the docs know their keys."""

import csv
import json

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from tests.capture.conftest import ROOT
from tests.capture.intervene.harness import columns, command, effects, lines


def test_the_csv_has_the_same_results_and_all_keys_are_documented(done):
    out, _ = done
    record = json.loads((out / "intervene.json").read_text())
    with (out / "intervene.csv").open() as file:
        rows = list(csv.DictReader(file))
    flat = [(one, row) for one in record["effects"] for row in one["next"]]
    assert len(rows) == len(flat)
    for written, (one, row) in zip(rows[::97], flat[::97], strict=True):
        assert (written["do"], int(written["next_layer"])) == (one["do"], one["next_layer"])
        assert int(written["next_state"]) == row["state"]
        assert float(written["difference"]) == row["difference"]
        assert written["p_do_ci95_high"] == ("" if row["p_do_ci95"] is None else str(row["p_do_ci95"][1]))
    page = (ROOT / "docs" / "capture.md").read_text()
    keys = {*record, *record["effects"][0], *record["effects"][-1], *record["effects"][0]["next"][0]}
    assert [key for key in sorted(keys) if f"`{key.removesuffix('_ci95')}`" not in page] == []


def test_one_document_and_a_state_never_chosen_are_reported(tmp_path, capsys):
    file = lines(tmp_path, 1, longest=12)
    absent = set(range(28))
    assert command("--text", file, "--layer", 5, "--do", "natural", "--out", tmp_path / "look") == 0
    absent -= set(columns(tmp_path / "look" / "observed", "L05")["L05"].tolist())
    state = min(absent)
    capsys.readouterr()
    assert command("--text", file, "--layer", 5, "--do", state, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "note: one document: no intervals" in printed
    assert "No token chose it by itself" in printed
    assert "nan" not in printed
    (found,) = effects(tmp_path / "out", str(state))
    assert found["reason"] == "never observed"
    assert found["js_bits"] is None
    row = found["next"][0]
    assert (row["p_observed"], row["difference"], row["p_do_ci95"]) == (None, None, None)
    assert abs(row["difference_from_all"]) == max(abs(r["difference_from_all"]) for r in found["next"])
    record = json.loads((tmp_path / "out" / "intervene.json").read_text())
    assert record["notes"] == [
        "one document: no intervals, because tokens of one document depend on each other"
    ]
