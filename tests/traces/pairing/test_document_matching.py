"""Documents of two traces are paired by what they hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat import RoutestatError
from routestat.traces.batch import Batch
from routestat.traces.pairing.document_contents import (
    HEAD,
    TAIL,
    Contents,
    Document,
    contents_of,
    documents_of,
    token_keys,
)
from routestat.traces.pairing.document_matching import Pair, number_documents, pair_by_content, pair_documents
from tests.traces.test_document_selection import TEXTS, trace


def batch(texts, numbers=None):
    numbers = range(len(texts)) if numbers is None else numbers
    document = np.repeat(np.array(list(numbers), np.int32), [len(text) for text in texts])
    token = np.concatenate([np.asarray(text, np.int32) for text in texts])
    return Batch(document, np.arange(len(token), dtype=np.int32), {"token": token})


def contents(*texts):
    return contents_of([batch(texts)], token_keys)


def test_documents_have_lengths_and_contents_however_the_rows_are_cut(tmp_path):
    whole = documents_of(trace(tmp_path / "a", TEXTS))
    cut = documents_of(trace(tmp_path / "b", TEXTS, rows=4))
    assert [d.tokens for d in whole] == [5, 7, 5, 3]
    assert whole == cut
    assert whole[0].content == whole[2].content != whole[1].content
    unknown = documents_of(trace(tmp_path / "c", [np.array([4, 5, -1])], names=["x"], domains=["law"]))
    assert (unknown[0].content, unknown[0].name, unknown[0].domain) == (None, "x", "law")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 3), min_size=HEAD + TAIL, max_size=60),
    st.integers(0, HEAD),
    st.integers(0, TAIL),
    st.integers(1, 60),
)
def test_rows_taken_from_a_content_leave_the_content_of_the_rest(text, first, last, cut):
    part = text[first : len(text) - last]
    pieces = [batch([text[:cut]]), *([batch([text[cut:]])] if cut < len(text) else [])]
    whole = contents_of(pieces, token_keys)[0]
    assert whole == contents(text)[0]
    rest = [contents(part)[0]] if part else []
    taken = Contents([whole]).without(first, last)
    assert not part or taken[0] == Contents(rest).without(0, 0)[0]
    other = [*text]
    other[first] += 1
    assert not part or taken[0] != Contents([contents(other)[0]]).without(first, last)[0]


def test_equal_texts_find_each_other_wherever_they_stand(tmp_path):
    a = documents_of(trace(tmp_path / "a", TEXTS))
    b = documents_of(trace(tmp_path / "b", [TEXTS[3], np.arange(9), TEXTS[0]]))
    found = pair_documents(a, b, "auto")
    assert (found.paired, found.n_common, found.aligned, found.by) == (True, 2, True, "token ids")
    assert found.numbers_a[0] == found.numbers_b[2]
    assert found.numbers_a[3] == found.numbers_b[0]
    assert len({*found.numbers_a.values(), *found.numbers_b.values()}) == 5
    # The third of A is a copy of the first, which has its partner.
    assert found.reasons == (
        "1 of A are further copies of documents that were paired",
        "1 of A: no document of the other has the same token ids (up to a few rows at an end)",
        "1 of B: no document of the other has the same token ids (up to a few rows at an end)",
    )
    same = pair_documents(a, a, "auto", same_trace=True)
    assert (same.n_common, same.aligned, same.by) == (4, True, "same trace")
    apart = pair_documents(a, b, "no")
    assert not apart.paired
    assert sorted(apart.numbers_b.values()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("of_a", "of_b", "pairs"),
    [
        ((0, 40), (0, 39), [(0, 0, 39)]),
        ((0, 32), (0, 40), [(0, 0, 32)]),
        ((0, 40), (1, 40), [(1, 0, 39)]),
        ((2, 40), (0, 35), [(0, 2, 33)]),
        ((0, 39), (1, 40), [(1, 0, 38)]),
        # The last row alone may be missing in short documents too; in shorter ones nothing distinguishes them.
        ((0, 4), (0, 3), [(0, 0, 3)]),
        ((0, 7), (0, 8), [(0, 0, 7)]),
        ((0, 3), (0, 2), []),
        ((0, 4), (1, 4), []),
        # More than engines leave out, or too much of the document.
        ((0, 40), (0, 30), []),
        ((0, 40), (4, 40), []),
        ((0, 10), (0, 7), []),
    ],
)
def test_a_few_rows_at_an_end_may_be_missing(of_a, of_b, pairs):
    text = np.random.default_rng(0).integers(0, 500, 40)
    found = pair_by_content(contents(text[slice(*of_a)]), contents(text[slice(*of_b)]))
    assert [(one.skip_a, one.skip_b, one.rows) for one in found] == pairs


def test_whole_documents_come_before_those_with_missing_rows_and_copies_in_order():
    text = np.random.default_rng(0).integers(0, 500, 40)
    found = pair_by_content(contents(text[:39], text, text), contents(text, text[:39], text[:39]))
    assert [(one.a, one.b, one.rows) for one in found] == [(0, 1, 39), (1, 0, 40), (2, 2, 39)]


def test_samples_of_one_prompt_are_not_each_other():
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, 500, 60)
    a, b = ([np.concatenate([prompt, rng.integers(0, 500, 4)]) for _ in range(5)] for _ in range(2))
    assert pair_by_content(contents(*a), contents(*b)) == []


def test_names_prove_nothing(tmp_path):
    blank = [np.full(4, -1), np.full(6, -1)]
    a = documents_of(trace(tmp_path / "a", blank, names=["x", "y"]))
    b = documents_of(trace(tmp_path / "b", blank, names=["x", "y"]))
    apart = pair_documents(a, b, "auto", by_rows=lambda *left: [])
    assert (apart.paired, apart.by) == (False, "")
    assert "2 of A have no token ids, and no remaining document" in apart.reasons[0]
    assert "2 of them have the same name in both, which is no proof" in apart.reasons
    by_name = pair_documents(a, b, "yes", by_rows=lambda *left: [])
    assert (by_name.n_common, by_name.by, by_name.aligned) == (2, "names", False)
    nameless = documents_of(trace(tmp_path / "c", blank))
    assert not pair_documents(nameless, nameless, "auto").paired
    assert (
        pair_documents(nameless, nameless, "yes").n_common,
        pair_documents(nameless, nameless, "yes").by,
    ) == (2, "places")
    with pytest.raises(RoutestatError, match="no document in common"):
        pair_documents(a, documents_of(trace(tmp_path / "f", [np.arange(2)], names=["q"])), "yes")
    with pytest.raises(RoutestatError, match="--paired is"):
        pair_documents(a, a, "maybe")


def test_reasons_say_which_of_the_two_has_no_token_ids_and_that_partners_were_taken(tmp_path):
    a = documents_of(trace(tmp_path / "a", [np.arange(20), np.arange(30)]))
    b = documents_of(trace(tmp_path / "b", [np.full(20, -1), np.full(20, -1)]))
    found = pair_documents(a, b, "auto", by_rows=lambda *left: [Pair(0, 0, 0, 0, 20)])
    unlike = "no remaining document of the other agrees with them beyond chance"
    assert found.reasons == (
        f"1 of A: the other has no token ids, and {unlike}",
        f"1 of B have no token ids, and {unlike}",
    )


def test_where_both_have_token_ids_these_decide_against_the_choices():
    one, other = (contents(np.arange(20) + shift)[0] for shift in (0, 50))
    a, b = Document(0, None, None, 20, one), Document(0, None, None, 20, other)
    blank = Document(1, None, None, 20, None)

    def by_rows(left_a, left_b):
        return [Pair(x.number, y.number, 0, 0, 20) for x, y in zip(left_a, left_b, strict=True)]

    found = pair_documents([a, blank], [b, blank], "auto", by_rows=by_rows)
    assert (found.n_common, found.by) == (1, "choices")
    assert found.numbers_a[1] == found.numbers_b[1] == 0
    assert number_documents([a], [b], [], "", False, ()).n_common == 0
