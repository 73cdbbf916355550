"""Layers of two traces are matched by number, by their choices or by order, and it is said how."""

import numpy as np
import pytest

from routestat import RoutestatError, TraceMeta
from routestat.traces.metadata import routers_like
from routestat.traces.pairing.layer_matching import agreement_of, match_layers


def meta(layers, by="file"):
    return TraceMeta(routers_like(layers, 8, 2), extra={"layer_numbers": by})


def numbers(a, b, way="auto", wanted=None, agreement=None):
    pairs, notes = match_layers(a, b, wanted, way, lambda: agreement)
    return [(x.layer, y.layer) for x, y in pairs], notes


def test_numbers_that_both_sources_gave_are_taken():
    pairs, notes = numbers(meta([1, 2, 3]), meta([2, 3, 4], "user"))
    assert pairs == [(2, 2), (3, 3)]
    assert notes == ["layers 1, 4 are not in both traces and are left out"]


def test_counted_layers_go_in_order_and_it_is_said():
    a, b = meta([3, 4, 5]), meta([0, 1, 2], "reader")
    pairs, (note,) = numbers(a, b)
    assert pairs == [(3, 0), (4, 1), (5, 2)]
    assert (
        "layers 3-5 of A and 0-2 of B are matched in order, as the source of B does not number them" in note
    )
    assert "--match-layers number" in note
    with pytest.raises(RoutestatError, match=r"no layer of 0-5 is in both"):
        numbers(a, b, "number")
    pairs, _ = numbers(meta([0, 1, 2, 3]), b, "number")
    assert pairs == [(0, 0), (1, 1), (2, 2)]
    assert (
        "only their order in a file" in match_layers(meta([0, 1, 2]), b, None, "number", lambda: None)[1][0]
    )
    assert numbers(a, b, wanted=[4, 9])[0] == [(4, 1)]
    with pytest.raises(RoutestatError, match=r"no layer of 0 is in both traces: as A numbers them, 3-5 are"):
        numbers(a, b, wanted=[0])


def test_unequal_numbers_of_layers_are_refused_unless_choices_identify_them():
    a, b = meta([3, 4, 5, 6]), meta([0, 1, 2], "reader")
    with pytest.raises(
        RoutestatError, match=r"cannot be identified\. Name them with convert --layers"
    ) as caught:
        numbers(a, b)
    assert "\n" not in str(caught.value)
    with pytest.raises(RoutestatError, match="--match-layers order: A has 4 routers"):
        numbers(a, b, "order")
    with pytest.raises(RoutestatError, match="--match-layers is auto, number, order"):
        numbers(a, b, "name")
    agreement = np.full((4, 3), 0.05)
    agreement[[1, 2, 3], [0, 1, 2]] = 0.8
    pairs, (note,) = numbers(a, b, agreement=agreement)
    assert pairs == [(4, 0), (5, 1), (6, 2)]
    assert "by their choices in common documents" in note
    assert "3 of A are left out" in note
    assert [(y, x) for x, y in numbers(b, a, agreement=agreement.T)[0]] == pairs
    # Choices that agree nowhere, in two layers alike, or out of order are no evidence.
    for unclear in (agreement * 0.1, np.full((4, 3), 0.9), agreement[::-1]):
        with pytest.raises(RoutestatError, match="cannot be identified"):
            numbers(a, b, agreement=unclear)


def test_numbers_that_choices_contradict_are_doubted():
    a, b = meta([0, 1, 2]), meta([1, 2, 3])
    pairs, notes = numbers(a, b, agreement=np.eye(3))
    assert pairs == [(1, 1), (2, 2)]
    assert "by their choices in common documents, layers 0-2 of A are 1-3 of B" in notes[0]
    assert "if the numbers are wrong: --match-layers order" in notes[0]
    _, (note, _) = numbers(meta([3, 4, 5, 6]), meta([4, 5, 6]), agreement=np.eye(4, 3))
    assert "layers 3-5 of A are 4-6 of B; if the numbers are wrong: name them with convert --layers" in note
    assert len(numbers(a, b, agreement=np.eye(3, k=-1) + 0.01)[1]) == 1
    with pytest.raises(
        RoutestatError, match=r"A has 0-2, B has 5-7; .* layers 0-2 of A are 5-7 of B: .* order"
    ):
        numbers(a, meta([5, 6, 7]), agreement=np.eye(3))


def test_agreement_beyond_chance_is_counted_by_hand():
    a = np.array([[0, 5], [0, 5], [1, 5], [1, 5]])
    b = np.array([[0], [0], [1], [2]])
    # Three of four alike where (2·2 + 2·1)/16 are by chance; the other layer never.
    assert agreement_of(a, b) == pytest.approx(np.array([[(0.75 - 0.375) / 0.625], [0.0]]))
