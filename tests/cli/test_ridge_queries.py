"""Ridges of a report: the same probabilities as the engine's, incomplete histories, files, streams, bad input."""

import json
from functools import partial

import numpy as np
import pytest
from scipy import special

from routestat import Router, RoutestatError, TraceMeta, TraceWriter
from routestat.cli.answers import fetch_rows
from routestat.cli.choices import Given, read_choice
from routestat.cli.query_stream import parse_line
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import take_sample
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.history import previous
from routestat.forecast.history_predictor import HistoryPredictors
from routestat.forecast.ridge_engine import score_ridges
from routestat.forecast.ridge_link import Link
from routestat.forecast.specification import BoardPlan, RidgeForm
from routestat.predict import app
from routestat.study.predictors_file import load_predictors, save_predictors
from routestat.traces.store import Trace
from tests.commands.harness import ask, complaint

SIZES = ((5, 2), (4, 1), (6, 3), (5, 2))


def written_trace(folder, token_ids=True, seed=0):
    """Layers of unequal size that follow from the layer before and the token id; some choices are missing."""
    rng = np.random.default_rng(seed)
    n, documents = 1200, 40
    document, token = np.repeat(np.arange(documents), n // documents), rng.integers(0, 12, n)
    columns = []
    pull = rng.normal(0, 1, (12, 6))
    for at, (n_experts, top_k) in enumerate(SIZES):
        score = pull[token, :n_experts] + rng.gumbel(size=(n, n_experts))
        if at:
            score[:, : min(SIZES[at - 1][0], n_experts)] += 2 * special.expit(columns[-1][:, :1] - 2.0)
        columns.append(np.sort(np.argsort(-score, axis=1)[:, :top_k], axis=1))
    routers = tuple(Router(layer, *size) for layer, size in zip((1, 2, 4, 7), SIZES, strict=True))
    with TraceWriter(folder, TraceMeta(routers, name="t")) as writer:
        states = np.column_stack(
            [router.alphabet.rank(own) for router, own in zip(routers, columns, strict=True)]
        ).astype(np.uint8)
        states[rng.random(n) < 0.05, 1] = 255
        writer.write(document, states=states, token=token if token_ids else None)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Rows of the trace, its ridges, and a folder with their file."""
    folder = tmp_path_factory.mktemp("ridges")
    trace = Trace.open(written_trace(folder / "t"))
    rows = board_rows(take_sample(trace), trace.routers())
    windows = []
    specs = [spec for spec in PREDICTORS if isinstance(spec.form("subset"), RidgeForm)]
    score_ridges(rows, specs, "subset", BoardPlan(horizons=(1, 2), threads=1), kept=windows)
    history = HistoryPredictors(rows.routers, "subset", windows)
    (folder / "r").mkdir()
    save_predictors(history, folder / "r" / "predictors.npz")
    return rows, history, folder


def indicators(rows, blocks, history):
    """One row of features for each token with a known choice of any layer, slowly; the constant first."""
    tokens = {token: history.windows[0].token_feature(token) for token in np.unique(rows.token).tolist()}
    size = dict(zip(history.windows[0].names, history.windows[0].sizes, strict=True))
    found, kept = [], []
    for row in range(len(rows)):
        before = row - 1 if rows.follows[row] else None
        line = [1.0]
        for block in blocks:
            own = np.zeros(size[block])
            at = before if block.startswith("previous ") else row
            name = block.removeprefix("previous ")
            if block == "no previous token":
                own[0] = before is None
            elif at is not None and name == "token id":
                own[tokens[int(rows.token[at])]] = 1
            elif at is not None:
                router = next(one for one in rows.routers if one.name == name)
                if rows.known(router)[at]:
                    own[rows.experts(router)[at]] = 1
            line += own.tolist()
        found.append(line)
        kept.append(any(rows.known(router)[row] for router in rows.routers))
    return np.array(found)[kept], np.array(kept)


@pytest.mark.parametrize(
    ("name", "target", "ahead", "dropped"),
    [
        ("ridge-1", 2, 1, ()),
        ("ridge-all", 3, 1, ()),
        ("ridge-all", 3, 2, ("previous L02", "L01")),
        ("ridge-all-token-id", 2, 1, ("previous token id",)),
        ("ridge-previous-token", 0, 1, ()),
    ],
)
def test_weights_are_those_of_the_normal_equations_of_what_is_known(made, name, target, ahead, dropped):
    rows, history, _ = made
    used = tuple(block for block in history.blocks(name, target, ahead) if block not in dropped)
    assert used
    x, kept = indicators(rows, used, history)
    router = rows.routers[target]
    known = rows.known(router)[kept]
    y = np.zeros((len(x), router.n_experts))
    y[np.flatnonzero(known)[:, None], rows.experts(router)[kept][known]] = 1
    penalty = history.windows[0].settings[name, target].penalty
    wanted = np.linalg.solve(x.T @ x + penalty * np.diag([0.0] + [1.0] * (x.shape[1] - 1)), x.T @ y)
    np.testing.assert_allclose(history.weights(name, target, used), wanted / known.mean(), atol=1e-6)


def test_log_weights_are_the_link_of_the_sum_of_weights(made):
    _, history, _ = made
    known = {"L02": (3,), "L01": (0, 4), "no previous token": (0,)} | {
        previous(f"L0{n}"): () for n in (1, 2, 4, 7)
    }
    found = history.predict("ridge-all", 2, 1, known)
    assert set(found.used) == set(known)
    assert found.missing == ()
    weights, chosen = history.weights("ridge-all", 2, found.used), history.windows[0].settings["ridge-all", 2]
    places, at = [0], 1
    sizes = dict(zip(history.windows[0].names, history.windows[0].sizes, strict=True))
    for block in found.used:
        places += [at + member for member in known[block]]
        at += sizes[block]
    link = Link(chosen.power, chosen.softness, 3)
    grid = link.low + link.step * np.arange(len(link.knots()))
    np.testing.assert_allclose(
        found.log_weights, np.interp(weights[places].sum(axis=0), grid, link.knots()), atol=1e-9
    )


def test_the_file_gives_the_same_predictions(made):
    _, history, folder = made
    again = load_predictors(folder / "r" / "predictors.npz")
    assert (again.names, again.states, again.routers) == (history.names, history.states, history.routers)
    for one, other in zip(again.windows, history.windows, strict=True):
        assert np.array_equal(one.pairs, other.pairs)
        assert (one.window, one.names, one.sizes, one.settings) == (
            other.window, other.names, other.sizes, dict(other.settings)
        )  # fmt: skip
    known = {"L01": (1, 2), "token id": (3,)}
    for name in ("ridge-all", "ridge-all-token-id"):
        one, other = (h.predict(name, 1, 1, known) for h in (again, history))
        assert np.array_equal(one.log_weights, other.log_weights)
        assert one.missing == other.missing != ()


@pytest.mark.parametrize("cut", [10, 2000, -50])
def test_a_damaged_file_is_one_line(made, tmp_path, cut):
    content = (made[2] / "r" / "predictors.npz").read_bytes()
    (tmp_path / "predictors.npz").write_bytes(content[:cut])
    said = complaint(
        ask(app, "routestat predict", tmp_path, "--layer", 1, "--after", "0,1", "--with", "ridge-all")
    )
    assert "not a file of predictors that analyze saved" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictors_version": np.array(9)}, "version 9, this routestat reads 1"),
        ({"states": np.array("x")}, "states: expected subset or expert"),
        ({"names": np.array(["layer-1"] * 6)}, "names: no predictor"),
        ({"windows": np.array([[0, 3, 0]])}, "windows: expected each of 4 layers"),
        ({"window_000_pairs": np.zeros(3, np.uint32)}, "window_000_pairs: expected shape"),
        ({"window_000_models": np.array([[99, 0]])}, "window_000_"),
    ],
)
def test_what_makes_no_sense_in_a_file_is_named(made, tmp_path, change, message):
    with np.load(made[2] / "r" / "predictors.npz") as saved:
        np.savez(tmp_path / "p.npz", **dict(saved) | change)
    with pytest.raises(RoutestatError, match=message):
        load_predictors(tmp_path / "p.npz")


def test_an_object_array_is_never_unpickled(made, tmp_path):
    with np.load(made[2] / "r" / "predictors.npz") as saved:
        np.savez(tmp_path / "p.npz", **dict(saved) | {"names": np.array([{}], object)})
    with pytest.raises(RoutestatError, match="not a file of predictors"):
        load_predictors(tmp_path / "p.npz")


def answered(folder, *arguments):
    result = ask(app, "routestat predict", folder / "r", *arguments, "--out", folder / "p.json")
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "p.json").read_text()), result.stdout


def test_probabilities_are_those_of_all_subsets(made):
    _, history, folder = made
    record, shown = answered(
        folder, "--with", "ridge-all-token-id", "--layer", 2, "--after", "0,4/3", "--previous", "0,1/-/1,2,3/0,4",
        "--token", 5, "--top", 20, "--experts",
    )  # fmt: skip
    known = {
        "L01": (0, 4), "L02": (3,), "previous L01": (0, 1), "previous L04": (1, 2, 3), "previous L07": (0, 4),
        "no previous token": (), "token id": (history.windows[0].token_feature(5),),
    }  # fmt: skip
    theta = history.predict("ridge-all-token-id", 2, 1, known).log_weights
    alphabet = history.routers[2].alphabet
    sets = alphabet.unrank(np.arange(alphabet.size))
    wanted = special.softmax(theta[sets].sum(axis=1))
    assert len(record["predictions"]) == alphabet.size == 20
    for row in record["predictions"]:
        assert row["probability"] == pytest.approx(wanted[row["state"]], abs=1e-9)
        assert row["interval"] == [None, None]
    inclusion = wanted @ alphabet.membership
    assert {row["expert"]: row["probability"] for row in record["experts"]} == pytest.approx(
        dict(enumerate(inclusion.tolist())), abs=1e-9
    )
    assert record["fetch"][0]["share_present"] == pytest.approx(np.sort(inclusion)[-3:].sum() / 3)
    assert record["not_known"] == ["previous token id", "previous L02"]
    assert "Not known: 1 layer of the previous token, the previous token's id." in " ".join(record["notes"])
    assert "credible" not in shown


def test_a_first_token_differs_from_an_unknown_previous_one(made):
    folder = made[2]
    ask_one = partial(answered, folder, "--with", "ridge-all", "--layer", 2, "--after", "0,4/3")
    first, unknown = ask_one("--previous", "none")[0], ask_one()[0]
    assert first["not_known"] == []
    assert "no previous token" in unknown["not_known"]
    assert first["predictions"] != unknown["predictions"]


def test_a_stream_is_answered_like_single_queries(made):
    folder = made[2]
    lines = "2 0,4/3 previous=none\n2 0,4/- token=3\nx\n2 0,4/3 previous=none\n7 1,2\n"
    result = ask(app, "routestat predict", folder / "r", "--with", "ridge-all", "--stream", text=lines)
    assert result.returncode == 2
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found[0] == found[3]
    assert (
        found[0]
        == answered(folder, "--with", "ridge-all", "--layer", 2, "--after", "0,4/3", "--previous", "none")[0]
    )
    assert found[1]["after"] is None
    assert "ridge-all does not use token ids." in found[1]["notes"]
    assert "a line is LAYER HISTORY" in found[2]["error"]
    assert "0 layers follow layer 7" in found[4]["error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "nothing"], "--with: expected best, ridge-previous-token"),
        (["--with", "layer-1"], "--with: expected best, ridge-previous-token"),
        (["--with", "best"], "results.json, which is missing"),
        (["--with", "ridge-all", "--order", 1], "--order goes with the chain"),
        (["--with", "ridge-2", "--ahead", 2], "ridge-2 does not predict layer 7 2 layers ahead"),
        (["--with", "ridge-all", "--ahead", 3], "--ahead 3: 2 layers follow layer 2"),
        (["--with", "ridge-all", "--previous", "0,1,2"], "layer 1: expected rows of 2 experts"),
        (
            ["--with", "ridge-all", "--previous", "0,1/1/0,1,2/0,1/2"],
            "--previous: 5 choices, but there are 4 layers",
        ),
        (["--with", "ridge-all", "--token", -1], "--token: expected a token id of 0 or more"),
        (["--with", "ridge-all", "--previous", "none", "--previous-token", 1], "a first token has no"),
    ],
)
def test_what_cannot_be_answered_is_one_line(made, arguments, message):
    said = complaint(
        ask(app, "routestat predict", made[2] / "r", "--layer", 2, "--after", "0,4/3", *arguments)
    )
    assert message in said


def test_best_is_that_of_least_log_loss(made, tmp_path):
    content = (made[2] / "r" / "predictors.npz").read_bytes()
    (tmp_path / "predictors.npz").write_bytes(content)
    mean = [
        {"predictor": name, "log_loss_bits": bits}
        for name, bits in (("ridge-1", 2.0), ("ridge-all", 1.5), ("network", 1.0), ("ridge-2", None))
    ]
    far = [{"predictor": "ridge-1", "layers_ahead": 2, "log_loss_bits": 2.5}]
    (tmp_path / "results.json").write_text(json.dumps({"prediction_mean": mean, "prediction_horizons": far}))
    for ahead, name in ((1, "ridge-all"), (2, "ridge-1")):
        out = tmp_path / "p.json"
        result = ask(
            app, "routestat predict", tmp_path, "--with", "best", "--layer", 1, "--after", "0,1", "--ahead", ahead,
            "--out", out,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        record = json.loads(out.read_text())
        assert record["predictor"] == name
        assert f"{name} has the least log loss" in record["notes"][0]
    (tmp_path / "results.json").write_text("[1]")
    said = complaint(
        ask(app, "routestat predict", tmp_path, "--with", "best", "--layer", 1, "--after", "0,1")
    )
    assert "expected results of analyze" in said


def test_a_chain_has_no_previous_token(made):
    trace = made[2] / "t"
    said = complaint(ask(app, "routestat predict", trace, "--layer", 2, "--after", "1", "--token", 3))
    assert "used by ridges alone" in said
    said = complaint(
        ask(app, "routestat predict", trace, "--layer", 2, "--after", "1", "--with", "ridge-all")
    )
    assert "name a report whose part prediction was computed" in said


def test_lines_are_read_with_what_is_known():
    assert parse_line("5 2,3/1,7") == (5, "2,3/1,7", Given())
    assert parse_line("5\t0 , 3") == (5, "0 , 3", Given())
    assert parse_line("5 1,7 token=3 previous=1,2/- previous-token=0") == (5, "1,7", Given("1,2/-", 3, 0))
    for wrong in ("5 1,7 tokens=3", "5 1,7 token=x", "token=3", "5 1 token=1 token=2"):
        with pytest.raises(RoutestatError, match="a line is LAYER HISTORY"):
            parse_line(wrong)


@pytest.mark.parametrize("size", [(5, 1), (6, 3), (4, 4), (64, 6)])
def test_choices_have_the_state_of_their_alphabet(size):
    router, rng = Router(3, *size), np.random.default_rng(0)
    for _ in range(30):
        experts = rng.permutation(size[0])[: size[1]].tolist()
        found = read_choice(",".join(map(str, experts)), router, states=False)
        assert found.experts == tuple(sorted(experts))
        assert found.state == router.alphabet.rank(sorted(experts))


def test_fetched_experts_by_hand():
    rows = fetch_rows(np.array([0.1, 0.9, 0.2, 0.8]), 2)
    assert [row["fetched"] for row in rows] == [2, 3, 4]
    assert [row["share_present"] for row in rows] == pytest.approx([0.85, 0.95, 1.0])
