"""The records of the memory are the findings, and what is null has a reason."""

import itertools
import math
from dataclasses import fields, replace

import numpy as np
import pytest

from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.estimate import Estimate
from routestat.inference.information.mutual_information import InformationInterval
from routestat.inference.markov.order_tests import OrderTests
from routestat.report.figures import memory as memory_figures
from routestat.report.records.memory import memory_record, order_records
from routestat.report.sentences import memory_sentences
from routestat.study.conditional_dependence import ConditionalDependence
from routestat.study.contexts import CONTEXTS
from routestat.study.layer_pairs import LayerPair
from routestat.study.memory import Memory
from routestat.traces.metadata import Router
from tests.report.memory_cases import BEFORE, PLANTED, hand, memory_of

NOT_SMALL = "cmi_bits_shuffled, the noise floor, is not small against cmi_bits"


def test_every_context_has_words_a_shorter_one_and_a_line():
    for name, spec in CONTEXTS.items():
        assert spec.name == name
        assert set(spec.columns) == set(name.split(",")) - {"nothing"}
        assert spec.nested[0] == ()
        assert spec.nested[-1] == spec.columns
        assert (spec.shorter == "") == (name == "nothing")
        if spec.shorter:
            assert set(CONTEXTS[spec.shorter].columns) < set(spec.columns)
    assert len({spec.words for spec in CONTEXTS.values()}) == len(CONTEXTS)
    assert len({memory_figures.line_of(name) for name in CONTEXTS}) == len(CONTEXTS)


def limits(one):
    return [one.low, one.high]


def test_order_records_are_the_findings(reports):
    study, records = reports("states").study, reports("states").results["order"]
    assert [(r["source"], r["via"], r["target"]) for r in records] == [(0, 1, 2), (1, 2, 3)]
    few = f"{NOT_SMALL}: too few tokens for the number of states to estimate what the layer before adds"
    for record, layer, part in zip(records, study.memory.layers[2:], study.pairs[1:], strict=True):
        tests, over, found = layer.tests, layer.over_layers, part.skip.information
        assert record == {
            "source": record["source"],
            "via": record["via"],
            "target": layer.target.layer,
            "source_router": f"L0{record['source']}",
            "via_router": f"L0{record['via']}",
            "target_router": layer.target.name,
            "mi_bits": part.skip.unconditional_bits,
            "cmi_bits": found.mi_bits,
            "cmi_bits_ci95": limits(found),
            "cmi_bits_shuffled": part.skip.shuffled_bits,
            "cmi_share": None,
            "interaction_bits": part.skip.unconditional_bits - found.mi_bits,
            "p_clustered": layer.clustered.p_clustered,
            "log10_p_clustered": layer.clustered.log10_p_clustered,
            "g": tests.g,
            "dof": tests.dof,
            "log10_p_iid": tests.log10_p_g_iid,
            "p_resampled_iid": tests.p_resampled_iid,
            "bic_gain_tokens": tests.bic_tokens,
            "bic_gain_documents": tests.bic_documents,
            "forward_code_gain_nats": layer.forward_code_gains[1],
            "heldout_log_loss_bits": [loss.value for loss in over.log_loss],
            "heldout_log_loss_bits_ci95": [limits(loss) for loss in over.log_loss],
            "heldout_gain_bits": over.gains[1].value,
            "heldout_gain_bits_ci95": limits(over.gains[1]),
            "chosen_order": over.chosen,
            "reason": NOT_SMALL,
            "caution": f"{few}; {layer.clustered.note}",
            "cautions": {
                "cmi_bits": few,
                "interaction_bits": few,
                "log10_p_clustered": layer.clustered.note,
            },
        }


def pairs_of(cmi, low, high, nothing, adjacent=0.5):
    """Pairs of three layers with such information, and such information given the layer between."""
    found = InformationInterval(Estimate(cmi, low, high, 0.0, 40, plugin=cmi), 0.95, 100)
    test = StratifiedIndependence(0.5, math.log10(0.5), 1.0, 100, 40, 1)
    routers = [Router(layer, 4, 2) for layer in range(3)]
    empty = dict.fromkeys(field.name for field in fields(LayerPair))
    total = InformationInterval(Estimate(adjacent, 0.0, 1.0, 0.0, 40, plugin=adjacent), 0.95, 100)
    skip = ConditionalDependence(found, 0.0, nothing, test)
    first, second = (
        LayerPair(**empty | {"source": a, "target": b, "information": total, "skip": skip})
        for a, b in itertools.pairwise(routers)
    )
    return [replace(first, skip=None), second]


@pytest.mark.parametrize(
    ("cmi", "low", "high", "nothing", "adjacent", "share", "reason", "caution"),
    [
        (0.5, 0.4, 0.6, 0.01, 0.5, 0.5, None, False),
        (0.5, 0.4, 0.6, -0.01, -0.1, 1.0, None, False),
        # More than a fifth, of either sign; or touched by the interval.
        (0.5, 0.4, 0.6, 0.11, 0.5, None, "not small", True),
        (0.5, 0.4, 0.6, -0.11, 0.5, None, "not small", True),
        (0.5, 0.05, 0.95, 0.06, 0.5, None, "not small", True),
        # Nothing shows: an interval that holds zero has no share, and is wide enough for its error or not.
        (0.01, -0.01, 0.03, 0.01, 0.5, None, "contains zero", False),
        (0.01, -0.01, 0.03, 0.05, 0.5, None, "contains zero", True),
        (-0.05, -0.06, -0.04, 0.05, 0.5, None, "contains zero", True),
        (0.0, 0.0, 0.0, 0.0, 0.0, None, "contains zero", False),
    ],
)
def test_the_share_and_its_caution_by_hand(cmi, low, high, nothing, adjacent, share, reason, caution):
    (record,) = order_records(pairs_of(cmi, low, high, nothing, adjacent), Memory((), None, None))
    assert (record["cmi_bits_shuffled"], record["cmi_share"]) == (nothing, share)
    assert (reason in record["reason"]) if reason else "cmi_bits" not in record["reason"]
    assert ("caution" in record) == caution


def three_layers(known):
    """Of a memory in which the last layer has such shares of its contexts."""
    first = BEFORE | {"layer-1": 3.0}
    memory = hand(BEFORE, first, first | {"layer-2,layer-1": 2.5})
    rough = StratifiedIndependence(
        0.5, math.log10(0.5), 1.0, 100, 40, 1, None, "few tokens for so many states"
    )
    last = replace(memory.layers[2], known=known, forward_code_gains=(1.0, 2.0), clustered=rough)
    tests = OrderTests(n_tokens=40, n_documents=4, resamples=0)
    return replace(memory, layers=(*memory.layers[:2], replace(last, tests=tests)))


def test_cautions_of_the_clustered_test_are_passed_on():
    (record,) = order_records(pairs_of(0.5, 0.4, 0.6, 0.0), three_layers({}))
    assert record["caution"] == "few tokens for so many states"
    assert record["forward_code_gain_nats"] == 2.0
    assert record["chosen_order"] == 2


def test_contexts_that_tokens_lack_are_said():
    shares = {"nothing": 1.0, "layer-1": 0.95, "layer-2,layer-1": 0.9, "token-1": 1.0}
    memory = three_layers(shares)
    (order,) = order_records(pairs_of(0.5, 0.4, 0.6, 0.0), memory)
    said = "90 % of the tokens have this context (two layers before); the others were predicted from a shorter one"
    assert order["caution"].endswith(said)
    assert order["chosen_order"] == 2
    record = memory_record(memory)
    for rows in (record["contexts"], record["contexts_mean"]):
        assert [(row["context"], row["caution"]) for row in rows if "caution" in row] == [
            ("layer-2,layer-1", said)
        ]


def test_a_context_that_no_token_has_predicts_nothing():
    memory = three_layers({"nothing": 1.0, "layer-1": 1.0, "layer-2,layer-1": 0.0, "token-1": 0.0})
    (order,) = order_records(pairs_of(0.5, 0.4, 0.6, 0.0), memory)
    assert order["chosen_order"] is order["forward_code_gain_nats"] is order["heldout_gain_bits"] is None
    assert "no token has this context: two layers before" in order["reason"]
    record = memory_record(memory)
    assert order["heldout_log_loss_bits"][:2] == [
        loss.value for loss in memory.layers[2].over_layers.log_loss[:2]
    ]
    assert math.isnan(order["heldout_log_loss_bits"][2])
    # Its log loss is that of a shorter one, and says nothing of this one.
    unknown = [row for row in record["contexts_mean"] if math.isnan(row["log_loss_bits"])]
    assert [row["reason"] for row in unknown] == [
        "no token has this context: token before",
        "no token has this context: two layers before",
    ]
    assert all(np.isnan([row["gain_bits"], *row["gain_bits_ci95"]]).all() for row in unknown)
    assert {row["context"] for row in record["contexts"] if math.isnan(row["log_loss_bits"])} == {
        "token-1",
        "layer-2,layer-1",
    }
    last = record["tokens_order"][-1]
    assert math.isnan(last["gain_bits_order_1"])
    assert last["chosen_order"] is None
    assert last["reason"] == "no token has this context: token before"
    assert (
        memory_sentences(memory)[0]
        == "Over layers the memory is one layer long or longer: no longer memory was tested."
    )
    assert not any(
        "token before" in sentence or "two before" in sentence for sentence in memory_sentences(memory)
    )


def test_records_name_their_routers_where_layers_have_several():
    memory = memory_of(PLANTED["order 1"](np.random.default_rng(7)))
    routers = [Router(place // 2, 4, 2, f"L0{place // 2}-{place % 2}") for place in range(5)]
    layers = tuple(replace(item, target=own) for item, own in zip(memory.layers, routers, strict=True))
    memory = replace(memory, layers=layers)
    record = memory_record(memory)
    names = [router.name for router in routers]
    assert [row["router"] for row in record["tokens_order"]] == names
    assert list(dict.fromkeys(row["router"] for row in record["contexts"])) == names
    assert [(r["source_router"], r["target_router"]) for r in record["horizons"] if r["horizon"] == 3] == [
        (names[0], names[3]),
        (names[1], names[4]),
    ]
    assert record["reading"][-1] == (
        "Routers are counted as layers of their own, also two of one layer: L00-0, L00-1, L01-0, L01-1, L02-0."
    )


def test_memory_record_is_the_findings(planted):
    memory = planted("order 1")
    record = memory_record(memory)
    every = [(item, name) for item in memory.layers for name in item.scores.bits]
    assert len(record["contexts"]) == len(every) == 3 + 5 + 6 + 7 + 7
    for row, (item, name) in zip(record["contexts"], every, strict=True):
        loss = item.log_loss(name)
        assert row == {
            "layer": item.target.layer,
            "router": item.target.name,
            "context": name,
            "log_loss_bits": loss.value,
            "log_loss_bits_ci95": limits(loss),
        }
    assert record["contexts_mean_layers"] == [3, 4]
    for row in record["contexts_mean"]:
        loss = memory.mean_log_loss(row["context"])
        assert (row["log_loss_bits"], row["log_loss_bits_ci95"]) == (loss.value, limits(loss))
        # Means over two layers of the same tokens: by hand.
        two = [item.log_loss(row["context"]).value for item in memory.layers[3:]]
        assert row["log_loss_bits"] == pytest.approx(np.mean(two))
        if row["context"] != "nothing":
            gain = memory.mean_gain(row["context"], row["shorter"])
            assert (row["gain_bits"], row["gain_bits_ci95"]) == (gain.value, limits(gain))
    for row, item in zip(record["tokens_order"], memory.layers, strict=True):
        gains = item.over_tokens.gains
        assert row["layer"] == item.target.layer
        assert row["chosen_order"] == item.over_tokens.chosen
        for order in (1, 2):
            assert row[f"gain_bits_order_{order}"] == gains[order - 1].value
            assert row[f"gain_bits_order_{order}_ci95"] == limits(gains[order - 1])
    assert record["reading"] == memory_sentences(memory)
    assert "reason" not in record


def test_horizon_records_are_the_findings(planted):
    found, record = planted("order 1").horizons, memory_record(planted("order 1"))
    names = {
        "mi_bits": "direct_bits",
        "mi_bits_chain": "chain_bits",
        "difference_bits": "difference_bits",
        "discrepancy_bits": "discrepancy_bits",
    }
    assert [(r["source"], r["target"]) for r in record["horizons"]] == [
        (0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (1, 3), (2, 4), (0, 3), (1, 4), (0, 4),
    ]  # fmt: skip
    for row in record["horizons"]:
        assert (row["source_router"], row["target_router"]) == (f"L0{row['source']}", f"L0{row['target']}")
        at = row["source"], row["horizon"] - 1
        assert row["target"] - row["source"] == row["horizon"]
        assert row["n_tokens"] == found.n_tokens[at]
        for key, name in names.items():
            band = getattr(found, name)
            assert [row[key], *row[key + "_ci95"]] == [band.value[at], band.low[at], band.high[at]]
        if row["horizon"] > 1:
            assert row["p_clustered"] == found.p_clustered[at]
            assert row["log10_p_clustered"] == found.log10_p_clustered[at]
            assert "reason" not in row
    for column, row in enumerate(record["horizons_mean"]):
        for key, name in names.items():
            band = getattr(found, f"mean_{name}")
            assert [row[key], *row[key + "_ci95"]] == [
                band.value[column],
                band.low[column],
                band.high[column],
            ]
        if column:
            assert row["log10_p_clustered"] == found.log10_p_combined[column]
            assert "reason" not in row
        else:
            assert math.isnan(row["log10_p_clustered"])
            assert row["reason"] == "one layer on, counted and implied are the same by definition"


def test_homogeneity_record_is_the_finding(planted):
    found, record = planted("order 1").homogeneity, memory_record(planted("order 1"))["homogeneity"]
    for name, even in (("mi", found.information), ("conditional_entropy", found.conditional_entropy)):
        slope = even.slope_bits_per_layer
        assert record[f"{name}_range_bits"] == even.range_bits
        assert record[f"{name}_spread_bits"] == even.spread_bits
        assert record[f"{name}_slope_bits_per_layer"] == slope.value
        assert record[f"{name}_slope_bits_per_layer_ci95"] == [slope.low, slope.high]
        assert record[f"{name}_log10_p_clustered"] == even.log10_p_clustered


def records_in(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from records_in(item)


def test_whatever_is_null_has_a_reason(any_report):
    results = any_report.results
    for record in records_in([results["order"], results["memory"]]):
        values = itertools.chain.from_iterable(
            value if isinstance(value, list) else [value] for value in record.values()
        )
        if None in values:
            assert record["reason"], record


def test_the_expert_view_says_what_it_leaves_out(reports):
    results = reports("experts").results
    (order,) = results["order"]
    assert order["cmi_bits"] is order["log10_p_clustered"] is order["g"] is None
    assert (
        order["reason"] == "expert view: too many subsets to estimate the information given the layer between"
    )
    assert order["heldout_gain_bits"] is not None
    memory = results["memory"]
    assert memory["horizons"] == memory["horizons_mean"] == []
    assert "no product of its steps" in memory["reason"]
    # The first layer has nothing before it, the second one layer, the third two.
    known = [{row["context"] for row in memory["contexts"] if row["layer"] == layer} for layer in range(3)]
    tokens = {"nothing", "token-1", "token-2,token-1"}
    first = tokens | {"layer-1", "layer-1,token-1"}
    assert known == [tokens, first, first | {"layer-2,layer-1"}]
