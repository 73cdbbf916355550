"""Treatments: their names, and the experts that they force for each token."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from capture.intervene.treatment import Treatment, parse_treatments
from capture.positions import lay_out
from routestat.traces.metadata import Router

ROUTER = Router(5, 8, 2)


def test_padding_and_start_tokens_keep_what_they_chose():
    mask = [[1, 1, 1, 0], [1, 1, 1, 1]]
    layout = lay_out([3, 4], np.zeros((2, 4)), mask, first=[10, 0], skip=[1, 0])
    (treatment,) = parse_treatments(["12"], ROUTER, 0)
    pair, none = [1, 7], [-1, -1]
    assert treatment.subsets(layout).tolist() == [none, pair, pair, none, pair, pair, pair, pair]
    assert parse_treatments(["natural"], ROUTER, 0)[0].subsets(layout) is None


def test_random_subsets_are_uniform_and_belong_to_the_token_not_to_the_batch():
    treatment = Treatment(ROUTER, kind="random", seed=1)
    whole = treatment.subsets(lay_out([7], np.zeros((1, 30_000))))
    states = ROUTER.alphabet.rank(whole)
    expected = 30_000 / 28
    # 27 degrees of freedom: beyond 55.5 once in a thousand.
    assert ((np.bincount(states, minlength=28) - expected) ** 2 / expected).sum() < 55.5
    part = treatment.subsets(lay_out([7], np.zeros((1, 50)), first=[1000]))
    np.testing.assert_array_equal(part, whole[1000:1050])
    both = treatment.subsets(lay_out([6, 7], np.zeros((2, 20)), [[1] * 20, [1] * 9 + [0] * 11]))
    np.testing.assert_array_equal(both[20:29], whole[:9])
    assert not np.array_equal(both[:9], whole[:9])
    other = Treatment(ROUTER, kind="random", seed=2).subsets(lay_out([7], np.zeros((1, 50))))
    assert not np.array_equal(other, whole[:50])


def test_what_is_forced_is_named_by_state_or_experts_each_once():
    found = parse_treatments(["12", "7+1", "1,7", "random", "natural", "random"], ROUTER, 4)
    assert [(t.name, t.experts) for t in found] == [("12", (1, 7)), ("random", ()), ("natural", ())]
    assert found[1].record == {"do": "random", "state": None, "experts": [], "seed": 4}
    (wide,) = parse_treatments(["+".join(map(str, range(10)))], Router(0, 512, 10), 0)
    assert wide.name == "0+1+2+3+4+5+6+7+8+9"
    assert wide.state is None
    (single,) = parse_treatments(["3"], Router(0, 16, 1), 0)
    assert single.experts == (3,)
