"""Repeats between adjacent tokens: by hand, against enumeration, and on choices that are known to be random."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest

from analyses.repeats import (
    Pairs,
    at_loads,
    by_token,
    measure,
    meet,
    meeting,
    pairs_of,
    uniform_chance,
    within_document,
)

PAIRS = np.array(list(combinations(range(4), 2)))


@dataclass
class SmallSample:
    """The rows that pairs are made of."""

    document: np.ndarray
    token: np.ndarray
    follows: np.ndarray
    group: np.ndarray

    def __len__(self):
        return len(self.token)


def test_the_random_baselines_of_the_paper():
    assert uniform_chance(8, 1) == pytest.approx(1 / 8)
    assert uniform_chance(8, 2) == pytest.approx(1 - 15 / 28)
    assert round(100 * uniform_chance(8, 2)) == 46


def test_uniform_chance_is_the_mean_over_all_pairs_of_subsets():
    assert uniform_chance(4, 2) == pytest.approx(meeting(PAIRS).mean())


def test_subsets_meet_in_whatever_slot():
    one, other = np.array([[0, 1], [0, 1], [2, 3]]), np.array([[2, 0], [2, 3], [3, 2]])
    assert meet(one, other).tolist() == [True, False, True]


def test_two_tokens_of_a_document_by_enumeration():
    state, document = np.array([0, 1, 5, 5, 0]), np.array([7, 7, 7, 9, 9])
    found = within_document(PAIRS, state, document)
    # Document 7: {0,1} and {0,2} meet, {0,1} and {2,3} do not, {0,2} and {2,3} do; document 9: {2,3} and {0,1} do not.
    assert found == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0, 0])


def test_a_document_of_one_token_has_no_pair():
    assert np.isnan(within_document(PAIRS, np.array([0]), np.array([3]))).all()


def test_at_loads_is_the_sum_of_squares_for_one_slot_and_exact_for_few_subsets():
    rng = np.random.default_rng(0)
    assert at_loads(np.array([[0], [0], [1], [2]]), 3, rng) == pytest.approx(0.25 + 2 / 16)
    assert at_loads(PAIRS, 4, rng) == pytest.approx(uniform_chance(4, 2))


def test_at_loads_by_draws_is_near_the_uniform_chance():
    subsets = np.stack([(np.arange(3) + start) % 32 for start in range(32)])
    assert at_loads(subsets, 32, np.random.default_rng(1)) == pytest.approx(uniform_chance(32, 3), abs=0.01)


def test_what_the_token_ids_predict_comes_from_the_other_documents():
    # Documents 0 and 1; ids 5 and 6 in both, id 7 in one only.
    document = np.array([0, 0, 0, 1, 1, 1, 1])
    token = np.array([5, 6, 7, 5, 5, 6, 6])
    state = np.array([0, 1, 2, 0, 5, 5, 0])
    key, place = np.unique(document * 8 + token, return_inverse=True)
    later = np.array([1, 2, 4, 5, 6])
    pairs = Pairs(document, later, document[later], token, place, key % 8)
    found = by_token(PAIRS, state, pairs)
    # 5 then 6 in document 0: in the other one id 5 is {0,1} or {2,3} and id 6 {2,3} or {0,1}: they meet in half.
    assert found[0] == pytest.approx(0.5)
    # Id 7 is in one document only; 5, 5 and 6, 6 are the same id; 5 then 6 in document 1 is {0,1} then {0,2}.
    assert np.isnan(found[[1, 2, 4]]).all()
    assert found[3] == pytest.approx(1.0)


def documents_with_loads(rng, follow=0.0, documents=40, tokens=60):
    """Choices of 2 of 4 whose distribution is each document's own; a token repeats the one before with `follow`."""
    state = np.concatenate(
        [rng.choice(6, tokens, p=rng.dirichlet(np.ones(6))) for _ in range(documents)]
    ).reshape(documents, tokens)
    for at in range(1, tokens):
        state[:, at] = np.where(rng.random(documents) < follow, state[:, at - 1], state[:, at])
    document = np.repeat(np.arange(documents), tokens)
    later = np.flatnonzero(np.arange(documents * tokens) % tokens)
    nothing = np.empty(0, np.int64)
    return state.ravel(), Pairs(document, later, document[later], nothing, nothing, nothing)


def test_without_order_the_excess_over_a_document_keeps_its_level_where_that_over_the_loads_does_not():
    rng, outside, over_loads = np.random.default_rng(0), 0, 0
    for _ in range(200):
        state, pairs = documents_with_loads(rng)
        one = measure(0, PAIRS, state, pairs, 4, rng)
        outside += not one.excess.low <= 0 <= one.excess.high
        over_loads += one.observed.low > one.loads
        assert np.isnan(one.by_token)
    assert 2 <= outside <= 20  # nominally 10
    assert over_loads > 50  # nominally 5


def test_planted_repeats_are_found_with_their_size():
    rng = np.random.default_rng(1)
    state, pairs = documents_with_loads(rng, follow=0.3)
    one = measure(3, PAIRS, state, pairs, 4, rng)
    assert one.layer == 3
    # Three in ten repeat; the others meet as two tokens of a document do, of which adjacent ones are a part too.
    assert one.excess.low > 0
    assert one.excess.value == pytest.approx(0.3 * (1 - one.document), abs=0.04)


def test_choices_that_follow_the_token_id_have_no_excess_over_the_ids():
    """Each id has its own distribution, and an id is often followed by itself: repeats that ids explain."""
    rng = np.random.default_rng(2)
    given = rng.dirichlet(np.full(6, 0.3), size=8)
    documents, tokens = 80, 60
    token = rng.integers(0, 8, (documents, tokens))
    for at in range(1, tokens):
        token[:, at] = np.where(rng.random(documents) < 0.5, token[:, at - 1] ^ 1, token[:, at])
    given[1::2] = given[::2]
    token = token.ravel()
    state = np.array([rng.choice(6, p=given[one]) for one in token])
    document = np.repeat(np.arange(documents), tokens)
    later = np.flatnonzero(np.arange(len(token)) % tokens)
    key, place = np.unique(document * 8 + token, return_inverse=True)
    one = measure(0, PAIRS, state, Pairs(document, later, document[later], token, place, key % 8), 4, rng)
    assert one.excess.low > 0
    assert one.beyond.low <= 0 <= one.beyond.high
    assert one.by_token == pytest.approx(one.unlike.value, abs=0.02)


def test_pairs_of_kept_documents_are_those_of_the_kept_rows():
    sample = SmallSample(
        document=np.array([0, 0, 1, 1, 1]),
        token=np.array([3, 4, 3, 3, 5]),
        follows=np.array([False, True, False, True, True]),
        group=np.array([0, 0, 1, 1, 1]),
    )
    every, kept = pairs_of(sample), pairs_of(sample, sample.document == 1)
    assert every.later.tolist() == [1, 3, 4]
    assert (kept.later.tolist(), kept.group.tolist(), kept.token.tolist()) == ([1, 2], [1, 1], [3, 3, 5])
    assert kept.here[kept.place].tolist() == [3, 3, 5]
    without = pairs_of(SmallSample(sample.document, np.full(5, -1), sample.follows, sample.group))
    assert without.token.size == 0
