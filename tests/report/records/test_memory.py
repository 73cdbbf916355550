"""The parts on memory: records against the findings, sentences against planted truths, pictures against values."""

import itertools
import math
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.forecast.factorised_fit import fit_factorised
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.estimate import Estimate, Estimates
from routestat.inference.information.mutual_information import InformationInterval
from routestat.inference.markov.order_selection import choose_order
from routestat.inference.markov.order_tests import OrderTests
from routestat.inference.smoothing.held_out import HeldOut
from routestat.report.figures import memory as memory_figures
from routestat.report.records.memory import memory_record, order_records
from routestat.report.sentences import memory_sentences
from routestat.study.conditional_dependence import ConditionalDependence
from routestat.study.contexts import CONTEXTS, LayerMemory
from routestat.study.layer_pairs import LayerPair
from routestat.study.layers import sample_of
from routestat.study.memory import Memory, measure_memory
from routestat.traces.metadata import Router
from routestat.traces.synthetic import chain, expert_chain, independent, second_order, to_trace

NOT_SMALL = "cmi_bits_shuffled, the noise floor, is not small against cmi_bits"
TOO_FEW = (
    "Too few independent units were recorded to say whether there is memory or none "
    "(1 independent unit: no test or interval below 6)."
)
NO_TELLING = (
    "How long the memory is cannot be measured: that takes groups of documents to count and others to hold "
    "out."
)


def shape(**other):
    return {"n_experts": 4, "top_k": 2, "layers": 5, "documents": 80, "mean_length": 60} | other


def memory_of(made):
    trace = to_trace(made)
    counts = count(trace, contexts=[Context(), Context.layer(1), Context.token(1)])
    board = fit_factorised(trace, counts)[0] if counts.states == "expert" else ()
    sample = sample_of(trace, counts, lambda *step: None)
    return measure_memory(trace, counts, sample, board, np.random.default_rng(0))


PLANTED = {
    "order 1": lambda rng: chain(coupling=0.7, rng=rng, **shape()),
    "order 2": lambda rng: second_order(noise=0.3, rng=rng, **shape()),
    "order 0": lambda rng: independent(rng=rng, **shape()),
    "experts": lambda rng: expert_chain(
        coupling=1.0, rng=rng, **shape(n_experts=16, top_k=4, layers=6, documents=40)
    ),
}


@pytest.fixture(scope="module")
def planted():
    done = {}

    def get(name):
        if name not in done:
            done[name] = memory_of(PLANTED[name](np.random.default_rng(7)))
        return done[name]

    return get


def hand(*layers, fitted=True):
    """A memory of layers whose log losses are given in bits per token: six groups, each of ten tokens."""
    made = []
    for number, losses in enumerate(layers):
        bits = {name: np.array(loss) * np.full(6, 10.0) for name, loss in losses.items()}
        scores = HeldOut(bits, {}, np.full(6, 10.0), {"nothing": ()} if fitted else {})
        over = [
            choose_order([scores.bits[name] for name in names if name in bits], scores.tokens)
            for names in (("nothing", "layer-1", "layer-2,layer-1"), ("nothing", "token-1"))
        ]
        made.append(LayerMemory(Router(number, 8, 2), scores, over[0], over[1], ()))
    return Memory(tuple(made), None, None)


# About 3 bits: mean 3, standard error sqrt(1/5), so 3 ± 1.15 at 5 degrees of freedom.
WAVERS = [2.0, 4.0, 2.0, 4.0, 2.0, 4.0]
BEFORE = {"nothing": 5.0, "token-1": 5.0}


# Records


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


def test_a_context_that_no_token_has_tells_nothing():
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


# Sentences


def test_a_chain_of_order_1_is_one_layer_long_and_holds(planted):
    said = memory_sentences(planted("order 1"))
    assert said[0] == (
        "Over layers the memory is one layer long, as far as these documents show; "
        "the order that predicts held-out documents best is order 1 at 3 of 3 layers."
    )
    assert re.search(r"; the layer before saves 0\.\d+ bits \(0\.\d+ … 0\.\d+\)\.$", said[1])
    assert re.match(
        r"Beyond that, the layer two before (saves .*, too uncertain|saves less than|loses)", said[2]
    )
    assert "Over tokens, the same layer's choice at the token before saves" in said[3]
    assert "too uncertain to claim" in said[3]
    assert "over all horizons no departure from that chain is detected (p = " in said[-1]
    assert len(said) == 5


def test_the_second_order_is_found_where_neither_layer_tells_alone(planted):
    memory = planted("order 2")
    said = memory_sentences(memory)
    assert said[0].startswith("Over layers the memory is two layers long, as far as these documents show; ")
    assert "order 2 at 3 of 3 layers." in said[0]
    assert re.search(r"the layer before saves \S+ bits \(.*\), too uncertain to claim\.$", said[1])
    bits = float(re.search(r"the layer two before saves (\S+) bits", said[2])[1])
    truth = PLANTED["order 2"](np.random.default_rng(7)).truth.cmi_bits[0]
    # What is learned of 6³ probabilities from 4,800 tokens falls short of the truth by as many as are learned.
    assert truth - 0.1 < bits < truth + 0.02
    # Four apart, X4 = 2 X0 + 3 X1 modulo 6 keeps some of X0, which steps of order 1 have lost.
    assert re.match(r"Layers 4 apart share 0\.\d+ bits ", said[-1])
    assert said[-1].endswith(
        "where the chain of order 1 implies less than 0.0001: more than single steps imply."
    )


def test_independent_layers_have_no_memory(planted):
    said = memory_sentences(planted("order 0"))
    assert said[0] == (
        "These documents show no memory over layers; the order that predicts held-out documents best is order 0 "
        "at 3 of "
        "3 layers."
    )
    assert not re.search(r"saves \S+ bits \([^)]*\)(?!, too uncertain to claim)", " ".join(said))
    assert re.match(r"Layers 4 apart share .* bits \(.*\), too uncertain to claim, ", said[-1])
    assert "no departure from that chain is detected" in said[-1]


def test_the_expert_view_reads_its_factorised_chain(planted):
    memory = planted("experts")
    said = memory_sentences(memory)
    assert said[0].startswith("Over layers the memory is one layer long, as far as these documents show")
    assert "choice of layers 4-5 costs" in said[1]
    assert re.search(r"the layer before saves 1\.\d+ bits", said[1])
    assert "the pair of layers three and four before" in said[2]
    assert "apart share" not in " ".join(said)


@pytest.mark.parametrize("name", ["one document", "one layer of one document"])
def test_one_document_says_that_it_cannot_be_told(reports, name):
    assert reports(name).results["memory"]["reading"] == [TOO_FEW]
    assert reports(name).page.table("contexts_mean") == []
    assert TOO_FEW in reports(name).page.text


def test_no_layers_at_all_say_so_too():
    assert memory_sentences(Memory((), None, None)) == [NO_TELLING]


def test_two_layers_ask_for_one_step(reports):
    memory = reports("two layers").results["memory"]
    assert (
        memory["reading"][0]
        == "Over layers the memory is one layer long or longer: no longer memory was tested."
    )
    assert "choice of layer 1 costs" in memory["reading"][1]
    assert not any("Beyond" in sentence or "apart share" in sentence for sentence in memory["reading"])
    assert memory["horizons_mean"] == []
    assert "No horizons: two layers" in reports("two layers").page.text


def test_ids_that_make_the_layers_say_so(reports):
    said = reports("token ids").results["memory"]["reading"]
    (sentence,) = [one for one in said if one.startswith("The token's own id saves ")]
    assert sentence.endswith("so most of what that layer predicts is due to the token id.")
    assert len(said) == 6
    assert not any("own id" in one for one in reports("states").results["memory"]["reading"])


def test_a_layer_without_tokens_is_passed_over(reports):
    memory = reports("layer without tokens").results["memory"]
    assert memory["reading"][0] == (
        "No token has the layer before known, so whether there is memory over layers cannot be measured."
    )
    assert memory["reading"][1].endswith(
        "clusters of documents as the units, approximate with 10 groups of them)."
    )


def test_a_last_layer_without_tokens_does_not_hide_the_others(reports):
    memory = reports("last layer without tokens").results["memory"]
    assert memory["contexts_mean_layers"] == [3]
    assert memory["reading"][0].startswith(
        "Over layers the memory is one layer long, as far as these documents show"
    )
    assert "choice of layer 3 costs 2." in memory["reading"][1]


def test_gains_in_words_by_hand():
    """5 bits alone; the layer before leaves 3 for sure, so saves 2; the one before it 0.5 more; the next costs 0.25."""
    first = BEFORE | {"layer-1": 3.0}
    second = first | {"layer-2,layer-1": 2.5}
    third = second | {"layer-3,layer-2,layer-1": 2.75, "layer-1,token-1": 3.0}
    said = memory_sentences(hand(BEFORE, first, second, third))
    assert said == [
        "Over layers the memory is two layers long, as far as these documents show; the order that predicts held-out "
        "documents best is order 2 at 2 of 2 layers.",
        "Without any context a choice of layer 3 costs 5.00 bits of log loss on held-out documents (95 % interval 5.00 "
        "… 5.00, clusters of documents as the units, approximate with 6 groups of them); the layer before saves 2.00 "
        "bits "
        "(2.00 … 2.00).",
        "Beyond that, the layer two before saves 0.500 bits (0.500 … 0.500); the layer three before loses 0.250 bits "
        "(0.250 … 0.250): its additional parameters cost more than they predict.",
        "Over tokens, the same layer's choice at the token before saves nothing; beside the layer before it saves "
        "nothing.",
    ]


def test_intervals_that_hold_zero_are_nothing_that_shows():
    """Groups save 3, 1, 3, 1 … of 5 bits with the layer before, and 1, −1, 1, −1 with the one before that."""
    first = BEFORE | {"layer-1": WAVERS}
    memory = hand(BEFORE, first, first | {"layer-2,layer-1": 3.0})
    said = memory_sentences(memory)
    reach = 2.570582 * math.sqrt(1 / 5)
    assert said[0].startswith(
        "Over layers the memory is one layer long, as far as these documents show; of orders 0 to 2,"
    )
    assert f"the layer before saves 2.00 bits ({2 - reach:.3f} … {2 + reach:.2f})" in said[1]
    assert f"saves 0.0000 bits (−{reach:.2f} … {reach:.2f}), too uncertain to claim." in said[2]
    assert "a part of that" not in said[2]


def test_gains_too_small_to_matter_are_no_memory():
    """Every group saves a ten-millionth of a bit: clear as can be, and nothing to anybody."""
    first = BEFORE | {"layer-1": 5.0 - 1e-7}
    memory = hand(BEFORE, first, first | {"layer-2,layer-1": 5.0})
    assert memory.mean_gain("layer-1", "nothing").low > 0
    said = memory_sentences(memory)
    assert said[0].startswith("These documents show no memory over layers")
    assert said[1].endswith("; the layer before saves less than 0.0001 bits.")
    assert said[2] == ("Beyond that, the layer two before saves less than 0.0001 bits.")
    # One of a ten-thousandth is shown as one.
    assert "saves 0.0002 bits" in memory_sentences(hand(BEFORE, BEFORE | {"layer-1": 4.9998}))[1]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 4, 8), "Layers before are counted among those analysed: 0, 4, 8."),
        ((1, 2, 4), "Layers before are counted among those analysed: 1-2, 4."),
        ((3, 4, 5), ""),
    ],
)
def test_layers_left_out_are_said(numbers, said):
    first = BEFORE | {"layer-1": 3.0}
    memory = hand(BEFORE, first, first | {"layer-2,layer-1": 2.5})
    layers = [replace(item, target=Router(n, 8, 2)) for item, n in zip(memory.layers, numbers, strict=True)]
    sentences = memory_sentences(replace(memory, layers=tuple(layers)))
    assert (sentences[-1] == said) if said else not any("counted among" in one for one in sentences)


def test_a_longer_factorised_chain_may_only_say_more():
    first = BEFORE | {"layer-1": 4.0}
    memory = hand(BEFORE, first, first | {"layer-2,layer-1": 3.0}, fitted=False)
    assert memory_sentences(memory)[2].endswith(
        "so a part of that may be what the shorter model could not represent."
    )
    assert "or longer: no longer memory was tested" in memory_sentences(memory)[0]


@pytest.mark.parametrize(("beside", "mostly"), [(2.2, True), (1.9, False)])
def test_what_the_id_tells_by_hand(beside, mostly):
    """The layer before saves 1 bit alone; 0.3 or 0.6 beside the id, which saves 2.5: less than half, or more."""
    losses = BEFORE | {"layer-1": 4.0, "token id": 2.5, "token id,layer-1": beside}
    sentence = memory_sentences(hand(BEFORE, losses))[-1]
    assert sentence.startswith(
        "The token's own id saves 2.50 bits (2.50 … 2.50); beside it the layer before saves 0."
    )
    assert sentence.endswith("is due to the token id.") == mostly


def last_of(band, value, low, high):
    """The band with other numbers at its end."""
    arrays = [np.array(getattr(band, name)) for name in ("value", "low", "high", "standard_error", "plugin")]
    for array, number in zip(arrays, (value, low, high, 0.0, value), strict=True):
        array[-1] = number
    return Estimates(*arrays)


@pytest.mark.parametrize(
    ("direct", "chained", "more", "p", "said"),
    [
        (
            (0.5, 0.4, 0.6), 0.2, (0.3, 0.2, 0.4), 0.5,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.200; over all horizons no "
            "departure "
            "from that chain shows (p = 0.5).",
        ),
        (
            (0.5, 0.4, 0.6), 0.2, (0.3, 0.2, 0.4), 0.04,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.200: more than single steps imply.",
        ),
        (
            (0.5, 0.4, 0.6), 0.51, (-0.01, -0.02, 0.01), 0.5,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.510; over all horizons no "
            "departure "
            "from that chain shows (p = 0.5).",
        ),
        (
            (0.0, -0.1, 0.1), 0.0, (0.0, -0.1, 0.1), 0.01,
            "share 0.0000 bits (−0.100 … 0.100), too uncertain to claim, where the chain of order 1 implies less than "
            "0.0001; over all horizons that chain does not hold (log10 p = −2.00).",
        ),
        (
            (0.5, 0.4, 0.6), math.nan, (math.nan,) * 3, math.nan, "share 0.500 bits (0.400 … 0.600).",
        ),
        (
            (0.5, 0.4, 0.6), 0.5, (0.0, -0.1, 0.1), math.nan,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.500; that chain could not "
            "be tested.",
        ),
    ],
)  # fmt: skip
def test_horizons_in_words(planted, direct, chained, more, p, said):
    memory = planted("order 1")
    found = memory.horizons
    changed = replace(
        found,
        mean_direct_bits=last_of(found.mean_direct_bits, *direct),
        mean_chain_bits=last_of(found.mean_chain_bits, chained, chained, chained),
        mean_difference_bits=last_of(found.mean_difference_bits, *more),
        p_all=p,
        log10_p_all=math.log10(p),
        note=None,
    )
    assert memory_sentences(replace(memory, horizons=changed))[-1] == f"Layers 4 apart {said}"


def test_few_tokens_for_the_states_leave_far_layers_untold(planted):
    memory = planted("order 1")
    few = replace(memory, horizons=replace(memory.horizons, sparse="plug-in information was off", p_all=0.01))
    assert memory_sentences(few)[-1] == (
        "The information between layers 4 apart cannot be estimated with so few tokens for the number of states."
    )


def test_a_rough_p_is_called_rough(planted):
    memory = planted("order 1")
    changed = {"p_all": 0.01, "log10_p_all": -2.0}
    for note, end in (
        ("few tokens for the states", "(log10 p = −2.00; that p is approximate)."),
        (None, "−2.00)."),
    ):
        rough = replace(memory, horizons=replace(memory.horizons, note=note, **changed))
        assert memory_sentences(rough)[-1].endswith(end)


# Pictures


def errorbars(axes):
    return [box for box in axes.containers if isinstance(box, ErrorbarContainer)]


def ends_of(box):
    (bars,) = [artist for artist in box.lines[2] if isinstance(artist, LineCollection)]
    return [(segment[0][1], segment[1][1]) for segment in bars.get_segments()]


@pytest.mark.parametrize("name", ["order 1", "experts"])
def test_context_lines_stand_at_their_values(planted, name):
    memory = planted(name)
    losses, gains = memory_figures.contexts(memory).axes
    drawn = {box.get_label(): box for box in errorbars(losses)}
    there = {context for item in memory.layers for context in item.scores.bits}
    assert list(drawn) == [CONTEXTS[context].words for context in CONTEXTS if context in there]
    for context in there:
        known = [(at, item) for at, item in enumerate(memory.layers) if context in item.scores.bits]
        line = drawn[CONTEXTS[context].words].lines[0]
        found = [item.log_loss(context) for _, item in known]
        np.testing.assert_array_equal(line.get_xdata(), [at for at, _ in known])
        np.testing.assert_allclose(line.get_ydata(), [loss.value for loss in found])
        np.testing.assert_allclose(ends_of(drawn[CONTEXTS[context].words]), [(x.low, x.high) for x in found])
        assert losses.get_ylim()[0] == 0
        assert losses.get_ylim()[1] > max(loss.high for loss in found)
    (box,) = errorbars(gains)
    second = [item.over_layers.gains[1] for item in memory.layers[2:]]
    np.testing.assert_allclose(box.lines[0].get_ydata(), [gain.value for gain in second])
    np.testing.assert_allclose(ends_of(box), [(gain.low, gain.high) for gain in second], atol=1e-12)
    np.testing.assert_array_equal(box.lines[0].get_xdata(), np.arange(2, len(memory.layers)))


def test_lines_of_contexts_differ_in_colour_dash_or_mark(planted):
    axes = memory_figures.contexts(planted("order 1")).axes[0]
    looks = [
        (box.lines[0].get_color(), box.lines[0].get_linestyle(), box.lines[0].get_marker())
        for box in errorbars(axes)
    ]
    assert len(set(looks)) == len(looks) == 7
    # Even where one layer leaves no line to see, marks and colours distinguish them.
    assert len({(colour, mark) for colour, _, mark in looks}) == len(looks)


def test_one_layer_has_one_panel_and_its_points_in_sight(reports):
    figure = memory_figures.contexts(reports("one layer").study.memory)
    (axes,) = figure.axes
    for box in errorbars(axes):
        assert 0 < max(high for _, high in ends_of(box)) < axes.get_ylim()[1]


def test_horizons_stand_at_their_values(planted):
    found = planted("order 1").horizons
    (axes,) = memory_figures.horizons(planted("order 1")).axes
    (counted,) = errorbars(axes)
    direct, implied = found.mean_direct_bits, found.mean_chain_bits
    np.testing.assert_array_equal(counted.lines[0].get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(counted.lines[0].get_ydata(), direct.value)
    np.testing.assert_allclose(ends_of(counted), np.column_stack([direct.low, direct.high]))
    (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed.get_ydata(), implied.value)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "counted",
        "implied by the chain of order 1",
    ]


def test_where_nothing_can_be_drawn_a_sentence_says_why(reports, planted):
    alone = reports("one document").study.memory
    assert memory_figures.contexts(alone) == (
        "No context could be scored: that requires documents to fit on and others to hold out."
    )
    assert memory_figures.horizons(alone).startswith(
        "No horizons could be measured: 1 independent unit: no test or interval"
    )
    assert (
        memory_figures.horizons(reports("one layer").study.memory)
        == "No horizons: one layer: there is no gap."
    )
    assert memory_figures.horizons(planted("experts")).startswith(
        "No horizons: the expert view's chain walks"
    )
    assert memory_figures.contexts(Memory((), None, None)).startswith("No context could be scored")


def test_no_text_of_the_pictures_is_cut_or_under_8_points(planted, reports):
    drawn = [
        memory_figures.contexts(planted("experts")),
        memory_figures.contexts(reports("token ids").study.memory),
        memory_figures.horizons(planted("order 1")),
    ]
    for figure in drawn:
        figure.canvas.draw()
        wide, high = figure.canvas.get_width_height()
        for text in figure.findobj(lambda artist: hasattr(artist, "get_fontsize")):
            if text.get_text() and text.get_visible():
                box = text.get_window_extent()
                assert text.get_fontsize() >= 8
                assert -1 <= box.x0 < box.x1 <= wide + 1, text.get_text()
                assert -1 <= box.y0 < box.y1 <= high + 1, text.get_text()
