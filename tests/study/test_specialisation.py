"""Findings on specialisation: verdicts on planted experts, q-values, what is not there, tokenizers that do not fit."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.study.specialisation import measure_specialisation, verdict_of
from routestat.traces.token_texts import TokenTexts
from tests.structure.label_cases import planted

SHAPE = dict(mixing=0.8, document_effect=0.3, documents=120, mean_length=120, layers=2)


def findings(seed=4, view="subset", with_texts=True, change=lambda sample: sample, **how):
    made, sample, texts = planted(seed, **(SHAPE | how))
    found = measure_specialisation(
        change(sample), view, texts if with_texts else None, np.random.default_rng(0), threads=1
    )
    return made.truth.planted, found


@pytest.mark.parametrize("with_texts", [True, False])
def test_planted_specialists_have_their_verdicts(with_texts):
    truth, found = findings(topical=6.0, lexical=6.0, with_texts=with_texts)
    for layer, item in enumerate(found.layers):
        assert item.verdict in ("both", "mostly lexical", "mostly topical")
        assert item.experts[truth["topical_expert"][layer]] in ("topical", "mostly topical")
        assert item.experts[truth["lexical_expert"][layer]] in ("lexical", "mostly lexical")
        domains = [one for one in found.cells if one.kind == "domain" and one.router == item.router]
        assert domains[0].value == f"domain {truth['topical_domain'][layer]}"
        assert domains[0].expert == truth["topical_expert"][layer]
        kind = "class" if with_texts else "token"
        lexical = next(one for one in found.cells if one.kind == kind and one.router == item.router)
        assert lexical.expert == truth["lexical_expert"][layer]
        if with_texts:
            assert domains[0].tokens
            assert lexical.tokens
    assert found.n_found["domain"] < found.n_cells["domain"] == 2 * 4 * 8


@pytest.mark.parametrize(
    ("how", "verdict"), [({"topical": 6.0}, "topical"), ({"lexical": 6.0}, "lexical"), ({}, "neither")]
)
def test_one_kind_alone_has_its_name(how, verdict):
    _, found = findings(seed=1, **how)
    assert {item.verdict for item in found.layers} == {verdict}
    if verdict == "neither":
        assert found.cells == ()


def test_rare_ids_of_a_domain_make_no_topic():
    # Most tokens have a rare id, and domains differ in which: at one id the domain says nothing.
    for seed in (1, 2):
        _, found = findings(
            seed, lexical=4.0, mixing=1.5, n_ids=3000, documents=100, mean_length=200, lengths="exponential",
            document_effect=0.0, layers=3,
        )  # fmt: skip
        assert found.share_frequent < 0.5
        for item in found.layers:
            assert item.found.domain_test.log10_p < -3
            assert item.log10_q_domain_given > np.log10(0.05)
            assert item.verdict in ("lexical", "neither")
            assert not {"topical", "mostly topical", "both"} & set(item.experts)


def test_without_a_frequent_id_nothing_is_tested():
    _, found = findings(with_texts=False, n_ids=20_000, documents=12, mean_length=30)
    assert found.n_ids == 0
    for item in found.layers:
        assert item.verdict == "not tested"
        assert item.found.by_token.domain_given.reason == "no token id is frequent enough to be separated"


def test_q_values_are_those_of_all_layers():
    _, found = findings(topical=2.0, layers=3)
    p = [item.found.domain_given_test.log10_p for item in found.layers]
    q = [item.log10_q_domain_given for item in found.layers]
    order = np.argsort(p)
    stepped = np.minimum.accumulate((np.array(p)[order] + np.log10(3 / np.arange(1, 4)))[::-1])[::-1]
    np.testing.assert_allclose(np.array(q)[order], np.minimum(stepped, 0))


def test_without_ids_topics_and_tokens_cannot_be_separated():
    blind = lambda sample: replace(sample, token=np.full(len(sample), -1, np.int32))  # noqa: E731
    truth, found = findings(topical=6.0, with_texts=False, change=blind)
    assert {item.verdict for item in found.layers} == {"domain"}
    assert found.values == ()
    assert found.layers[0].found.by_token is None
    assert (
        found.cells[0].expert
        == truth["topical_expert"][[one.router for one in found.layers].index(found.cells[0].router)]
    )
    assert found.layers[0].experts[truth["topical_expert"][0]] == "domain"


def test_without_domains_or_without_both():
    alike = lambda sample: replace(sample, domains={})  # noqa: E731
    _, found = findings(lexical=6.0, change=alike)
    assert {item.verdict for item in found.layers} == {"lexical"}
    assert found.layers[0].found.domain is None
    nothing = lambda sample: replace(sample, domains={}, token=np.full(len(sample), -1, np.int32))  # noqa: E731
    _, found = findings(with_texts=False, change=nothing)
    assert found.layers == ()
    assert found.reason == "the trace has neither token ids nor documents of two or more domains"


def test_a_layer_without_choices_and_one_group():
    def without(sample):
        columns = dict(sample.columns)
        columns["L01"] = np.full_like(columns["L01"], sample.routers[1].alphabet.missing)
        return replace(sample, columns=columns)

    _, found = findings(topical=6.0, change=without)
    assert found.layers[1].found.n_tokens == 0
    assert found.layers[1].verdict == "not tested"
    assert "no tokens" in found.layers[1].found.domain.reason
    _, few = findings(documents=3, mean_length=100)
    assert {item.verdict for item in few.layers} == {"not tested"}
    assert {verdict for item in few.layers for verdict in item.experts} == {"not tested"}
    assert "no test or interval" in few.layers[0].found.by_token.lexical.reason


def test_a_tokenizer_of_another_model():
    _, sample, _ = planted(1)
    with pytest.raises(RoutestatError, match="expected the tokenizer of the model, got one of 5 ids"):
        measure_specialisation(
            sample, "subset", TokenTexts(dict.fromkeys(range(5), "a"), source="t"), np.random.default_rng(0)
        )
    large = TokenTexts(dict.fromkeys(range(5000), "a"), source="t")
    found = measure_specialisation(sample, "subset", large, np.random.default_rng(0))
    assert "is it the tokenizer of this model?" in found.note


def test_the_verdict_is_by_the_larger_of_two():
    assert verdict_of(False, False, 1.0, 1.0) == "neither"
    assert verdict_of(True, False, 1.0, 9.0) == "topical"
    assert verdict_of(True, True, 4.0, 1.0) == "mostly topical"
    assert verdict_of(True, True, 1.0, 4.0) == "mostly lexical"
    assert verdict_of(True, True, 1.0, 3.9) == "both"
