"""Sentences on a simulation say what the findings hold, and say why there is no interval."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from routestat.inference.base.estimate import Estimate, with_interval, without_interval
from routestat.report.numbers import number
from routestat.report.quantities import duration
from routestat.report.simulation_main import main_setting, mean_working_sets
from routestat.report.simulation_sentences import answers, percent, shown
from routestat.serving.settings import Hardware
from routestat.study.simulation_findings import CapacityPlan
from tests.report.simulation_cases import empty, one_document, simulation


def by_topic(findings):
    return {one.topic: one.text for one in answers(findings)}


def changed(findings, wanted, **fields):
    """Findings whose caches of a policy have other fields."""
    caches = [replace(one, **fields) if wanted(one) else one for one in findings.caches]
    return replace(findings, caches=tuple(caches))


def stalls(findings, low, high):
    """Findings whose prefetching has a stall between these limits."""
    found = with_interval((low + high) / 2, (high - low) / 4, 1e9, 12)
    return changed(findings, lambda one: one.setting.predictor == "ridge-all", stall_per_token=found)


def test_every_question_has_an_answer():
    topics = ["Cost", "Perfect knowledge", "Eviction", "Prefetching", "Hot set", "Working set", "Memory"]
    found = answers(simulation())
    assert [one.topic for one in found] == topics
    assert all(one.text and one.short for one in found)
    assert all(one.text.endswith(".") and "nan" not in one.text + one.short for one in found)


def test_the_cost_of_every_policy_is_said_with_its_interval():
    findings = simulation()
    text = by_topic(findings)["Cost"]
    for one in main_setting(findings).policies:
        assert shown(one.loads_per_token) in text
    assert "with 4 of 8 experts per layer in the cache (cold start)" in text
    assert "no interval" not in text


def test_the_gap_names_the_best_policy():
    findings = simulation()
    gap = main_setting(findings).gap
    text = by_topic(findings)["Perfect knowledge"]
    assert f"save {percent(gap.gap)} of the loads of decayed LFU" in text
    undefined = replace(gap, gap=without_interval(math.nan, 0, "there are no loads"))
    assert by_topic(replace(findings, gaps=(undefined,)))["Perfect knowledge"].endswith("there are no loads.")


def test_eviction_is_measured_against_what_perfect_knowledge_saves():
    findings = simulation()
    main = main_setting(findings)
    share = (main.best.loads - main.of("predictor").loads) / (main.best.loads - main.of("belady").loads)
    assert f"{number(100 * share)} % of what perfect knowledge would save" in by_topic(findings)["Eviction"]
    worse = changed(findings, lambda one: one.setting.policy == "predictor", misses=main.best.misses + 1)
    assert "saves nothing" in by_topic(worse)["Eviction"]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.02, "Worth it here"), (0.065, 0.075, "No clear gain here"), (0.2, 0.3, "Not worth it here")],
)
def test_the_verdict_on_prefetching_is_from_the_intervals_of_the_stall(low, high, verdict):
    # Without prefetching the stall is 68 to 71 ms.
    found = answers(stalls(simulation(), low, high))
    (one,) = [each for each in found if each.topic == "Prefetching"]
    assert one.text.startswith(verdict)
    assert one.short.startswith(verdict)


def test_prefetching_says_precision_recall_and_what_is_wasted():
    findings = simulation()
    text, best = by_topic(findings)["Prefetching"], main_setting(findings).best_prefetching
    assert f"{percent(best.precision)} of the prefetched experts are needed" in text
    assert f"{percent(best.recall)} of the needed ones that are not in the cache" in text
    assert (
        f"{shown(main_setting(findings).of('belady').stall_per_token, duration)} with perfect eviction"
        in text
    )
    assert "GB per token" in text


def test_without_the_machine_no_verdict_is_given():
    found = by_topic(simulation(hardware=Hardware()))
    assert "depends on the machine" in found["Prefetching"]
    assert not re.search(r"\bworth it\b|\bms\b|\bGB\b", found["Prefetching"], re.IGNORECASE)
    assert "--bandwidth" in found["Memory"]


def test_without_intervals_every_sentence_says_why():
    found = by_topic(one_document())
    for topic in ("Cost", "Perfect knowledge", "Eviction", "Prefetching", "Working set", "Memory"):
        assert "no interval: 1 independent unit" in found[topic], topic
    assert "clearly" not in " ".join(found.values())
    assert "not known: static pins are from other documents" in found["Hot set"]


def estimate(value, half):
    return Estimate(value, value - half, value + half, half / 2, 12)


@pytest.mark.parametrize(
    ("static", "lru", "words"),
    [
        (0.52, 0.7, ("In 6 of 6 layers there is", "Pin nothing: LRU is clearly better in 6")),
        (
            0.8,
            0.6,
            (
                "In 6 of 6 layers there is",
                "Pin them: LRU is clearly better in 0 of 6 layers, pinning in 6. "
                "The command place --pin 4 lists them.",
            ),
        ),
        (0.505, 0.5, ("There is no hot set in any layer", "Pins and LRU are alike")),
    ],
)
def test_the_hot_set_is_judged_by_intervals(static, lru, words):
    findings = simulation()
    sets = [replace(one, static=estimate(static, 0.01), lru=estimate(lru, 0.01)) for one in findings.hot_sets]
    text = by_topic(replace(findings, hot_sets=tuple(sets)))["Hot set"]
    assert all(each in text for each in words), text


@pytest.mark.parametrize(
    ("pinned", "verdict"),
    [
        (1, "Pins and LRU are alike in most layers: LRU is clearly better in 0 of 6 layers, pinning in 1."),
        (3, "Pins and LRU are alike in most layers"),
        (4, "Pin them"),
    ],
)
def test_one_layer_of_many_is_no_advice(pinned, verdict):
    findings = simulation()
    sets = [
        replace(one, static=estimate(0.8 if one.layer < pinned else 0.6, 0.01), lru=estimate(0.6, 0.01))
        for one in findings.hot_sets
    ]
    assert verdict in by_topic(replace(findings, hot_sets=tuple(sets)))["Hot set"]


def test_without_intervals_nothing_is_advised_on_pins():
    text = by_topic(simulation(n_units=3))["Hot set"]
    assert (
        "Not certain: LRU is better in 6 of 6 layers, pinning in 0 (no interval: 3 independent units" in text
    )
    assert "clearly" not in text


def test_the_working_set_is_that_of_the_mean_over_layers():
    findings = simulation()
    (one,) = [each for each in findings.working_sets if each.layer is None and each.tokens == 16]
    assert (
        f"16 consecutive tokens of a document need {shown(one.experts)}" in by_topic(findings)["Working set"]
    )
    of_layers = replace(
        findings, working_sets=tuple(each for each in findings.working_sets if each.layer is not None)
    )
    assert mean_working_sets(of_layers) == []
    short = replace(findings, working_sets=tuple(each for each in findings.working_sets if each.tokens == 1))
    assert by_topic(short)["Working set"].startswith("One token needs")


def test_the_memory_is_the_smallest_within_the_budget():
    findings = simulation()
    one = findings.plan.smallest
    text = by_topic(findings)["Memory"]
    assert f"has {one.slots_in_all} slots for experts (12.7 GB), 5 to 7 per layer" in text
    assert "at most 50.0 ms per token" in text
    none = CapacityPlan(findings.plan.sizes, 1e-6, None, "even all experts take longer")
    assert by_topic(replace(findings, plan=none))["Memory"].endswith("even all experts take longer.")
    assert "Memory" not in by_topic(
        replace(findings, plan=CapacityPlan(findings.plan.sizes, None, None, "none given"))
    )


def test_where_nothing_was_simulated_that_is_the_answer():
    assert by_topic(empty()) == {"Cost": "Nothing could be simulated: no policy was chosen."}
    findings = simulation(capacities=(4,))
    failed = changed(findings, lambda one: True, reason="too small")
    assert by_topic(failed)["Cost"] == "Nothing could be simulated: too small."


def test_an_interval_without_width_is_none():
    assert shown(Estimate(0.0, 0.0, 0.0, 0.0, 12)) == "0"
    assert shown(Estimate(0.5, np.nan, np.nan, np.nan, 1, "why")) == "0.500"
    assert percent(Estimate(0.5, 0.4, 0.6, 0.05, 12)) == "50.0 % (40.0 … 60.0 %)"
