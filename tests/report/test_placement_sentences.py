"""Sentences on placements: they say what the interval shows, and nothing more."""

import pytest

from routestat.report.placement_sentences import interval_words, judged, placement_sentences
from routestat.report.records.placement import results
from routestat.report.records.plain import plain
from tests.report.placement_cases import Optimality, findings


def said(**case):
    found = findings(**case)
    return placement_sentences(plain(results(found, ())))


@pytest.mark.parametrize(
    ("gain", "reach", "words"),
    [
        (0.3, 0.01, "It is better than the default order."),
        (-0.3, 0.01, "worse than the default order: keep that one"),
        (0.005, 0.01, "The interval includes 0: the default order is as good."),
        (-0.005, 0.01, "The interval includes 0: the default order is as good."),
        (0.3, None, "Whether that is chance could not be tested."),
    ],
)
@pytest.mark.parametrize("objective", ["balance", "affinity"])
def test_what_the_interval_of_a_gain_shows(objective, gain, reach, words):
    (sentence,) = said(objectives=(objective,), gains=(gain, gain), reach=reach, pins=False)
    assert words in sentence
    known = "no interval: 3 independent units" if reach is None else "95 % interval"
    assert known in sentence


def test_figures_of_both_objectives_stand_in_the_sentences():
    balance, affinity, between, pins = said()
    assert (
        "from 1.40 in the engines’ default order to 1.10 (gain 0.300, 95 % interval 0.290 … 0.310)" in balance
    )
    assert "0.455 stay on their device, where the default order has 0.255" in affinity
    assert "times the mean load" in between
    assert "1.50" in between
    assert "0.245" in between
    assert "the 3 experts of each layer" in pins
    assert "0.375" in pins


def test_what_loads_alone_would_keep_is_stated_where_it_is_known():
    record = plain(results(findings(), ()))
    assert "no dependence between layers" not in " ".join(placement_sentences(record))
    row = next(row for row in record["placements"] if row["objective"] == "affinity")
    row |= {"device_affinity_default_by_loads": 0.2512, "device_affinity_placed_by_loads": 0.3312}
    (sentence,) = (one for one in placement_sentences(record) if one.startswith("Affinity"))
    assert (
        "With these loads and no dependence between layers 0.331 would stay (0.251 in the default order)"
        in sentence
    )
    assert "busy experts share a device" in sentence
    row |= {"device_affinity_placed_by_loads": 0.2512}
    (sentence,) = (one for one in placement_sentences(record) if one.startswith("Affinity"))
    assert "busy experts" not in sentence
    assert "0.251 would stay (0.251 in the default order), so that the dependence" in sentence


def test_nodes_come_before_devices():
    _, nodes, devices, _ = said(nodes=2, pins=False)
    assert "0.700 stay on their node" in nodes
    assert "0.455 stay on their device" in devices


def test_the_distance_from_the_optimum_is_stated_where_it_is_known():
    assert "balance is 2.04 % from the optimum" in said()[0]
    best = said(optimality=Optimality(1.1, 1.1, 0.0, True, "milp"))[0]
    assert "No other placement is better for balance" in best
    assert "optimum" not in " ".join(said(optimality=Optimality(reason="too large")))


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ([-0.2, -0.1], "a cache is better than these pins"),
        ([0.1, 0.2], "these pins are better than that cache"),
        ([-0.1, 0.2], "neither is clearly better"),
        ([None, None], "whether that is chance could not be tested"),
    ],
)
def test_pins_are_compared_with_a_cache(difference, words):
    record = plain(results(findings(), ()))
    record["pins"]["hit_rate_less_lru_ci95"] = difference
    assert placement_sentences(record)[-1].endswith(f": {words}.")


def test_what_is_not_known_has_its_reason():
    record = plain(results(findings(), ()))
    balance, affinity = record["placements"]
    balance |= {"balance_gain": None, "balance_reason": "no documents are held out"}
    affinity |= {"device_affinity_gain": None, "device_affinity_reason": "there is one layer"}
    record["pins"] |= {"hit_rate": None, "reason": "no documents are held out"}
    first, second, pins = placement_sentences(record)
    assert first.startswith("What balance gains is not known: no documents are held out.")
    assert second.startswith("What affinity gains by device is not known: there is one layer.")
    assert pins == "What pinning serves is not known: no documents are held out."


def test_an_interval_in_words():
    assert interval_words([0.1, 0.2]) == "95 % interval 0.100 … 0.200"
    assert interval_words(None, "one document") == "no interval: one document"
    assert judged({"x_gain": None, "x_gain_ci95": None}, "x") == "Whether that is chance could not be tested."


@pytest.mark.parametrize(("default", "expected"), [(1.04, True), (1.06, False)])
def test_nearly_even_devices_are_said_to_be_so(default, expected):
    record = plain(results(findings(), ()))
    record["placements"][0]["balance_default"] = default
    assert ("nearly even already" in placement_sentences(record)[0]) is expected
