"""A planted topical and a planted lexical expert are told apart; without either nothing is found."""

import math

import numpy as np
import pytest

from routestat.counting.labelled_tokens import count_choices
from routestat.structure.half_samples import LEAST_CELLS, half_stability, halves_of
from routestat.structure.label_tests import LabelScores
from routestat.structure.shown_tokens import shown_tokens
from routestat.structure.specialisation import specialise
from routestat.structure.token_labels import DOMAIN, LEXICAL, label_tokens
from tests.structure.label_cases import planted


def measured(seed=0, view="subset", **how):
    made, sample, texts = planted(seed, **how)
    rng = np.random.default_rng(seed)
    router = sample.routers[0]
    choices, slots = (router.alphabet.size, 1) if view == "subset" else (router.n_experts, router.top_k)
    labels = label_tokens(sample, texts, choices, slots, rng)
    halves = halves_of(labels.meetings.n_groups, rng)
    of = count_choices(sample, router, view, labels.meetings)
    return made.truth.planted, sample, labels, of, specialise(of, labels, halves)


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_specialists_are_told_apart(view):
    # Domains also differ in how often they use the classes.
    truth, _, _, _, found = measured(
        4, view, topical=6.0, lexical=6.0, mixing=0.8, document_effect=0.3, documents=120, mean_length=120
    )
    topical, lexical = truth["topical_expert"][0], truth["lexical_expert"][0]
    domain, kind = truth["topical_domain"][0], truth["lexical_class"][0]
    assert np.nanargmax(found.domain_cells.z) == np.ravel_multi_index(
        (domain, topical), found.domain_cells.z.shape
    )
    assert np.nanargmax(found.lexical_cells.z) == np.ravel_multi_index(
        (kind, lexical), found.lexical_cells.z.shape
    )
    assert found.expert_domain.value.argmax() == topical
    assert found.expert_lexical.value.argmax() == lexical
    # Each has nearly nothing of the other kind.
    assert found.expert_lexical.value[topical] < 0.2 * found.expert_domain.value[topical]
    assert found.expert_domain.value[lexical] < 0.2 * found.expert_lexical.value[lexical]
    assert found.domain_given_test.log10_p < -4
    assert found.lexical_given_test.log10_p < -4


def test_a_domain_that_uses_a_class_more_is_no_topic():
    *_, found = measured(5, lexical=8.0, mixing=1.5, document_effect=0.2, documents=150, mean_length=120)
    # Alone the domain matters, by the tokens that it has; at one token id it does not.
    assert found.domain_test.log10_p < -3
    assert found.domain_given_test.log10_p > -2
    assert found.lexical_given_test.log10_p < -4
    assert found.by_token.domain_given.value < 0.2 * found.domain.value
    assert found.by_token.shared.value == pytest.approx(found.domain.value, abs=0.02)


def test_exchanged_domains_show_what_documents_make_up():
    *_, found = measured(6, document_effect=1.0, documents=60, mean_length=200)
    alone, given = found.domain_shuffled, found.domain_given_shuffled
    assert abs(found.domain.value - alone) < 0.04
    assert abs(found.by_token.domain_given.value - given) < 0.04
    assert found.domain_test.log10_p > -2


def test_halves_agree_where_experts_specialise():
    *_, found = measured(4, topical=6.0, lexical=6.0, documents=120, mean_length=120)
    for halves in (found.domain_halves, found.lexical_halves):
        assert halves.correlation > 0.9
        assert halves.n_found > 2
        # One in forty by chance.
        assert halves.share_found_again > 0.5
    *_, nothing = measured(7, document_effect=0.5)
    assert abs(nothing.domain_halves.correlation) < 0.5


def test_halves_by_hand():
    # Both halves have the same counts: the same lifts, whatever they are.
    rng = np.random.default_rng(1)
    counts = np.tile(rng.integers(50, 90, (10, 2, 3)), (2, 1, 1)).astype(float)
    tokens = counts.sum(axis=2)
    rate = counts.sum(axis=(0, 1)) / tokens.sum()
    scores = counts - tokens[:, :, None] * rate
    of = LabelScores(
        scores, counts, tokens, np.concatenate([tokens.sum(axis=0) / tokens.sum(), rate]), 0.0, 0.0
    )
    found = half_stability(of, [np.arange(10)])
    assert found.correlation == pytest.approx(1.0)
    small = LabelScores(scores / 9, counts / 9, tokens / 9, of.overall, 0.0, 0.0)
    assert half_stability(small, [np.arange(2)]).reason == "too few tokens for halves of the documents"
    assert LEAST_CELLS == 4


def test_shown_tokens_are_those_of_the_planted_class():
    truth, sample, labels, of, _ = measured(4, topical=6.0, lexical=6.0, documents=120, mean_length=120)
    expert, kind = int(truth["lexical_expert"][0]), int(truth["lexical_class"][0])
    experts = sample.routers[0].alphabet.unrank(sample.columns["L00"])
    found = shown_tokens(sample, experts, of, labels, LEXICAL, kind, expert, 3)
    assert len(found) == 3
    for one in found:
        rows = (sample.token == one.token) & (experts == expert).any(axis=1)
        assert truth["class_of_id"][one.token] == kind
        assert (one.count, one.n_documents) == (rows.sum(), len(np.unique(sample.document[rows])))
        # Expected in every domain at the domain's rate.
        domain = truth["domain"][sample.document]
        included = (experts == expert).any(axis=1)
        rates = [included[domain == d].mean() for d in range(4)]
        expected = sum(rates[d] * ((sample.token == one.token) & (domain == d)).sum() for d in range(4))
        assert one.expected == pytest.approx(expected)
    topic = int(truth["topical_domain"][0])
    found = shown_tokens(sample, experts, of, labels, DOMAIN, topic, int(truth["topical_expert"][0]))
    for one in found:
        own = (sample.token == one.token) & (truth["domain"][sample.document] == topic)
        rows = own & (experts == truth["topical_expert"][0]).any(axis=1)
        assert (one.count, one.n_documents) == (rows.sum(), len(np.unique(sample.document[rows])))
        everywhere = (sample.token == one.token) & (experts == truth["topical_expert"][0]).any(axis=1)
        share = own.sum() / (sample.token == one.token).sum()
        assert one.expected == pytest.approx(share * everywhere.sum())
        assert one.count > one.expected


def test_one_document():
    *_, found = measured(1, documents=1, mean_length=100)
    assert found.domain is None
    assert math.isnan(found.by_token.lexical.value)
    assert "1 independent unit" in found.by_token.lexical.reason
    assert np.isnan(found.lexical_cells.z).all()
