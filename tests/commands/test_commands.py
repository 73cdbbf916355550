"""Every command as a user runs it: good input, bad input, exit codes and messages."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from importlib import import_module
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from routestat import Alphabet, Router, Trace, TraceMeta, TraceWriter
from routestat.__main__ import COMMANDS
from routestat.serving.exports.registry import EXPORTS
from tests.commands.harness import ask, complaint

ROOT = Path(__file__).parents[2]
TINY = ROOT / "data" / "traces" / "tiny-mixtral"
DEEPSEEK = ROOT / "data" / "traces" / "deepseek-v2-lite-esft"


def run(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment},
    )


def invoked(module, *arguments):
    """The command of a module in this process: a refusal needs no interpreter of its own."""
    return ask(import_module(module).app, module.replace(".", " "), *arguments)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A trace of 12 documents, 4 layers, pairs of 8, written by convert; layer 3 mostly repeats layer 2."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((30_000, 4, 8)), axis=2)[..., :2]
    repeats = rng.random(30_000) < 0.8
    experts[repeats, 3] = experts[repeats, 2]
    np.savez(folder / "x.npz", experts=experts, document=np.repeat(np.arange(12), 2500), n_experts=8)
    result = run(
        "routestat.convert", folder / "x.npz", "--out", folder / "t", "--name", "small", "--slots", "weight"
    )
    assert result.returncode == 0, result.stderr
    return folder / "t"


@pytest.fixture(scope="module")
def analysed(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "r"
    result = run("routestat.analyze", small, "--layers", "0-3", "--out", out)
    assert result.returncode == 0, result.stderr
    return out, result


def test_analyze_writes_the_whole_report(analysed):
    out, result = analysed
    record = json.loads((out / "results.json").read_text())
    assert {
        "trace", "states", "layers", "dependence", "chain", "prediction", "paths", "biclusters",
    } <= set(record)  # fmt: skip
    assert record["states"] == "subset"
    assert [layer["layer"] for layer in record["layers"]] == [0, 1, 2, 3]
    by_pair = {(d["source"], d["target"]): d for d in record["dependence"]}
    # A copy with probability .8 + .2/28, else one of 27 others: log2 28 − h(.193) − .193 log2 27 = 3.19 bits.
    assert by_pair[2, 3]["mi_bits_ci95"][0] < 3.19 < by_pair[2, 3]["mi_bits_ci95"][1]
    assert by_pair[2, 3]["log10_p_clustered"] < -3
    assert by_pair[0, 1]["p_clustered"] > 0.001
    assert (out / "index.html").stat().st_size > 5000
    assert str(out / "index.html") in result.stdout.replace("\n", "")
    assert nx.parse_graphml((out / "routes.graphml").read_text()).number_of_nodes() > 4
    for name in ("layers", "dependence", "prediction", "paths", "biclusters", "transition-L00-L01"):
        assert list(csv.DictReader((out / "tables" / f"{name}.csv").open()))


def test_the_cells_of_a_transition_add_up(analysed):
    cells = list(csv.DictReader((analysed[0] / "tables" / "transition-L00-L01.csv").open()))
    assert sum(int(cell["count"]) for cell in cells) == 30_000
    assert sum(float(cell["joint"]) for cell in cells) == pytest.approx(1)
    first = [cell for cell in cells if cell["source"] == "0"]
    assert sum(float(cell["conditional"]) for cell in first) == pytest.approx(1)
    assert first[0]["source_experts"] == "0 1"
    assert sum(int(cell["count"]) for cell in first) == int(first[0]["row_tokens"])


def test_the_same_trace_gives_the_same_report(analysed, small, tmp_path):
    assert run("routestat.analyze", small, "--out", tmp_path / "again").returncode == 0
    assert (tmp_path / "again" / "results.json").read_text() == (analysed[0] / "results.json").read_text()


def test_predict_answers_from_a_report_and_from_a_trace(analysed, small, tmp_path):
    by_state = run(
        "routestat.predict", analysed[0], "--layer", 2, "--after", 12, "--out", tmp_path / "p.json"
    )
    assert by_state.returncode == 0, by_state.stderr
    experts = Alphabet(8, 2).unrank(12).tolist()
    assert f"Layer 2 chose experts {experts[0]}, {experts[1]}" in by_state.stdout
    record = json.loads((tmp_path / "p.json").read_text())
    best = record["predictions"][0]
    assert (record["next_layer"], best["state"], best["experts"]) == (3, 12, experts)
    assert best["interval"][0] < best["probability"] < best["interval"][1]
    assert len(record["predictions"]) == 5
    by_experts = run("routestat.predict", analysed[0], "--layer", 2, "--after", f"{experts[1]},{experts[0]}")
    assert by_experts.stdout == by_state.stdout
    assert run("routestat.predict", small, "--layer", 2, "--after", 12).stdout == by_state.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", 3, "--after", 12], "layer 3 is the chain's last"),
        (["--layer", 9, "--after", 12], "layer 9 is not in this chain"),
        (["--layer", 2, "--after", 28], "layer 2 has states 0 … 27"),
        (["--layer", 2, "--after", "3,3"], "repeats"),
        (["--layer", 2, "--after", "1,2,3"], "rows of 2 experts"),
        (["--layer", 2, "--after", "x"], "a state such as 12"),
        (["--layer", 2, "--after", 1, "--level", 2], "--level is a share"),
        (["--layer", 2], "Missing option"),
    ],
)
def test_predict_refuses_in_one_line(analysed, arguments, message):
    assert message in complaint(invoked("routestat.predict", analysed[0], *arguments))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("40-50", "layers 40-50 not in this trace; it has 0-3"),
        ("5-2", "runs backwards; write 2-5"),
        ("²", "numbers such as 0-31"),
        ("x", "numbers such as 0-31"),
    ],
)
def test_analyze_refuses_layers_that_are_not_there(small, tmp_path, layers, message):
    assert message in complaint(
        invoked("routestat.analyze", small, "--layers", layers, "--out", tmp_path / "r")
    )


def test_analyze_refuses_what_is_no_trace(small, tmp_path):
    assert "no such folder" in complaint(invoked("routestat.analyze", tmp_path / "nowhere"))
    assert "no manifest.json" in complaint(invoked("routestat.analyze", tmp_path))
    assert "did you mean" in complaint(invoked("routestat.analyze", small.parent))
    (tmp_path / "file").write_text("x")
    assert "convert it first" in complaint(invoked("routestat.analyze", tmp_path / "file"))
    assert "Missing argument" in complaint(invoked("routestat.analyze"))
    assert "No such option" in complaint(invoked("routestat.analyze", small, "--layer", "3"))
    assert "alpha" in complaint(
        invoked("routestat.analyze", small, "--alpha", "flat", "--out", tmp_path / "r")
    )
    assert "--out" in complaint(invoked("routestat.analyze", small, "--out", tmp_path / "file"))


def test_analyze_refuses_damage(small, tmp_path):
    def damaged(change):
        shutil.rmtree(tmp_path / "t", ignore_errors=True)
        shutil.copytree(small, tmp_path / "t")
        change(tmp_path / "t")
        return complaint(invoked("routestat.analyze", tmp_path / "t", "--out", tmp_path / "r"))

    def flip(folder):
        content = bytearray((folder / "shard-00000.arrow").read_bytes())
        content[500] ^= 1
        (folder / "shard-00000.arrow").write_bytes(content)

    def truncate(folder):
        content = (folder / "shard-00000.arrow").read_bytes()
        (folder / "shard-00000.arrow").write_bytes(content[:-100])

    def outdate(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 0}))

    assert "shard-00000.arrow: altered" in damaged(flip)
    assert "shard-00000.arrow: truncated" in damaged(truncate)
    assert "store format version 0" in damaged(outdate)
    assert not (tmp_path / "r").exists()


def convert(folder, **arrays):
    np.savez(folder / "x.npz", **arrays)
    result = invoked("routestat.convert", folder / "x.npz", "--out", folder / "t")
    assert result.returncode == 0, result.stderr
    return folder / "t"


@pytest.mark.parametrize(
    ("experts", "document", "said"),
    [
        (np.array([[[0, 1], [2, 3], [4, 5]]]), [0], "one document"),  # one token
        (
            np.tile([[[0, 1], [2, 3]]], (50, 1, 1)),
            np.repeat(np.arange(5), 10),
            "5 independent units: no test or interval below 6",
        ),  # constant
        (
            np.argsort(np.random.default_rng(0).random((40, 3, 8)), 2)[..., :2],
            np.zeros(40, int),
            "one document",
        ),
        (np.full((6, 2, 2), -1), [0, 0, 1, 1, 2, 2], "3 independent units"),  # every choice missing
    ],
)
def test_a_poor_trace_is_no_error_and_what_cannot_be_said_has_a_reason(tmp_path, experts, document, said):
    trace = convert(tmp_path, experts=experts, document=document, n_experts=8)
    result = invoked("routestat.analyze", trace, "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert any(said in note for note in record["trace"]["notes"])

    def check(value):
        if isinstance(value, dict):
            undefined = [
                key for key, item in value.items() if item is None and key not in ("source", "target")
            ]
            missing_bounds = [
                key for key, item in value.items() if key.endswith("ci95") and item == [None, None]
            ]
            assert not (undefined + missing_bounds) or value.get("reason"), value
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)

    for part in ("dependence", "prediction", "biclusters", "chain"):
        check(record[part])


def test_one_layer_alone_is_analysed(small, tmp_path):
    assert invoked("routestat.analyze", small, "--layers", "2", "--out", tmp_path / "r").returncode == 0
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert record["dependence"] == []
    assert len(record["layers"]) == 1


def test_an_empty_store_is_refused(tmp_path):
    trace = convert(tmp_path, experts=np.empty((0, 2, 2), int), n_experts=8)
    assert "holds no tokens" in complaint(invoked("routestat.analyze", trace, "--out", tmp_path / "r"))


def test_wide_models_go_through_the_same_command(tmp_path):
    # The other parts take as long again and are studied on smaller traces.
    only = ("--only", "dependence,prediction,chain")
    result = run("routestat.analyze", DEEPSEEK, "--layers", "all", *only, "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    assert "expert view" in result.stdout
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert record["states"] == "expert"
    assert record["trace"]["layers"] == list(range(1, 27))
    assert all("chi2" not in d and d["log10_p_clustered"] < -5 for d in record["dependence"])
    mean = {p["predictor"]: p for p in record["prediction_mean"]}
    # The board measured independently on this trace (20 % of documents held out, layers 2 to 26):
    # popularity .205, previous token .281, order 1 .493, log-lift naive Bayes .554 of 6 recalled.
    assert mean["popularity"]["recall_at_k"] == pytest.approx(0.205, abs=0.015)
    assert mean["repeat-previous-token"]["recall_at_k"] == pytest.approx(0.281, abs=0.015)
    assert mean["layer-1"]["recall_at_k"] == pytest.approx(0.493, abs=0.02)
    assert mean["layer-1-naive-bayes"]["recall_at_k"] == pytest.approx(0.554, abs=0.02)
    shown = run("routestat.predict", tmp_path / "r", "--layer", 1, "--after", "0,1,2,3,4,5")
    assert shown.returncode == 0, shown.stderr
    assert "among the 6 chosen" in shown.stdout
    assert "the rarest of these was chosen by" in shown.stdout


def test_the_demo_reports_what_was_measured_of_the_tiny_model(demo_report):
    record = json.loads((demo_report / "results.json").read_text())
    bits = [d["mi_bits_plugin"] for d in record["dependence"]]
    assert np.mean(bits) == pytest.approx(0.620, abs=0.001)  # the model's card: mean, smallest, largest
    assert (min(bits), max(bits)) == (pytest.approx(0.386, abs=0.02), pytest.approx(1.098, abs=0.02))
    assert np.mean([layer["entropy_bits"] for layer in record["layers"]]) == pytest.approx(4.72, abs=0.01)
    assert all(d["design_effect"] > 2 for d in record["dependence"])


# The help of every command, as python -m and as the console script show it; one process for all.
SHOW_HELP = """
import contextlib, io, json, runpy, sys

def shown(call, *words):
    sys.argv, out = list(words), io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            call()
        except SystemExit as end:
            return end.code, out.getvalue()

script = sys.argv[1]
print(json.dumps([
    [
        shown(lambda: runpy.run_module("routestat." + name, run_name="__main__"), name, "--help"),
        shown(lambda: runpy.run_path(script, run_name="__main__"), "routestat", name, "--help"),
    ]
    for name in sys.argv[2:]
]))
"""


def test_help_names_every_option_of_the_documentation():
    names = tuple(name for name in COMMANDS if name != "capture")
    result = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, Path(sys.executable).with_name("routestat"), *names],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert result.returncode == 0, result.stderr
    helps = []
    for name, (module, script) in zip(names, json.loads(result.stdout), strict=True):
        assert module[0] == script[0] == 0
        assert module[1] == script[1]
        assert f"python -m routestat.{name}" in " ".join(module[1].split())
        helps.append(module[1])
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    of_capture = {ROOT / "docs" / f"{name}.md" for name in ("capture", "gpu-node", "train")}
    text = "".join(page.read_text() for page in pages if page not in of_capture)
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    # Those of capture are held to its help by its own tests; engines have options of their own.
    known = set(re.findall(r"--[a-z0-9][a-z0-9-]*", (ROOT / "docs" / "capture.md").read_text()))
    known |= {"--help", "--enable-return-routed-experts", "--moe-routing-trace-path"}
    for export in EXPORTS:
        known |= set(re.findall(r"--[a-z][a-z-]*", f"{export.engine} {export.usage}"))
    # Those of sbatch and of dask.
    known |= {
        "--job-name",
        "--array",
        "--cpus-per-task",
        "--mem",
        "--time",
        "--parsable",
        "--dependency",
        "--wrap",
    }
    known |= {"--nthreads"}
    for shown in helps:
        known |= set(re.findall(r"--[a-z][a-z-]*", shown))
    assert len(options) > 25
    assert options <= known, options - known


def test_the_bare_command_lists_the_desks_and_loads_nothing_heavy():
    listing = "import sys, routestat.__main__ as m; print(m.HELP); print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True).stdout
    assert all(name in shown for name in ("analyze", "predict", "compare", "count", "merge", "capture"))
    for heavy in ("numba", "scipy", "matplotlib", "pymc", "arviz", "dask", "torch", "pandas"):
        assert f"'{heavy}'" not in shown
    assert run("routestat").returncode == 0
    unknown = run("routestat", "analyse")
    assert (unknown.returncode, unknown.stderr) == (
        2,
        "error: no command 'analyse'; there are analyze, predict, compare, simulate, place, draw, convert, count, "
        "merge, prepare, capture\n",
    )


def test_interrupting_says_so_and_exits_130(small, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "routestat.analyze", str(TINY), "--out", str(tmp_path / "r")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    deadline = time.time() + 60
    while not (tmp_path / "r").exists() and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(2)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "error: interrupted" in stderr
    assert "Traceback" not in stderr


def test_convert_refuses_in_one_line_and_keeps_an_existing_trace(small, tmp_path):
    before = (small / "manifest.json").read_bytes()
    source = small.parent / "x.npz"
    assert "already holds a trace" in complaint(invoked("routestat.convert", source, "--out", small))
    assert (small / "manifest.json").read_bytes() == before
    assert "no such file" in complaint(
        invoked("routestat.convert", tmp_path / "no.npz", "--out", tmp_path / "t")
    )
    assert "--slots is weight or unknown" in complaint(
        run("routestat.convert", source, "--out", tmp_path / "t", "--slots", "heavy")
    )
    np.savez(tmp_path / "bad.npz", experts=[[[0, 1]], [[4, 4]]], n_experts=8)
    line = complaint(invoked("routestat.convert", tmp_path / "bad.npz", "--out", tmp_path / "t"))
    assert "experts of layer 0, row 1: [4, 4] repeats an expert" in line
    assert not list(tmp_path.glob("t*"))


def test_a_trace_goes_to_parquet_and_back_by_the_command(small, tmp_path):
    there = invoked("routestat.convert", small, "--out", tmp_path / "x.parquet")
    assert (there.returncode, "30,000 tokens of 12 documents" in there.stdout) == (0, True), there.stderr
    back = invoked("routestat.convert", tmp_path / "x.parquet", "--out", tmp_path / "t", "--licence", "MIT")
    assert back.returncode == 0, back.stderr
    trace = Trace.open(tmp_path / "t")
    assert (trace.meta.name, trace.meta.licence, trace.n_tokens) == ("small", "MIT", 30_000)
    first, again = next(Trace.open(small).batches()), next(trace.batches())
    assert all(np.array_equal(first.columns[name], again.columns[name]) for name in first.columns)
    assert "exists already" in complaint(invoked("routestat.convert", small, "--out", tmp_path / "x.parquet"))
    assert "is a folder" in complaint(invoked("routestat.convert", small, "--out", tmp_path / "u"))


def test_convert_keeps_the_heaviest_expert_where_slots_are_by_weight(small):
    batch = next(Trace.open(small).batches())
    experts = np.load(small.parent / "x.npz")["experts"]
    assert np.array_equal(batch.columns["L02.top1"], experts[:, 2, 0])
    assert Trace.open(small).meta.slot_order == "weight"


def test_numbers_far_apart_still_make_groups_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((200, 3, 8)), axis=2)[..., :2]
    trace = convert(tmp_path, experts=experts, document=np.repeat(np.arange(20) * 256, 10), n_experts=8)
    opened = Trace.open(trace)
    assert opened.documents.column("document").to_pylist() == list(range(20))
    assert opened.documents.column("source_document").to_pylist() == [256 * i for i in range(20)]
    result = invoked("routestat.analyze", trace, "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert record["trace"]["n_groups"] == 20
    assert not any("one document" in note for note in record["trace"]["notes"])


def test_convert_touches_nothing_that_is_not_its_own(tmp_path):
    (tmp_path / "t.partial").mkdir()
    (tmp_path / "t.partial" / "thesis.txt").write_text("mine")
    trace = convert(tmp_path, experts=np.array([[[0, 1]], [[2, 3]]]), document=[0, 1], n_experts=8)
    assert (tmp_path / "t.partial" / "thesis.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".t-*"))
    (tmp_path / "x.documents.parquet").write_text("mine")
    assert "exists already" in complaint(invoked("routestat.convert", trace, "--out", tmp_path / "x.parquet"))
    assert (tmp_path / "x.documents.parquet").read_text() == "mine"
    assert "holds a trace" in complaint(invoked("routestat.analyze", trace, "--out", trace))


def test_a_marker_for_missing_is_not_taken_for_an_expert(tmp_path):
    np.savez(tmp_path / "x.npz", experts=[[[0, 2147483647]]])
    line = complaint(invoked("routestat.convert", tmp_path / "x.npz", "--out", tmp_path / "t"))
    assert "an id of 2147483647: no router has so many experts" in line


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("experts", "hello")
    assert "x.npz" in complaint(invoked("routestat.convert", tmp_path / "x.npz", "--out", tmp_path / "t"))


@pytest.mark.parametrize("alpha", ["1e-320", "1e308", "0", "-1", "nan"])
def test_a_prior_beyond_what_numbers_hold_is_refused(small, tmp_path, alpha):
    assert "alpha" in complaint(
        invoked("routestat.analyze", small, f"--alpha={alpha}", "--out", tmp_path / "r")
    )


def test_predict_does_not_take_a_prior_for_a_fitted_chain(analysed):
    line = complaint(invoked("routestat.predict", analysed[0], "--layer", 2, "--after", 12, "--alpha", 3))
    assert "--alpha goes with a trace" in line


def test_a_terminal_that_shows_only_ascii_costs_nothing(small, tmp_path):
    words = ("--layers", "0-1", "--only", "dependence,prediction", "--out", tmp_path / "r")
    result = run("routestat.analyze", small, *words, PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert run("routestat", "--help", PYTHONIOENCODING="ascii").returncode == 0


def test_two_routers_of_one_layer_are_two_routers(tmp_path):
    routers = (Router(0, 6, 2, "L00a"), Router(0, 6, 2, "L00b"), Router(1, 6, 2))
    rng = np.random.default_rng(0)
    with TraceWriter(tmp_path / "t", TraceMeta(routers, name="two")) as writer:
        writer.write(np.repeat(np.arange(5), 40), states=rng.integers(0, 15, (200, 3)).astype(np.uint8))
    result = invoked("routestat.analyze", tmp_path / "t", "--out", tmp_path / "r")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "r" / "results.json").read_text())
    assert [layer["router"] for layer in record["layers"]] == ["L00a", "L00b", "L01"]
    assert len(record["dependence"]) == 2
    graph = nx.parse_graphml((tmp_path / "r" / "routes.graphml").read_text())
    assert {name.split(":")[0] for name in graph} == {"L00a", "L00b", "L01"}
    line = complaint(invoked("routestat.predict", tmp_path / "r", "--layer", 0, "--after", 3))
    assert "layer 0 has several routers" in line
