"""count and merge: parts on any number of machines, and what analyze makes of them."""

import json
import runpy
import subprocess
import sys

import fsspec
import pytest

import routestat
from routestat import Counts, Trace
from routestat.analyze import app as analyze_app
from routestat.compare import app as compare_app
from routestat.merge import app as merge_app
from tests.commands.harness import ask, complaint
from tests.counting.stored_traces import same_counts, write_store

#: Run, never imported: routestat.count is a function.
count_app = runpy.run_module("routestat.count", run_name="command")["app"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("count") / "t")


@pytest.fixture(scope="module")
def parts(store):
    files = [store.parent / f"part-{number}.counts" for number in range(1, 5)]
    for number, file in enumerate(files, start=1):
        assert count(store, "--part", f"{number}/4", "--out", file).returncode == 0
    return files


def count(*arguments):
    return ask(count_app, "routestat count", *arguments)


def merge(*arguments):
    return ask(merge_app, "routestat merge", *arguments)


def test_parts_merge_to_the_counts_of_the_whole(store, parts, tmp_path):
    found = merge(*parts, "--out", tmp_path / "new" / "all.counts")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("4 files: ")
    whole = count(store, "--out", tmp_path / "whole.counts")
    assert whole.stdout.startswith(f"{Trace.open(store).n_counted} tokens of 12 documents counted: ")
    here = routestat.count(Trace.open(store))
    for file in ("whole.counts", "new/all.counts"):
        counts = Counts.load(tmp_path / file)
        assert same_counts(here, counts)
        assert counts.origins[0].is_complete


def test_options_of_what_is_counted(store, tmp_path):
    words = (
        "--layers",
        "0,2",
        "--contexts",
        "layer-1, token-2,layer-1:token-1",
        "--groups",
        4,
        "--states",
        "subset",
    )
    assert count(store, *words, "--out", tmp_path / "a.counts").returncode == 0
    counts = Counts.load(tmp_path / "a.counts")
    assert [context.name for context in counts.contexts] == ["layer-1", "token-2", "layer-1 token-1"]
    assert (counts.groups, [router.layer for router in counts.routers]) == (4, [0, 2])
    count(store, "--contexts", "layer-2+layer-1", "--out", tmp_path / "b.counts")
    assert [context.name for context in Counts.load(tmp_path / "b.counts").contexts] == ["layer-2,layer-1"]


def test_what_is_missing_or_given_twice(parts, tmp_path):
    out = ("--out", tmp_path / "all.counts")
    assert "parts 2, 4 of 4 of the trace missing" in complaint(merge(parts[0], parts[2], *out))
    assert "part 1/4 of uneven is given twice" in complaint(merge(*parts, parts[0], *out))
    assert not (tmp_path / "all.counts").exists()
    found = merge(parts[0], parts[2], "--allow-missing", *out)
    assert found.returncode == 0
    assert found.stderr == f"warning: parts 2, 4 of 4 missing: {tmp_path / 'all.counts'} holds the rest\n"
    assert Counts.load(tmp_path / "all.counts").note == "counted without parts 2, 4 of 4 of the trace"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--part", "5/4"], "--part is K/N with K from 1 to N, such as 3/16, got '5/4'"),
        (["--contexts", "layer"], "a context is nothing, layer-N, token-N"),
        (["--contexts", "layer-0"], "looks back by 1 or more"),
        (["--layers", "7"], "layer 7 not in this trace"),
        (["--part", "1/4", "--workers", "2"], "--part counts one part here"),
        (["--workers", "2", "--scheduler", "tcp://h:1"], "give one of them"),
        (["--states", "pairs"], "states must be auto, subset or expert"),
        (["--cluster", "page"], "the documents have no such column"),
    ],
)
def test_bad_options_are_one_line(store, tmp_path, words, said):
    assert said in complaint(count(store, "--out", tmp_path / "a.counts", *words))
    assert not (tmp_path / "a.counts").exists()


def test_bad_files_are_one_line(store, parts, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a folder; name a file" in complaint(count(store, "--out", tmp_path))
    assert "is a file; name a folder" in complaint(count(store, "--out", tmp_path / "file" / "a.counts"))
    assert "this machine's folders only" in complaint(count(store, "--out", "s3://bucket/a.counts"))
    assert "no such folder" in complaint(count(tmp_path / "none", "--out", tmp_path / "a.counts"))
    assert "no such file" in complaint(merge(tmp_path / "none.counts", "--out", tmp_path / "a.counts"))
    assert "no file of counts" in complaint(merge(tmp_path / "file", "--out", tmp_path / "a.counts"))
    other = write_store(tmp_path / "o", seed=1, name="other")
    count(other, "--part", "2/4", "--out", tmp_path / "other.counts")
    said = complaint(merge(parts[0], tmp_path / "other.counts", "--out", tmp_path / "a.counts"))
    assert said.startswith(
        f"error: {tmp_path / 'other.counts'}: expected counts as in {parts[0]}, of trace uneven ("
    )


def report(folder, *arguments):
    found = ask(analyze_app, "routestat analyze", *arguments, "--only", "dependence,paths", "--out", folder)
    assert found.returncode == 0, found.stderr
    return json.loads((folder / "results.json").read_text())


def test_analyze_takes_counts_from_a_file_and_traces_from_a_url(store, parts, tmp_path):
    all_of_them = tmp_path / "all.counts"
    merge(*parts, "--out", all_of_them)
    expected = report(tmp_path / "here", store)
    assert report(tmp_path / "counts", store, "--counts", all_of_them) == expected
    system = fsspec.filesystem("memory")
    system.put(f"{store}/", "/count/t/", recursive=True)
    of_url = report(tmp_path / "memory", "memory://count/t", "--counts", all_of_them)
    # Only where the trace lies differs.
    assert (of_url["trace"].pop("folder"), expected["trace"].pop("folder")) == (
        "memory://count/t",
        str(store.resolve()),
    )
    assert of_url == expected
    assert count("memory://count/t", "--part", "2/4", "--out", tmp_path / "two.counts").returncode == 0
    assert same_counts(Counts.load(tmp_path / "two.counts"), Counts.load(parts[1]))
    words = ("memory://count/t", f"file://{store}", "--out", tmp_path / "both")
    assert ask(compare_app, "routestat compare", *words).returncode == 0
    system.rm("/count", recursive=True)
    assert complaint(ask(analyze_app, "routestat analyze", "memory://count/t")).endswith("no such folder")


def test_analyze_refuses_counts_of_something_else(store, parts, tmp_path):
    def refusal(*words):
        return complaint(ask(analyze_app, "routestat analyze", *words, "--out", tmp_path / "r"))

    assert "of the whole trace, parts 2-4 of 4 missing" in refusal(store, "--counts", parts[0])
    count(store, "--layers", "0,2", "--out", tmp_path / "two.counts")
    assert "of layers 0, 2, 4, got 0, 2" in refusal(store, "--counts", tmp_path / "two.counts")
    count(store, "--contexts", "nothing,layer-1", "--out", tmp_path / "few.counts")
    assert "with context token-1; count again" in refusal(store, "--counts", tmp_path / "few.counts")
    count(store, "--template", "keep", "--out", tmp_path / "kept.counts")
    assert "with --template once, got keep" in refusal(store, "--counts", tmp_path / "kept.counts")
    other = write_store(tmp_path / "o", seed=1, name="other")
    count(store, "--out", tmp_path / "all.counts")
    assert "of trace other (" in refusal(other, "--counts", tmp_path / "all.counts")


def test_workers_of_this_machine(store, tmp_path):
    found = count(store, "--workers", 2, "--out", tmp_path / "a.counts")
    assert found.returncode == 0, found.stderr
    # Where workers start slowly, stderr holds lines of progress.
    assert all(" % done, " in line for line in found.stderr.splitlines())
    assert same_counts(routestat.count(Trace.open(store)), Counts.load(tmp_path / "a.counts"))


def test_no_scheduler_and_no_dask(store, tmp_path, monkeypatch):
    words = (store, "--scheduler", "no-port", "--out", tmp_path / "a.counts")
    assert "--scheduler no-port: no Dask scheduler answers" in complaint(count(*words))
    monkeypatch.delitem(sys.modules, "routestat.counting.cluster")
    monkeypatch.delattr("routestat.counting.cluster")
    monkeypatch.setitem(sys.modules, "dask", None)
    assert complaint(count(*words)) == (
        "error: expected dask and distributed for --workers and --scheduler, got no module dask; "
        "pip install 'routestat[distributed]'"
    )


def test_the_function_count_stays_a_function(store, tmp_path):
    script = (
        "import sys, routestat, routestat.__main__ as umbrella\n"
        "sys.argv = ['routestat', 'count', *sys.argv[1:]]\n"
        "try: umbrella.main()\n"
        "except SystemExit as end: print(end.code)\n"
        "trace = routestat.Trace.open(sys.argv[1])\n"
        "print(callable(routestat.count), routestat.count(trace).n_documents)\n"
        "from routestat import count; print(count is routestat.count)\n"
        "try: import routestat.count\n"
        "except ImportError as error: print(error)\n"
        "print(callable(routestat.count))\n"
    )
    words = [sys.executable, "-c", script, str(store), "--out", str(tmp_path / "a.counts")]
    found = subprocess.run(words, capture_output=True, text=True)
    assert found.stdout.splitlines()[1:] == [
        "0",
        "True 12",
        "True",
        "routestat.count is a function and, as python -m routestat.count, a command; no module to import",
        "True",
    ], found.stderr
