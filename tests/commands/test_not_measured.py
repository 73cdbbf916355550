"""Rows that are no measurements, from file to report: noted by default, and without them the control's answers."""

import json

import numpy as np
import pytest

from routestat import Trace
from routestat.analyze import app as analyze_app
from routestat.compare import app as compare_app
from routestat.convert import app as convert_app
from routestat.traces.dummy_rows.findings import findings_of
from tests.commands.harness import ask, complaint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clean trace, and the same behind a warm-up and with a layer of zeros."""
    where = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(12)
    expert = rng.integers(6, size=(600, 1, 1))
    experts = np.where(rng.random((600, 2, 1)) < 0.3, rng.integers(6, size=(600, 2, 1)), expert)
    document = np.arange(600) // 30
    np.savez(where / "clean.npz", experts=experts, document=document, n_experts=6, layers=[1, 2])
    warm = np.broadcast_to(np.array([[4], [1]]), (300, 2, 1))
    spoilt = np.concatenate([np.zeros((900, 1, 1), int), np.concatenate([warm, experts])], axis=1)
    number = np.concatenate([np.zeros(300, int), document + 1])
    np.savez(where / "spoilt.npz", experts=spoilt, document=number, n_experts=6)
    for name, options in (("clean", ()), ("spoilt", ()), ("dropped", ("--drop-dummy-rows",))):
        source = where / f"{'clean' if name == 'clean' else 'spoilt'}.npz"
        converted = ask(convert_app, "routestat convert", source, "--out", where / name, *options)
        assert converted.returncode == 0, converted.stderr
    return where


def analysed(folder, name, *options):
    out = folder / ("-".join(("r", name, *options)))
    said = ask(analyze_app, "routestat analyze", folder / name, "--out", out, *options)
    assert said.returncode == 0, said.stderr
    return json.loads((out / "results.json").read_text()), said.stdout, (out / "index.html").read_text()


def test_what_is_found_is_said_wherever_the_trace_is(folder):
    record, terminal, page = analysed(folder, "spoilt")
    assert [(one["kind"], one["place"], one["n_rows"]) for one in record["trace"]["not_measured"]] == [
        ("warm-up", "start", 300),
        ("layer", "", 0),
    ]
    first, layer = record["trace"]["not_measured"]
    assert (first["n_documents"], first["document"], first["position"], first["dropped"]) == (1, 0, 0, False)
    assert layer["layers"] == [0]
    note = "300 rows at the starts of 1 of 21 documents (first: document 0, position 0) repeat one choice in every"
    assert sum(note in said for said in record["trace"]["notes"]) == 1
    assert "leave it out with --layers 1-2" in " ".join(record["trace"]["notes"])
    assert " ".join(terminal.split()).count("300 rows at the starts of 1 of 21 documents") == 1
    assert "300 rows at the starts of 1 of 21 documents" in page
    # A layer that was not requested does not matter.
    trace = Trace.open(folder / "spoilt", verify=False)
    assert [one.kind for one in findings_of(trace, layers=[1, 2])] == ["warm-up"]


def test_without_it_the_answers_are_the_control_s(folder):
    clean, _, _ = analysed(folder, "clean")
    assert clean["trace"]["not_measured"] == []
    found, terminal, _ = analysed(folder, "spoilt", "--drop-dummy-rows")
    assert [one["dropped"] for one in found["trace"]["not_measured"]] == [True, True]
    assert "left out" in terminal
    assert found["trace"]["n_tokens"] == 600
    assert found["trace"]["n_documents"] == clean["trace"]["n_documents"] == 20
    for part in ("layers", "dependence", "memory"):
        assert found[part] == clean[part]
    # Dropped as the file was read, nothing distinguishes the trace from the control.
    one, other = (Trace.open(folder / name) for name in ("dropped", "clean"))
    assert findings_of(one) == ()
    assert one.documents.num_rows == other.documents.num_rows
    rows = [
        [batch.columns[name] for batch in trace.batches()]
        for trace in (one, other)
        for name in ("L01", "L02")
    ]
    assert np.array_equal(rows[:2], rows[2:])


def test_compare_says_it_of_each_side_and_leaves_it_out(folder):
    out = folder / "c"
    said = ask(compare_app, "routestat compare", folder / "clean", folder / "spoilt", "--out", out)
    assert said.returncode == 0, said.stderr
    record = json.loads((out / "results.json").read_text())
    assert record["a"]["not_measured"] == []
    assert [one["kind"] for one in record["b"]["not_measured"]] == ["warm-up"]
    assert any(note.startswith("B: 300 rows at the starts") for note in record["notes"])
    said = ask(
        compare_app,
        "routestat compare",
        folder / "clean",
        folder / "spoilt",
        "--out",
        out,
        "--drop-dummy-rows",
    )
    assert said.returncode == 0, said.stderr
    record = json.loads((out / "results.json").read_text())
    assert record["b"]["n_tokens"] == 600
    assert all(abs(layer["jsd_bits_plugin"]) < 1e-12 for layer in record["layers"])


def test_a_constant_trace_is_no_traceback(folder):
    np.savez(folder / "same.npz", experts=np.full((300, 2, 1), 3), document=np.arange(300) // 30, n_experts=6)
    assert (
        ask(convert_app, "routestat convert", folder / "same.npz", "--out", folder / "same").returncode == 0
    )
    said = ask(
        analyze_app, "routestat analyze", folder / "same", "--out", folder / "r-same", "--drop-dummy-rows"
    )
    assert said.returncode == 0 or complaint(said)
