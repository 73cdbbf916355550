"""Labels of tokens: frequent ids by hand, domains that clusters exchange, what is joined, what is not there."""

from dataclasses import replace

import numpy as np
import pytest

from routestat.structure import token_labels
from routestat.structure.token_labels import DOMAIN, EXCHANGED, LEXICAL, label_tokens
from routestat.traces.token_texts import TokenTexts
from tests.structure.label_cases import CLASSES, planted


def labels_of(sample, texts=None, n_choices=2, seed=0):
    return label_tokens(sample, texts, n_choices, 1, np.random.default_rng(seed))


def test_labels_are_those_of_every_token():
    made, sample, texts = planted(1)
    found = labels_of(sample, texts)
    row, meetings = found.meetings.row, found.meetings
    of_entry = np.repeat(np.arange(len(meetings)), np.diff(meetings.first))
    assert sorted(row.tolist()) == list(range(len(sample)))
    assert found.values == CLASSES
    kinds = made.truth.planted["class_of_id"][sample.token[row]]
    np.testing.assert_array_equal(meetings.labels[LEXICAL][of_entry], kinds)
    domain = made.truth.planted["domain"][sample.document[row]]
    np.testing.assert_array_equal(meetings.labels[DOMAIN][of_entry], domain)
    ids = found.ids[meetings.stratum[of_entry]]
    known = ids >= 0
    np.testing.assert_array_equal(ids[known], sample.token[row][known])
    # Each frequent id has so many tokens in so many groups, and no other id has.
    tokens = np.bincount(sample.token, minlength=60)
    groups = np.array([len(np.unique(sample.group[sample.token == one])) for one in range(60)])
    frequent = np.flatnonzero((tokens >= 50) & (groups >= 10))
    assert set(found.ids[found.ids >= 0].tolist()) == set(frequent.tolist())
    assert found.n_frequent == tokens[frequent].sum()
    assert found.documents == {
        f"domain {one}": int((made.truth.planted["domain"] == one).sum()) for one in range(4)
    }
    # Others are apart by class.
    rare = ~known
    assert len(np.unique(meetings.stratum[of_entry][rare])) == len(np.unique(kinds[rare]))


def test_clusters_exchange_their_domains_as_a_whole():
    _, sample, texts = planted(2)
    found = labels_of(sample, texts).meetings
    of_entry = np.repeat(np.arange(len(found)), np.diff(found.first))
    document = sample.document[found.row]
    sizes = []
    for at in EXCHANGED:
        moved = found.labels[at][of_entry]
        assert all(len(np.unique(moved[document == one])) == 1 for one in range(60))
        sizes.append(np.bincount([moved[document == one][0] for one in range(60)], minlength=4).tolist())
        assert (moved != found.labels[DOMAIN][of_entry]).mean() > 0.4
    own = [found.labels[DOMAIN][of_entry][document == one][0] for one in range(60)]
    assert sizes == [np.bincount(own, minlength=4).tolist()] * len(EXCHANGED)


def test_the_more_choices_the_more_tokens_an_id_needs():
    _, sample, texts = planted(1)
    few, many = labels_of(sample, texts, 2), labels_of(sample, texts, 28)
    assert 0 < (many.ids >= 0).sum() < (few.ids >= 0).sum()
    least = 2 * 4 * 28
    assert all((sample.token == one).sum() >= least for one in many.ids[many.ids >= 0])


def test_without_texts_frequent_ids_are_tested(monkeypatch):
    monkeypatch.setattr(token_labels, "TESTED_IDS", 3)
    _, sample, _ = planted(1)
    found = labels_of(sample)
    assert found.values == ("id 0", "id 1", "id 2", "others")
    assert not found.classes
    stratum = found.meetings.stratum
    np.testing.assert_array_equal(found.meetings.labels[LEXICAL], np.minimum(stratum, 3))


def test_small_domains_and_rare_classes_are_joined(monkeypatch):
    monkeypatch.setattr(token_labels, "MOST_DOMAINS", 3)
    monkeypatch.setattr(token_labels, "MOST_CLASSES", 3)
    made, sample, texts = planted(3)
    found = labels_of(sample, texts)
    size = np.bincount(made.truth.planted["domain"], minlength=4)
    kept = sorted(np.argsort(-size, kind="stable")[:2].tolist())
    assert found.domains == (*(f"domain {one}" for one in kept), "others")
    assert found.values[-1] == "others"
    assert sum(found.documents.values()) == 60
    assert found.meetings.sizes[:2] == (3, 3)


def test_groups_are_joined_where_tables_would_be_large(monkeypatch):
    monkeypatch.setattr(token_labels, "MOST_CELLS", 40 * 4 * 5 * 2)
    _, sample, texts = planted(1)
    found = labels_of(sample, texts)
    assert found.meetings.n_groups == 40
    assert set(found.meetings.group.tolist()) <= set(range(40))


def test_what_is_not_there():
    _, sample, texts = planted(1)
    nothing = replace(sample, token=np.full(len(sample), -1, np.int32), domains={})
    assert labels_of(nothing) is None
    one = replace(sample, domains=dict.fromkeys(sample.domains, "same"))
    found = labels_of(one, texts)
    assert (found.domains, found.meetings.sizes) == ((), (1, 5))
    only = replace(sample, token=np.full(len(sample), -1, np.int32))
    found = labels_of(only)
    assert (found.values, len(found.meetings.start) - 1, found.ids.tolist()) == ((), 1, [-1])
    # Tokens without an id or whose document has no domain do not take part.
    half = replace(
        sample,
        token=np.where(np.arange(len(sample)) % 2, sample.token, -1).astype(np.int32),
        domains={number: word for number, word in sample.domains.items() if number < 30},
    )
    found = labels_of(half, texts)
    assert found.n_tokens == int(((np.arange(len(sample)) % 2 == 1) & (sample.document < 30)).sum())


@pytest.mark.parametrize("text", [None, TokenTexts({0: "a"})])
def test_no_tokens(text):
    _, sample, _ = planted(1)
    kept = np.zeros(len(sample), bool)
    empty = replace(
        sample, token=sample.token[kept], document=sample.document[kept], follows=sample.follows[kept],
        columns={name: values[kept] for name, values in sample.columns.items()},
    )  # fmt: skip
    found = labels_of(empty, text)
    assert found is None or found.n_tokens == 0
