"""The memory in sentences: of planted chains, and by hand."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from routestat.inference.base.estimate import Estimates
from routestat.report.sentences import memory_sentences
from routestat.study.memory import Memory
from routestat.traces.metadata import Router
from tests.report.memory_cases import BEFORE, PLANTED, hand

TOO_FEW = (
    "Too few independent units were recorded to say whether there is memory or none "
    "(1 independent unit: no test or interval below 6)."
)

NOT_MEASURED = (
    "How long the memory is cannot be measured: that requires documents to fit on and others to hold out."
)

# About 3 bits: mean 3, standard error sqrt(1/5), so 3 ± 1.15 at 5 degrees of freedom.
UNCERTAIN = [2.0, 4.0, 2.0, 4.0, 2.0, 4.0]


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


def test_the_second_order_is_found_where_neither_layer_predicts_alone(planted):
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
def test_one_document_cannot_be_measured(reports, name):
    assert reports(name).results["memory"]["reading"] == [TOO_FEW]
    assert reports(name).page.table("contexts_mean") == []
    assert TOO_FEW in reports(name).page.text


def test_no_layers_at_all_say_so_too():
    assert memory_sentences(Memory((), None, None)) == [NOT_MEASURED]


def test_two_layers_have_one_step(reports):
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
    first = BEFORE | {"layer-1": UNCERTAIN}
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
def test_what_the_id_predicts_by_hand(beside, mostly):
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
            "departure from "
            "that chain is detected (p = 0.5).",
        ),
        (
            (0.5, 0.4, 0.6), 0.2, (0.3, 0.2, 0.4), 0.04,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.200: more than single steps imply.",
        ),
        (
            (0.5, 0.4, 0.6), 0.51, (-0.01, -0.02, 0.01), 0.5,
            "share 0.500 bits (0.400 … 0.600), where the chain of order 1 implies 0.510; over all horizons no "
            "departure from "
            "that chain is detected (p = 0.5).",
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


def test_few_tokens_for_the_states_leave_far_layers_unestimated(planted):
    memory = planted("order 1")
    few = replace(memory, horizons=replace(memory.horizons, sparse="plug-in information was off", p_all=0.01))
    assert memory_sentences(few)[-1] == (
        "The information between layers 4 apart cannot be estimated with so few tokens for the number of states."
    )


def test_an_approximate_p_is_called_approximate(planted):
    memory = planted("order 1")
    changed = {"p_all": 0.01, "log10_p_all": -2.0}
    for note, end in (
        ("few tokens for the states", "(log10 p = −2.00; that p is approximate)."),
        (None, "−2.00)."),
    ):
        rough = replace(memory, horizons=replace(memory.horizons, note=note, **changed))
        assert memory_sentences(rough)[-1].endswith(end)
