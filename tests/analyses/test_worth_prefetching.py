"""Planted predictions whose worth is known, claims decided by hand, and the committed result."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analyses import output
from analyses.prefetch_findings import (
    CAUSAL_EVICTION,
    PERFECT_EVICTION,
    Point,
    Prefetch,
    agreement,
    compared,
    on_eviction,
    on_recall,
    on_threshold,
    pays_from,
    point,
    prefetched,
    prefetches,
    without_cache,
)
from analyses.prefetch_replays import (
    BANDWIDTH,
    COMPUTE,
    RIGHT,
    Replays,
    alone,
    best_causal,
    break_even,
    by_unit,
    change,
    difference,
    make_replays,
    planted_errors,
    prefetching,
    recall_and_precision,
)
from analyses.prefetch_tables import costs_table, signed_percent, words_of
from analyses.worth_prefetching import Case, compare, report
from routestat.inference.base.estimate import Estimate, ratio
from routestat.serving.settings import CacheSetting
from routestat.study.simulation_plan import PERFECT
from tests.forecast.gate_traces import make_trace

CASE = Case(
    "none", "A small trace", ("token-id", "gate"), (64, 32), (2, 3, 4), (0.05, 1.0), 10_000, "It is small."
)


@pytest.fixture(scope="module")
def replays() -> Replays:
    """A gate that is right for 90 % of the tokens one layer ahead and for few two ahead; token ids decide half."""
    ahead = {(0, 1): 0.9, (1, 1): 0.9, (0, 2): 0.05}
    trace = make_trace((0, 1, 2), ahead, documents=12, length=40, ids=5)
    # An expert takes as long as a layer computes.
    return make_replays(trace, CASE.predictors, COMPUTE * BANDWIDTH, CASE.most_tokens)


def estimate(value, half=0.01):
    return Estimate(value, value - half, value + half, half / 2, 9)


def a_prefetch(precision, stall, lost=0.1):
    setting = CacheSetting("lru", "layer", 3, predictor="gate", lookahead=1, candidates=2)
    return Prefetch(
        setting, estimate(0.5), estimate(precision), estimate(lost), estimate(0.1), estimate(stall)
    )


def a_point(prefetch=-0.1, eviction=-0.4, *, compute=2e-4, gate=0.1, threshold=0.9):
    changes = {
        "`gate`, 1 ahead": estimate(gate),
        "perfect prefetch, 1 ahead": estimate(prefetch),
        "perfect prefetch, 2 ahead": estimate(prefetch + 0.02),
        PERFECT_EVICTION: estimate(eviction),
    }
    return Point(3, compute, 1e3 * compute, "lru", estimate(0.02), changes, threshold)


def test_without_a_cache_recall_is_that_over_all_choices(replays):
    for setting in prefetched(replays, 2):
        if setting.candidates != replays.top_k:
            continue
        recall, precision = recall_and_precision(replays.sums(without_cache(setting)), setting.lookahead)
        kept = replays.predictions.prefetch[setting.predictor, setting.lookahead]
        # What uses no earlier layer also predicts the first ones, to which nothing can be prefetched.
        layers = np.arange(3) >= setting.lookahead
        assert ratio(*recall).value == pytest.approx(kept.recall_of(layers), rel=1e-12)
        assert ratio(*precision).value == pytest.approx(kept.recall_of(layers), rel=1e-12)


def test_perfect_knowledge_finds_everything_and_is_at_least_as_good(replays):
    recall, precision = recall_and_precision(replays.sums(prefetching(replays, 3, PERFECT)), 1)
    assert ratio(*recall).value == ratio(*precision).value == 1
    loads = {policy: replays.sums(alone(3, policy)).loads.sum() for policy in ("lru", "lfu", "belady")}
    assert loads["belady"] < min(loads["lru"], loads["lfu"])
    assert replays.sums(prefetching(replays, 3, PERFECT)).loads.sum() == loads["lru"]
    best = best_causal(replays, 3)
    assert replays.sums(best).loads.sum() <= min(loads["lru"], loads["lfu"])
    gate, perfect = (
        replays.sums(prefetching(replays, 3, name)).column("stall").sum() for name in ("gate", PERFECT)
    )
    assert perfect < gate


def test_a_good_gate_saves_where_layers_compute_long_and_costs_where_they_do_not(replays):
    good, bad = (prefetching(replays, 3, "gate", n) for n in (1, 2))
    base = replays.sums(alone(3))
    saved = change(replays.sums(good), base)
    assert saved.high < 0
    # The interval is as wide below the estimate as above.
    assert saved.value - saved.low == pytest.approx(saved.high - saved.value)
    assert change(replays.sums(good), replays.sums(bad)).high < 0
    short = replays.sums(alone(3), 1e-6)
    assert all(change(replays.sums(one, 1e-6), short).low > 0 for one in (good, bad))
    assert change(base, base).value == 0


def test_stall_without_prefetching_is_that_of_the_misses(replays):
    sums = replays.sums(alone(2))
    np.testing.assert_allclose(
        by_unit(sums.column("stall")), by_unit(sums.column("misses")) * replays.transfer
    )


@pytest.mark.parametrize(
    ("precision", "changes", "from_"),
    [
        ((0.0, 0.5, 1.0), (0.4, 0.1, -0.1), 0.75),
        ((0.0, 0.5, 1.0), (0.4, 0.0, -0.1), 0.5),
        ((0.0, 0.5, 1.0), (0.4, 0.1, 0.05), np.nan),
        ((0.1, 0.5, 1.0), (-0.1, -0.2, -0.3), 0.1),
        # Shorter for a while only: it counts from where it stays shorter.
        ((0.0, 0.4, 0.8, 1.0), (-0.1, 0.1, -0.1, -0.2), 0.6),
    ],
)
def test_the_precision_from_which_on_prefetching_pays(precision, changes, from_):
    assert break_even(precision, changes) == pytest.approx(from_, nan_ok=True)


def test_planted_errors_are_of_other_experts_and_nested(replays):
    perfect = replays.predictions.prefetch[PERFECT, 1]
    found = planted_errors(perfect, replays.steps.routers, (0.0, 0.3, 0.6, 1.0), np.random.default_rng(1))
    right = [(one.experts[..., :2, None] == perfect.experts[..., None, :2]).any(axis=3) for one in found]
    assert not right[0].any()
    assert right[3].all()
    for less, more in pairwise(right):
        assert not (less & ~more).any()
    assert [one.mean() for one in right[1:3]] == pytest.approx([0.3, 0.6], abs=0.05)
    for one in found:
        assert (one.experts[..., 0] != one.experts[..., 1]).all()
        assert one.experts.min() >= 0
        assert one.experts.max() < 6


def test_unknown_choices_stay_unknown_with_planted_errors(replays):
    perfect = replays.predictions.prefetch[PERFECT, 1]
    experts = perfect.experts.copy()
    experts[::3] = -1
    found = planted_errors(
        replace(perfect, experts=experts), replays.steps.routers, (0.5,), np.random.default_rng(1)
    )
    assert (found[0].experts[::3] == -1).all()
    assert (found[0].experts[1::3] >= 0).all()


def test_a_difference_of_ratios():
    rng = np.random.default_rng(2)
    sizes = rng.integers(50, 90, 12).astype(float)
    top = rng.binomial(sizes.astype(int), 0.4).astype(float)
    one = ratio(top, sizes)
    # A ratio that is the same in all units has no error of its own.
    found = difference((top, sizes), (0.25 * sizes, sizes))
    assert found.value == pytest.approx(one.value - 0.25)
    assert found.standard_error == pytest.approx(one.standard_error)
    assert found.high - found.low == pytest.approx(one.high - one.low)
    assert difference((top, sizes), (top, sizes)).standard_error == pytest.approx(0)
    assert np.isnan(difference((top[:3], sizes[:3]), (top[:3], sizes[:3])).low)


def test_more_time_to_compute_needs_less_precision(replays):
    perfect = replays.predictions.prefetch[PERFECT, 1]
    planted = planted_errors(perfect, replays.steps.routers, RIGHT, np.random.default_rng(0))
    points = [point(replays, 3, seconds, planted) for seconds in (2e-5, 2e-4, 2e-3)]
    assert [one.ratio for one in points] == pytest.approx([0.1, 1, 10])
    assert list(points[0].changes) == list(compared(replays, 3))
    needed = [one.threshold for one in points]
    assert 1 > needed[0] > needed[1] > needed[2]
    assert points[0].eviction_saves_more
    # Where computing takes ten transfers, prefetching hides all but those of the first layer.
    assert not points[2].eviction_saves_more
    misses = by_unit(replays.sums(alone(3)).column("misses"), 1).sum()
    all_misses = by_unit(replays.sums(alone(3)).column("misses")).sum()
    assert points[2].perfect_prefetch == pytest.approx(-misses / all_misses, abs=1e-9)


@pytest.mark.parametrize(
    ("lost", "verdict"), [((0.1, 0.2), "confirmed"), ((0.1, -0.1), "refuted"), ((0.1, 0.0), "refuted")]
)
def test_the_claim_on_recall(lost, verdict):
    words = on_recall([a_prefetch(0.8, 0.1, one) for one in lost])
    assert words.startswith(f"**1, {verdict}.** Of 2 comparisons")


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        # Precision, and change of the stall.
        ([(0.8, -0.1), (0.6, 0.1)], "not refuted"),
        ([(0.8, -0.1), (0.6, 0.1), (0.8, 0.005)], "not refuted"),
        ([(0.8, -0.1), (0.8, 0.1)], "refuted"),
        ([(0.6, -0.1)], "refuted"),
    ],
)
def test_the_claim_on_precision(settings, verdict):
    words = on_threshold([a_prefetch(*one) for one in settings], [a_point(), a_point(threshold=np.nan)])
    assert words.startswith(f"**2, {verdict}.**")
    assert words.endswith("the precision that is needed is 0.90 to 0.90; at 1 of 2 points none is enough.")


def test_where_the_precision_that_is_needed_agrees_with_a_prediction():
    found = [a_prefetch(0.8, 0.1)]
    # Agree, agree, disagree, agree; an interval with zero does not count, nor another capacity.
    points = [a_point(gate=gate, threshold=needed) for gate, needed in ((-0.1, 0.7), (0.1, 0.9), (-0.1, 0.9))]
    points += [a_point(gate=0.1, threshold=np.nan), a_point(gate=0.005), replace(a_point(), capacity=4)]
    assert agreement(found, points) == (3, 4)
    farther = replace(found[0], setting=replace(found[0].setting, lookahead=2))
    wider = replace(found[0], setting=replace(found[0].setting, candidates=4))
    assert agreement([*found, farther, wider], points) == (3, 4)


def test_the_claim_on_eviction_names_where_it_fails():
    good, bad = ("a", a_point()), ("b", a_point(-0.5, compute=1e-3))
    assert on_eviction([good]).startswith("**3, confirmed.** ")
    words = on_eviction([good, bad])
    assert words.startswith(
        "**3, refuted.** Perfect eviction saved more of the stall than perfect prefetching at 1 of 2"
    )
    assert "b, 3 experts, 1 ms (-50.0 % against -40.0 %)" in words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((0.2, 0.1, -0.1), "from 3 ms (3 of a transfer) on, not yet with 2 ms (2 of a transfer)"),
        ((0.2, 0.1, 0.005), "at no time to compute up to 3 ms (3 of a transfer)"),
        ((-0.2, -0.1, -0.1), "at all times to compute from 1 ms (1 of a transfer) on"),
        ((0.2, -0.1, 0.1), "with 2 ms (2 of a transfer)"),
    ],
)
def test_from_which_time_to_compute_on_prefetching_pays(changes, words):
    points = [a_point(compute=1e-3 * ms, gate=one) for ms, one in enumerate(changes, 1)]
    assert pays_from(points, "`gate`, 1 ahead") == words


def test_settings_have_words(replays):
    assert words_of(alone(3, "belady")) == "perfect eviction"
    assert words_of(prefetching(replays, 3, "gate", 2, 4)) == "prefetch by `gate`, 2 ahead, 4 each"
    both = prefetching(replays, 3, PERFECT, policy="belady")
    assert words_of(both) == "perfect eviction and perfect prefetch, 1 ahead, 2 each"
    assert signed_percent(estimate(-0.1)) == "-10.0 (-11.0 … -9.0) %"


def test_costs_agree_with_the_replays(replays):
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")
        for line in costs_table(replays, 3).splitlines()[2:]
    }
    assert rows["none"][1] == "6.0"
    assert rows["lru"][4].strip(" |") == "–"
    sums, tokens = replays.sums(prefetching(replays, 3, "gate")), replays.steps.tokens.sum()
    assert rows["prefetch by `gate`, 1 ahead, 2 each"][1].startswith(f"{sums.loads.sum() / tokens:.1f} (")


def test_a_report_of_a_small_trace(replays, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(output, "RESULTS", tmp_path)
    monkeypatch.setattr(output, "ROOT", tmp_path)
    found = compare(CASE, replays)
    assert len(found.points) == 5
    assert all(one.changes[CAUSAL_EVICTION].value <= 0 for one in found.capacities)
    assert [len(at) for at in found.prefetches] == [8, 8, 8]
    assert len(prefetches(replays, 3)) == 8
    report([found])
    text = (tmp_path / "worth_prefetching.md").read_text()
    assert "480 tokens of 12 documents, 3 layers, 2 of 6 experts" in " ".join(text.split())
    assert "{" not in text
    assert "nan" not in text
    ET.fromstring((tmp_path / "worth_prefetching.svg").read_text())
    assert "Is it worth prefetching?" in capsys.readouterr().out


def test_the_committed_result_agrees_with_the_description_of_the_trace():
    """Recall of the gate over all choices is that of the trace's own table, which was counted without a replay."""
    text = (output.RESULTS / "worth_prefetching.md").read_text()
    stated = (output.TRACES / "tiny-mixtral-lookahead" / "README.md").read_text()
    own = next(line for line in stated.splitlines() if line.startswith("| recall@2 |")).split(" | ")
    for ahead in (1, 2):
        row = next(line for line in text.splitlines() if line.startswith(f"| `gate` | {ahead} | 2 |"))
        assert float(row.split(" | ")[3].split(" ")[0]) == pytest.approx(
            float(own[ahead].rstrip(" |")), abs=5e-4
        )
    ET.fromstring((output.RESULTS / "worth_prefetching.svg").read_text())
