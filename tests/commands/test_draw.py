"""draw as a user runs it: tokens of a fitted chain as a trace that counts, compares and says what it is."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from routestat import Router, Trace, TraceMeta, TraceWriter, fit_chain
from routestat.cli.open_run import open_run
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.draw import app
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.markov.sampling import draw_states
from routestat.study.chain import second_orders
from routestat.study.chain_file import save_chain
from routestat.traces.synthetic import chain as markov
from routestat.traces.synthetic import second_order, write
from tests.commands.harness import ask, complaint

ROOT = Path(__file__).parents[2]


def as_process(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )


def run(*arguments):
    """The command in this process."""
    return ask(app, "routestat draw", *arguments)


def drawn(out, *arguments):
    result = run(*arguments, "--out", out)
    assert (result.returncode, result.stderr) == (0, "")
    return Trace.open(out)


def states_of(trace):
    batches = list(trace.batches())
    return np.stack(
        [np.concatenate([b.columns[r.name] for b in batches]) for r in trace.meta.routers], axis=1
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    rng = np.random.default_rng(0)
    shape = {"n_experts": 4, "top_k": 2, "layers": [2, 3, 5], "documents": np.arange(40, 160)}
    return write(markov(coupling=0.7, rng=rng, **shape), tmp_path_factory.mktemp("traces") / "t", "mine")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The saved chain of layers that follow from the two before, of orders 1 and 2, with what analyze reports of it."""
    folder = tmp_path_factory.mktemp("reports") / "r"
    shape = {"n_experts": 4, "top_k": 2, "layers": 3, "documents": 100}
    trace = Trace.open(write(second_order(noise=0.3, rng=np.random.default_rng(1), **shape), folder / "t"))
    counts = count(trace)
    second = second_orders(trace, counts, "empirical-bayes", [False, True])
    save_chain(fit_chain(counts, alpha="empirical-bayes", second=second, orders=(1, 2)), folder / "chain.npz")
    said = {"name": "mine", "model": "my-moe", "dataset": "stories", "licence": "CC0-1.0"}
    record = {"trace": said | {"routers": ["L00", "mid", "L02"]}}
    (folder / "results.json").write_text(json.dumps(record))
    return folder


def test_the_trace_says_what_it_is(report, tmp_path):
    trace = drawn(tmp_path / "d", report, "--documents", 7, "--length", 30, "--seed", 4)
    assert (trace.n_tokens, trace.complete) == (210, True)
    assert trace.documents.column("document").to_pylist() == list(range(7))
    meta = trace.meta
    assert (meta.name, meta.model, meta.licence) == ("d", "my-moe", "CC0-1.0")
    assert meta.source == "drawn from the chain fitted to mine"
    assert meta.dataset == "no texts: tokens drawn from the chain fitted to mine"
    assert meta.engine == "routestat draw"
    assert [router.name for router in meta.routers] == ["L00", "mid", "L02"]
    assert meta.extra["drawn"] == {
        "parameters": "drawn", "seed": 4, "orders": [1, 2], "of_dataset": "stories",
    }  # fmt: skip
    (batch,) = trace.batches()
    assert np.array_equal(batch.position, np.tile(np.arange(30), 7))


def test_without_results_beside_the_chain_names_stay_empty(report, tmp_path):
    for content in (None, "", "{}", '{"trace": 3}', '{"trace": {"name": 1}}'):
        folder = tmp_path / f"r{hash(content)}"
        folder.mkdir()
        (folder / "chain.npz").write_bytes((report / "chain.npz").read_bytes())
        if content is not None:
            (folder / "results.json").write_text(content)
        meta = drawn(folder / "d", folder, "--documents", 1, "--length", 2).meta
        assert (meta.model, meta.licence) == ("", "")
        assert meta.source == f"drawn from the chain fitted to {folder.name}"
        assert [router.name for router in meta.routers] == ["L00", "L01", "L02"]


def test_the_default_is_a_hundred_documents_of_two_hundred_tokens(report, tmp_path):
    result = run(report, "--out", tmp_path / "d")
    assert result.stdout == f"{tmp_path / 'd'}: 20,000 tokens of 100 documents\n"


def test_it_is_the_seed_that_decides(report, tmp_path):
    one, again, other = (
        states_of(drawn(tmp_path / name, report, "--documents", 5, "--seed", seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    wanted = draw_states(open_run(report, "", print).chain, 1000, np.random.default_rng(1))
    assert np.array_equal(one, wanted)


def test_what_is_written_in_parts_is_one_trace(report, tmp_path, monkeypatch):
    whole = drawn(tmp_path / "a", report, "--documents", 5, "--length", 30)
    monkeypatch.setattr("routestat.draw.SHARD_ROWS", 47)
    parts = drawn(tmp_path / "b", report, "--documents", 5, "--length", 30)
    assert np.array_equal(states_of(whole), states_of(parts))
    (batch,) = parts.batches()
    assert np.array_equal(batch.position, np.tile(np.arange(30), 5))


def test_like_takes_the_number_and_lengths_of_documents(original, report, tmp_path):
    trace = drawn(tmp_path / "d", report, "--like", original)
    document = np.concatenate([batch.document for batch in trace.batches()])
    assert np.bincount(document).tolist() == list(range(40, 160))
    assert [router.layer for router in trace.meta.routers] == [0, 1, 2]  # the chain's, not those of the trace


def test_counting_the_drawn_trace_gives_the_chain_s_laws_back(report, tmp_path):
    chain = open_run(report, "", print).chain
    trace = drawn(tmp_path / "d", report, "--documents", 60, "--length", 1000, "--parameters", "mean")
    counts = count(trace, contexts=[Context(), Context.layer(1), Context.layer(2, 1)])
    routers = counts.routers

    def p_value(table, probabilities):
        table, probabilities = table.reshape(-1, 6), probabilities.reshape(-1, 6)
        expected = table.sum(axis=1, keepdims=True) * probabilities
        chi2 = ((table - expected) ** 2 / np.maximum(expected, 1e-300))[expected > 0].sum()
        return stats.chi2.sf(chi2, np.count_nonzero(table.sum(axis=1)) * 5)

    first, one = (
        counts.table(c, r).sum(axis=0) for c, r in ((Context(), routers[0]), (Context.layer(1), routers[1]))
    )
    assert p_value(first, chain.initial) > 1e-3
    assert p_value(one, chain.transitions[0]) > 1e-3
    cube, step = counts.table(Context.layer(2, 1), routers[2]).sum(axis=0), chain.second[1]
    assert p_value(cube, step.distributions(step.dense())) > 1e-3
    # By order 1 alone the last layer would be independent of the one before.
    assert p_value(cube, np.broadcast_to(chain.transitions[1], cube.shape)) < 1e-100


def test_a_chain_of_a_trace_is_fitted_for_it(original, tmp_path):
    trace = drawn(tmp_path / "d", original, "--documents", 3)
    assert trace.meta.source == "drawn from the chain fitted to mine"
    assert trace.n_tokens == 600
    assert "alpha" in complaint(run(original, "--out", tmp_path / "e", "--alpha", 0))
    assert not (tmp_path / "e").exists()


def test_compare_cannot_distinguish_the_drawn_from_the_original(original, tmp_path):
    result = as_process("routestat.draw", original, "--like", original, "--out", tmp_path / "d")
    assert (result.returncode, result.stderr) == (0, "")
    result = as_process("routestat.compare", original, tmp_path / "d", "--out", tmp_path / "c")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "c" / "results.json").read_text())
    assert len(record["layers"]) == 3
    assert len(record["transitions"]) == 2
    assert min(one["p_clustered"] for one in record["layers"] + record["transitions"]) > 0.01


def test_several_routers_of_one_layer_keep_names_apart(tmp_path):
    chain = fit_chain(
        [3, 3], [np.eye(2, dtype=int)] * 2, 0.5, layers=[0, 0, 1], n_experts=[2] * 3, top_k=[1] * 3
    )
    save_chain(chain, tmp_path / "chain.npz")
    trace = drawn(tmp_path / "d", tmp_path, "--documents", 2, "--length", 3)
    assert [router.name for router in trace.meta.routers] == ["L00-0", "L00-1", "L01"]


def experts(folder, factorised=True):
    rng = np.random.default_rng(1)
    chain = fit_chain(
        [30] * 5, [np.full((5, 5), 6)], 0.5, layers=[1, 2], n_experts=[5, 5], top_k=[2, 2], states="expert"
    )
    widths = {(0, 0): 0, (1, 0): 0, (1, 1): 5}
    more = FactorisedChain(
        (1, 2),
        (5, 5),
        (2, 2),
        {key: rng.normal(size=(3, 5)) for key in widths},
        {key: rng.normal(size=(3, features, 5)) for key, features in widths.items()},
        np.array([20, 30]),
    )
    save_chain(chain, folder / "chain.npz", more if factorised else None)
    return more


def test_experts_are_drawn_from_the_factorised_chain(tmp_path):
    more = experts(tmp_path)
    trace = drawn(tmp_path / "d", tmp_path, "--documents", 4, "--length", 50, "--seed", 2)
    sets = more.sample([50] * 4, np.random.default_rng(2))
    router = Router(1, 5, 2)
    assert np.array_equal(states_of(trace), router.alphabet.rank(sets))
    assert trace.meta.extra["drawn"]["parameters"] == "mean"
    line = complaint(run(tmp_path, "--out", tmp_path / "e", "--parameters", "drawn"))
    assert "the factorised chain has no posterior" in line


def test_what_cannot_be_drawn_is_one_line(original, report, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("x")
    for arguments, message in [
        ((report, "--out", tmp_path / "full"), "is there already and not empty"),
        ((report, "--out", tmp_path / "file"), "is there already"),
        ((report, "--out", original), "is there already"),
        ((report,), "Missing option"),
        ((report, "--out", tmp_path / "d", "--parameters", "both"), "--parameters is drawn or mean"),
        ((report, "--out", tmp_path / "d", "--documents", 0), "--documents"),
        ((report, "--out", tmp_path / "d", "--like", original, "--length", 3), "--like says how many"),
        ((report, "--out", tmp_path / "d", "--like", tmp_path / "none"), "no such folder"),
        ((report, "--out", tmp_path / "d", "--length", 2**31), "tokens: expected 1 to"),
        ((report, "--out", tmp_path / "d", "--alpha", 1), "--alpha goes with a trace"),
        ((tmp_path / "none", "--out", tmp_path / "d"), "no such folder"),
        ((tmp_path, "--out", tmp_path / "d"), "neither a report"),
    ]:
        assert message in complaint(run(*arguments))
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "d").exists()
    experts(tmp_path, factorised=False)
    assert "drawn from the factorised chain" in complaint(run(tmp_path, "--out", tmp_path / "d"))
    chain = open_run(report, "", print).chain
    empty = replace(chain, counts=(chain.counts[0], np.zeros_like(chain.counts[1])), orders=(1, 1))
    save_chain(empty, tmp_path / "chain.npz")
    assert "the step has no data" in complaint(run(tmp_path, "--out", tmp_path / "d"))
    there = as_process("routestat.draw", report, "--out", tmp_path / "full")
    assert "is there already" in complaint(there)


def test_an_empty_trace_to_be_like_is_one_line(report, tmp_path):
    with TraceWriter(tmp_path / "none", TraceMeta((Router(0, 4, 2),), name="none")):
        pass
    assert "0 tokens" in complaint(run(report, "--out", tmp_path / "d", "--like", tmp_path / "none"))
