"""predict as a user runs it: histories, orders, layers ahead, streams; good and bad input, codes and messages."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import routestat
from routestat import Router, TraceMeta, TraceWriter, fit_chain
from routestat.counting.board_rows import board_rows
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.counting.further_tables import count_further_tables
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.markov.direct_steps import fit_direct_step
from routestat.inference.markov.prediction import predict_ahead
from routestat.predict import app
from routestat.study.chain import second_orders
from routestat.study.chain_file import load_chain, save_chain
from routestat.traces.store import Trace
from routestat.traces.synthetic import second_order, write
from tests.commands.harness import ask, complaint

ROOT = Path(__file__).parents[2]
NARROW = "Intervals take tokens as independent; tokens of one document are not, so they are too narrow."


def command(*arguments):
    return [sys.executable, "-m", "routestat.predict", *map(str, arguments)]


def as_process(*arguments, **options):
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
        **options,
    )


def run(*arguments, input=""):
    """The command in this process."""
    return ask(app, "routestat predict", *arguments, text=input)


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Pairs of 4 (6 states) in layers 2, 3, 5, 6: each follows from the two before but for noise; documents repeat."""
    rng = np.random.default_rng(0)
    made = second_order(noise=0.4, rng=rng, n_experts=4, top_k=2, layers=[2, 3, 5, 6], documents=60)
    same = np.repeat(np.arange(0, len(made.document), 4), 4)[: len(made.document)]
    same = np.where(made.document[same] == made.document, same, np.arange(len(same)))
    folder = tmp_path_factory.mktemp("traces") / "t"
    return write(replace(made, states=np.asfortranarray(made.states[same])), folder)


@pytest.fixture(scope="module")
def chain(trace):
    opened = Trace.open(trace)
    counts = count(opened)
    second = second_orders(opened, counts, "empirical-bayes", [False, True, True])
    return fit_chain(counts, alpha="empirical-bayes", second=second, orders=(1, 2, 1))


@pytest.fixture(scope="module")
def report(chain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    save_chain(chain, folder / "chain.npz")
    return folder


def written(*arguments):
    """What --out holds of one query, and what was printed."""
    out = Path(arguments[0]) / "p.json"
    result = run(*arguments[1:], "--out", out)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(out.read_text()), result.stdout


def test_one_choice_is_answered_as_ever(report, chain, tmp_path):
    record, shown = written(tmp_path, report, "--layer", 5, "--after", "1,0", "--top", 6, "--level", 0.9)
    wanted = predict_ahead(chain, 5, [0], level=0.9)
    assert [row["state"] for row in record["predictions"]] == np.argsort(-wanted.probability).tolist()
    for row in record["predictions"]:
        assert row["probability"] == wanted.probability[row["state"]]
        assert row["interval"] == [wanted.low[row["state"]], wanted.high[row["state"]]]
    assert (record["layer"], record["next_layer"], record["ahead"], record["order"]) == (5, 6, 1, 1)
    assert record["after"] == {"experts": [0, 1], "state": 0}
    assert record["n_tokens"] == wanted.n_tokens
    lines = shown.splitlines()
    assert lines[0] == (f"Layer 5 chose experts 0, 1 ({wanted.n_tokens:,} tokens did). Layer 6 then chooses:")
    assert lines[1].split() == ["state", "experts", "probability", "90%", "credible"]
    best = record["predictions"][0]
    assert lines[2].split()[0] == str(best["state"])
    assert lines[-1] == (
        "This prediction is of order 1. Intervals are those of as many independent tokens as the documents are worth "
        f"(design effect of the transition probabilities {chain.design_effects[2]:.3g})."
    )
    assert record["design_effect"] == chain.design_effects[2]
    assert chain.design_effects[2] > 2


def test_the_command_is_that(report, trace, tmp_path):
    for arguments in (
        (report, "--layer", 3, "--after", "0,2/1", "--ahead", 2),
        (trace, "--layer", 5, "--after", "4/3"),
        (report, "--layer", 3, "--after", "6/1"),
        (tmp_path, "--layer", 3, "--after", 1),
    ):
        here, there = run(*arguments), as_process(*arguments)
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr)
    one = as_process(report, "--layer", 3, "--after", "0,2/1", "--out", tmp_path / "new" / "p.json")
    assert one.returncode == 0, one.stderr
    assert json.loads((tmp_path / "new" / "p.json").read_text())["order"] == 2


def test_a_history_is_answered_by_order_two(report, chain, tmp_path):
    record, shown = written(tmp_path, report, "--layer", 3, "--after", "0,2/1")
    wanted = predict_ahead(chain, 3, [1, 1])
    assert record["order"] == wanted.order == 2
    assert record["history"] == [
        {"layer": 2, "experts": [0, 2], "state": 1},
        {"layer": 3, "experts": [0, 2], "state": 1},
    ]
    best = record["predictions"][0]
    assert best["probability"] == wanted.probability[best["state"]] == wanted.probability.max()
    assert shown.startswith("Layer 2 chose experts 0, 2 and layer 3 experts 0, 2 (")
    assert "This prediction is of order 2." in shown
    assert record["notes"] == []


def test_what_is_older_than_the_order_changes_nothing_and_that_is_said(report, tmp_path):
    three, shown = written(tmp_path, report, "--layer", 5, "--after", "4/2,1/0,3")
    one, _ = written(tmp_path, report, "--layer", 5, "--after", "0,3")
    assert three["predictions"] == one["predictions"]
    assert three["notes"] == ["The oldest 2 of 3 choices have no effect here."]
    assert "The oldest 2 of 3 choices have no effect here." in shown.splitlines()
    assert len(three["history"]) == 3


def test_a_shorter_history_than_the_order_is_answered_by_the_lower_one(report, chain, tmp_path):
    record, shown = written(tmp_path, report, "--layer", 3, "--after", 1)
    assert record["order"] == 1
    assert record["n_tokens"] == chain.counts[1][1].sum()
    assert "This prediction is of order 1." in shown


def test_choices_never_seen_together_are_answered_by_the_back_off_which_says_so(chain, tmp_path):
    cube = chain.second[1]
    gone = int(cube.contexts[0])
    kept = slice(int(cube.starts[1]), None)
    rest = replace(
        cube,
        contexts=cube.contexts[1:],
        starts=cube.starts[1:] - cube.starts[1],
        targets=cube.targets[kept],
        counts=cube.counts[kept],
    )
    save_chain(replace(chain, second=(None, rest, None)), tmp_path / "chain.npz")
    record, shown = written(tmp_path, tmp_path, "--layer", 3, "--after", f"{gone // 6}/{gone % 6}")
    tokens = chain.counts[1][gone % 6].sum()
    said = (
        "These were never observed together: the prediction backs off to order 1, which rests on the "
        f"{tokens:,} tokens that chose the last of them."
    )
    assert record["notes"] == [said]
    assert said in shown.splitlines()
    assert (record["n_tokens"], record["order"]) == (0, 2)
    best = record["predictions"][0]
    assert best["probability"] == pytest.approx(cube.base[gone % 6].max())


def test_a_choice_never_seen_is_the_prior_s_answer_or_all_tokens(tmp_path):
    table = np.array([[4, 2, 0], [0, 0, 0]])
    for rule, said in [
        (0.5, "This was never observed: the prediction is the prior's."),
        ("empirical-bayes", "This was never observed: the prediction is the prior's."),
        ("hierarchical", "the prediction backs off to order 0, which rests on all 6 tokens"),
    ]:
        chain = fit_chain([6, 0], [table], rule, layers=[0, 1], n_experts=[2, 3], top_k=[1, 1])
        save_chain(chain, tmp_path / "chain.npz")
        record, shown = written(tmp_path, tmp_path, "--layer", 0, "--after", 1)
        assert said in record["notes"][0]
        assert said in shown
        assert NARROW in shown  # one group, or none known of
        assert record["design_effect"] == 1.0


def test_orders_can_be_requested(report, chain, trace, tmp_path):
    zero, shown = written(tmp_path, report, "--layer", 3, "--after", "2/1", "--order", 0)
    np.testing.assert_allclose(
        [row["probability"] for row in zero["predictions"]], np.sort(chain.own_distribution(1))[::-1][:5]
    )
    assert zero["notes"] == ["Order 0: the choices have no effect here."]
    assert "whatever they chose" in shown
    assert "of order 0: the distribution of the layer itself." in shown
    one, _ = written(tmp_path, report, "--layer", 3, "--after", "2/1", "--order", 1)
    assert (one["order"], one["n_tokens"]) == (1, chain.counts[1][1].sum())
    two, _ = written(tmp_path, report, "--layer", 5, "--after", "2/1", "--order", 2)
    assert (two["order"], two["n_tokens"]) == (2, chain.second[2].row(2, 1).sum())
    plain = replace(chain, second=(None, chain.second[1], None))
    save_chain(plain, tmp_path / "chain.npz")
    line = complaint(run(tmp_path, "--layer", 5, "--after", "2/1", "--order", 2))
    assert "--order 2: this report keeps no order 2 for the step to layer 6" in line


def test_a_trace_is_counted_with_its_design_effects_and_as_far_back_as_the_history(trace, chain, tmp_path):
    one, _ = written(tmp_path, trace, "--layer", 5, "--after", 3)
    assert (one["order"], one["design_effect"]) == (1, pytest.approx(chain.design_effects[2]))
    two, _ = written(tmp_path, trace, "--layer", 5, "--after", "4/3")
    wanted = predict_ahead(replace(chain, orders=(1, 2, 2)), 5, [4, 3])
    assert (two["order"], two["n_tokens"]) == (2, wanted.n_tokens)
    assert two["predictions"][0]["probability"] == pytest.approx(wanted.probability.max())
    kept, _ = written(tmp_path, trace, "--layer", 5, "--after", "4/3", "--order", 1)
    assert kept["predictions"] == one["predictions"]
    flat, _ = written(tmp_path, trace, "--layer", 5, "--after", "4/3", "--alpha", 2)
    row = chain.second[2].row(4, 3)
    assert flat["predictions"][0]["probability"] == pytest.approx((row.max() + 2) / (row.sum() + 12))


def test_layers_ahead(report, chain, tmp_path):
    record, shown = written(tmp_path, report, "--layer", 2, "--after", 4, "--ahead", 3, "--seed", 7)
    wanted = predict_ahead(chain, 2, [4], ahead=3, rng=np.random.default_rng(7))
    best = record["predictions"][0]
    assert (record["next_layer"], record["ahead"]) == (6, 3)
    assert best["probability"] == wanted.probability.max()
    assert best["interval"] == [wanted.low[best["state"]], wanted.high[best["state"]]]
    assert "Layer 6 then chooses:" in shown
    other, _ = written(tmp_path, report, "--layer", 2, "--after", 4, "--ahead", 3, "--seed", 8)
    assert other["predictions"][0]["interval"] != best["interval"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", 2, "--after", "3,3"], "layer 2: an expert repeats inside one token's choice: [3, 3]"),
        (
            ["--layer", 2, "--after", "0,4"],
            "layer 2: expert 4 is out of range: this router has experts 0 … 3",
        ),
        (["--layer", 2, "--after", "1,2,3"], "layer 2: expected rows of 2 experts"),
        (["--layer", 2, "--after", 6], "state 6: layer 2 has states 0 … 5"),
        (["--layer", 2, "--after", -1], "state -1"),
        (["--layer", 3, "--after", "6/1"], "state 6: layer 2 has states 0 … 5"),
        (["--layer", 3, "--after", "1//1"], "3 choices up to layer 3 reach before the first layer, 2"),
        (["--layer", 3, "--after", "/1"], "a choice is a state such as 12, or experts such as 1,7; got ''"),
        (["--layer", 3, "--after", "1/x"], "got 'x'"),
        (["--layer", 3, "--after", "9" * 5000], "a state such as 12"),
        (["--layer", 3, "--after", "9" * 30], "layer 3 has states 0 … 5"),
        (["--layer", 4, "--after", 1], "layer 4 is not in this chain; its layers are 2, 3, 5, 6"),
        (["--layer", 6, "--after", 1], "layer 6 is the chain's last: nothing follows it"),
        (["--layer", 3, "--after", 1, "--ahead", 3], "2 layers follow layer 3, the chain ends at layer 6"),
        (["--layer", 3, "--after", 1, "--ahead", 0], "--ahead"),
        (["--layer", 3, "--after", 1, "--order", "3"], "--order is 0, 1, 2 or auto"),
        (["--layer", 3, "--after", 1, "--level", 1], "--level is a share between 0 and 1"),
        (["--layer", 3, "--after", 1, "--alpha", 2], "--alpha goes with a trace"),
        (["--layer", 3, "--after", 1, "--out", "tests"], "--out tests is a folder"),
        (["--layer", 3], "Missing option --after"),
        (["--after", 3], "Missing option --layer"),
        (["--stream", "--layer", 3], "--stream reads layers and histories from its lines"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(report, arguments, message):
    assert message in complaint(run(report, *arguments))


def test_what_is_no_run_is_one_line(trace, report, tmp_path):
    requested = ("--layer", 2, "--after", 1)
    assert "no such folder" in complaint(run(tmp_path / "none", *requested))
    assert "neither a report" in complaint(run(tmp_path, *requested))
    assert "alpha" in complaint(run(trace, *requested, "--alpha", "0"))
    assert "alpha" in complaint(run(trace, *requested, "--alpha", "-1"))
    content = (report / "chain.npz").read_bytes()
    (tmp_path / "chain.npz").write_bytes(content[: len(content) // 2])
    assert f"{tmp_path / 'chain.npz'}: not a chain that analyze saved" in complaint(run(tmp_path, *requested))


def test_a_layer_without_data_is_one_line(tmp_path):
    states = np.random.default_rng(0).integers(0, 6, (200, 3)).astype(np.uint8)
    states[:, 2] = 255  # missing
    meta = TraceMeta(tuple(Router(layer, 4, 2) for layer in range(3)), name="gap")
    with TraceWriter(tmp_path / "t", meta) as writer:
        writer.write(np.repeat(np.arange(10), 20), states=states)
    line = complaint(run(tmp_path / "t", "--layer", 1, "--after", 1))
    assert "no token has a choice in both layer 1 and layer 2: the step has no data" in line
    assert "layer 1 and layer 2" in complaint(run(tmp_path / "t", "--layer", 0, "--after", 1, "--ahead", 2))
    assert run(tmp_path / "t", "--layer", 0, "--after", 1).returncode == 0


def test_one_group_keeps_the_warning(tmp_path):
    states = np.random.default_rng(0).integers(0, 6, (200, 3)).astype(np.uint8)
    meta = TraceMeta(tuple(Router(layer, 4, 2) for layer in range(3)), name="one")
    with TraceWriter(tmp_path / "t", meta) as writer:
        writer.write(np.zeros(200, int), states=states)
    assert NARROW in run(tmp_path / "t", "--layer", 1, "--after", 1).stdout


QUERIES = """# layer and history
3 1

5 4/2,1/0,3
3 9,9
5\t0 , 3
nonsense
3
6 1
3 1
"""


def test_a_stream_answers_line_by_line_and_goes_on(report, tmp_path):
    result = as_process(report, "--stream", input=QUERIES)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 2
    assert result.stderr == "error: 4 of 10 lines had no answer; each states the reason\n"
    assert [answer.get("line") for answer in answers] == [None, None, 5, None, 7, 8, 9, None]
    assert "expert 9 is out of range" in answers[2]["error"]
    assert "a line is LAYER HISTORY" in answers[4]["error"]
    assert "a state such as 12" in answers[5]["error"]
    assert "nothing follows it" in answers[6]["error"]
    assert answers[0] == answers[-1]
    one, _ = written(tmp_path, report, "--layer", 3, "--after", 1)
    assert answers[0] == one
    three, _ = written(tmp_path, report, "--layer", 5, "--after", "4/2,1/0,3")
    assert answers[1] == three
    assert answers[3]["predictions"] == three["predictions"]


def test_a_stream_without_bad_lines_ends_well_and_its_options_hold(report, chain):
    result = run(report, "--stream", "--ahead", 2, "--top", 1, "--seed", 3, input="3 1\n2 0\n3 1")
    assert (result.returncode, result.stderr) == (0, "")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    wanted = predict_ahead(chain, 3, [1], ahead=2, rng=np.random.default_rng(3))
    assert answers[0] == answers[2]
    assert answers[0]["predictions"][0]["probability"] == wanted.probability.max()
    assert answers[0]["predictions"][0]["interval"][0] == wanted.low[wanted.probability.argmax()]
    assert run(report, "--stream", input="").stdout == ""


def test_a_stream_over_a_trace_fits_order_two_on_request(trace, tmp_path):
    result = run(trace, "--stream", input="5 3\n5 4/3\n3 1/1\n")
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["order"] for answer in answers] == [1, 2, 2]
    single, _ = written(tmp_path, trace, "--layer", 5, "--after", "4/3")
    assert answers[1] == single
    # Earlier queries change no prediction, though order 2 is now at hand.
    result = run(trace, "--stream", input="3 1\n3 1/1\n6 1\n 3  1\n")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers[0]["predictions"] == answers[3]["predictions"] != answers[1]["predictions"]


@pytest.fixture
def streaming(report):
    process = subprocess.Popen(
        command(report, "--stream"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    yield process
    process.kill()
    process.wait()


def test_a_stream_answers_at_once_and_an_interruption_says_so(streaming):
    for _ in range(3):
        streaming.stdin.write("3 1\n")
        streaming.stdin.flush()
        # Would hang, were answers kept back until the input ends.
        assert json.loads(streaming.stdout.readline())["layer"] == 3
    streaming.send_signal(signal.SIGINT)
    _, stderr = streaming.communicate(timeout=60)
    assert (streaming.returncode, stderr) == (130, "error: interrupted\n")


def test_a_reader_that_has_enough_is_no_error(streaming):
    streaming.stdin.write("3 1\n")
    streaming.stdin.flush()
    streaming.stdout.readline()
    streaming.stdout.close()
    deadline = time.time() + 60
    try:
        while streaming.poll() is None and time.time() < deadline:
            streaming.stdin.write("3 1\n")
            streaming.stdin.flush()
    except BrokenPipeError:
        pass
    assert streaming.wait(timeout=60) == 0
    assert streaming.stderr.read() == ""


def experts(folder, factorised):
    rng = np.random.default_rng(1)
    tables = [np.full((5, 5), 6), np.full((5, 5), 6)]
    tables[1][4] = 0
    chain = fit_chain(
        [30] * 5, tables, 0.5, layers=[1, 2, 3], n_experts=[5] * 3, top_k=[2] * 3, states="expert"
    )
    keys = {(0, 0): 0, (1, 0): 0, (1, 1): 5, (2, 0): 0, (2, 1): 5, (2, 2): 10}
    more = FactorisedChain(
        (1, 2, 3),
        (5, 5, 5),
        (2, 2, 2),
        {key: rng.normal(size=(7, 5)) for key in keys},
        {key: rng.normal(size=(7, features, 5)) for key, features in keys.items()},
        np.array([20, 30, 25, 20, 30, 25]),
    )
    save_chain(chain, folder / "chain.npz", more if factorised else None)
    return chain, more


def test_experts_are_answered_by_the_factorised_chain_where_there_is_one(tmp_path):
    _, factorised = experts(tmp_path, True)
    record, shown = written(tmp_path, tmp_path, "--layer", 2, "--after", "3,0/1,2")
    wanted = factorised.predict(2, [[0, 3], [1, 2]])
    best = record["predictions"][0]
    assert (record["order"], record["design_effect"]) == (2, None)
    assert best["probability"] == pytest.approx(wanted.inclusion.max())
    assert best["interval"] == pytest.approx([wanted.low[best["expert"]], wanted.high[best["expert"]]])
    assert "among the 2 chosen (factorised chain of order 2)" in shown
    one, _ = written(tmp_path, tmp_path, "--layer", 2, "--after", "3,0/1,2", "--order", 1)
    assert one["predictions"][0]["probability"] == pytest.approx(
        factorised.predict(2, [1, 2]).inclusion.max()
    )
    far, _ = written(tmp_path, tmp_path, "--layer", 1, "--after", "1,2", "--ahead", 2, "--seed", 5)
    drawn = factorised.predict(1, [1, 2], 2, rng=np.random.default_rng(5))
    assert far["predictions"][0]["probability"] == pytest.approx(drawn.inclusion.max())
    unseen, _ = written(tmp_path, tmp_path, "--layer", 2, "--after", "4,2")
    assert "never observed" in unseen["notes"][0]
    assert "--order 0" in complaint(run(tmp_path, "--layer", 2, "--after", "1,2", "--order", 0))


def test_experts_without_it_are_answered_by_one_step(tmp_path):
    chain, _ = experts(tmp_path, False)
    record, shown = written(tmp_path, tmp_path, "--layer", 2, "--after", "3,0/1,2")
    wanted = chain.predict(2, [1, 2])
    assert record["predictions"][0]["probability"] == wanted.probability.max()
    assert record["notes"] == ["The oldest 1 of 2 choices have no effect here."]
    assert "among the 2 chosen" in shown
    assert NARROW in shown
    assert "name the report" in complaint(run(tmp_path, "--layer", 1, "--after", "1,2", "--ahead", 2))
    assert "expert 5 is out of range" in complaint(run(tmp_path, "--layer", 1, "--after", "1,5"))
    assert load_chain(tmp_path / "chain.npz").states == "expert"


def test_a_trace_is_counted_as_many_layers_ahead_as_requested(trace, tmp_path):
    """The posterior of the table of the two layers, counted here token by token; experts are sums of its states."""
    opened = Trace.open(trace)
    counts = count(opened)
    states = np.column_stack([rows for rows in _columns(opened)])
    table = np.zeros((6, 6))
    for row in states.astype(int):
        table[row[0], row[2]] += 1
    record, shown = written(
        tmp_path, trace, "--layer", 2, "--after", 4, "--ahead", 2, "--alpha", 0.5, "--top", 6, "--experts"
    )
    mean = (table[4] + 0.5) / (table[4] + 0.5).sum()
    for row in record["predictions"]:
        assert row["probability"] == pytest.approx(mean[row["state"]])
    assert record["n_tokens"] == table[4].sum()
    assert record["notes"] == ["From the table of layers 2 and 5 (order 1): steps are not multiplied."]
    weight = (table[4].sum()) / record["design_effect"] + 3.0
    pairs = list(itertools.combinations(range(4), 2))
    for row in record["experts"]:
        p = sum(mean[state] for state, pair in enumerate(pairs) if row["expert"] in pair)
        assert row["probability"] == pytest.approx(p)
        assert row["interval"] == pytest.approx(
            stats.beta(weight * p, weight * (1 - p)).interval(0.95), rel=1e-6
        )
    assert sum(row["probability"] for row in record["experts"]) == pytest.approx(2)
    best = sorted((row["probability"] for row in record["experts"]), reverse=True)
    assert [row["fetched"] for row in record["fetch"]] == [2, 3, 4]
    assert record["fetch"][1]["share_present"] == pytest.approx(sum(best[:3]) / 2)
    assert "Expected share of the needed experts among the most probable" in shown
    _, said = written(tmp_path, trace, "--layer", 2, "--after", 4, "--ahead", 2, "--order", 0)
    assert "Steps of order 0" in said
    assert counts.n_tokens == len(states)


def _columns(opened):
    rows = take_sample(opened)
    board = board_rows(rows, opened.routers())
    for router in board.routers:
        yield router.alphabet.rank(board.experts(router))


def test_a_report_keeps_the_tables_of_layers_further_ahead(trace, chain, tmp_path):
    counts, opened = count(Trace.open(trace)), Trace.open(trace)
    table = next(count_further_tables(opened, counts, [(Context.layer(3), counts.routers[3])]))
    step = fit_direct_step(table, "empirical-bayes")
    save_chain(replace(chain, direct={(0, 3): step}), tmp_path / "chain.npz")
    kept = load_chain(tmp_path / "chain.npz").direct[0, 3]
    assert np.array_equal(kept.counts, step.counts)
    assert np.array_equal(kept.prior, step.prior)
    assert kept.design_effect == step.design_effect > 1
    record, shown = written(tmp_path, tmp_path, "--layer", 2, "--after", 4, "--ahead", 3)
    mean, weight, n = step.row("empirical-bayes", 4)
    best = record["predictions"][0]
    assert best["probability"] == mean[best["state"]] == mean.max()
    limits = stats.beta(weight * mean.max(), weight * (1 - mean.max())).interval(0.95)
    assert best["interval"] == pytest.approx(limits, rel=1e-6)
    assert (record["n_tokens"], record["design_effect"]) == (n, step.design_effect)
    assert "steps are not multiplied" in shown
    far, said = written(tmp_path, tmp_path, "--layer", 2, "--after", 4, "--ahead", 2)
    assert "are multiplied" in said
    assert far["order"] == 1


def test_experts_some_steps_ahead_have_the_draws_of_their_states(report, chain, tmp_path):
    record, _ = written(tmp_path, report, "--layer", 2, "--after", 4, "--ahead", 3, "--experts", "--seed", 7)
    events = Router(6, 4, 2).alphabet.membership
    wanted = predict_ahead(chain, 2, [4], ahead=3, rng=np.random.default_rng(7), events=events)
    plain = predict_ahead(chain, 2, [4], ahead=3, rng=np.random.default_rng(7))
    np.testing.assert_allclose(wanted.probability, plain.probability @ events)
    for row in record["experts"]:
        at = row["expert"]
        assert row["probability"] == wanted.probability[at]
        assert row["interval"] == [wanted.low[at], wanted.high[at]]
    with pytest.raises(routestat.RoutestatError, match="events: expected true or false for each of 6 states"):
        predict_ahead(chain, 2, [4], events=np.ones((5, 2)))


def test_analyze_saves_ridges_that_predict(trace, tmp_path):
    made = subprocess.run(
        [
            *(sys.executable, "-m", "routestat.analyze", trace, "--out", tmp_path / "r"),
            *("--only", "chain,memory,prediction"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert load_chain(tmp_path / "r" / "chain.npz").direct
    asked = as_process(
        tmp_path / "r", "--layer", 5, "--after", "4/2,1/0,3", "--with", "best", "--previous", "1/2/3/4"
    )
    assert asked.returncode == 0, asked.stderr
    assert "the least log loss on held-out documents" in asked.stdout
    ridge = as_process(
        tmp_path / "r", "--layer", 5, "--after", "4/2,1/0,3", "--with", "ridge-all", "--previous", "none"
    )
    assert ridge.returncode == 0, ridge.stderr
    assert "ridge-all, fitted to" in ridge.stdout
    wrong = as_process(tmp_path / "r", "--layer", 5, "--after", 1, "--with", "ridges")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--with: expected best, popularity, layer-1" in wrong.stderr
    one, _ = written(tmp_path, tmp_path / "r", "--layer", 5, "--after", 4, "--with", "layer-1")
    other, _ = written(tmp_path, tmp_path / "r", "--layer", 5, "--after", 4, "--order", 1)
    assert one == other


def test_python_is_as_careful_as_the_command(trace, tmp_path):
    """The chain of counts predicts what the command reports of the same trace, interval by interval."""
    chain = routestat.fit_chain(count(Trace.open(trace)))
    for layer, source in ((2, 0), (3, 4), (5, 5)):
        record, said = written(tmp_path, trace, "--layer", layer, "--after", source, "--top", 6)
        prediction = chain.predict(layer, source)
        assert record["design_effect"] == chain.design_effects[chain.gap_after(layer)] > 2
        assert len(record["predictions"]) == 6
        for row in record["predictions"]:
            at = row["state"]
            assert row["probability"] == prediction.probability[at]
            assert row["interval"] == [prediction.low[at], prediction.high[at]]
        assert prediction.note == ""
        assert NARROW not in said
