"""Classes of tokens: texts by hand, and that they divide all ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routestat.structure.token_classes import class_of_text, classes_of_rows, classify_tokens, used_classes
from routestat.traces.token_texts import TokenTexts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" the", "Latin word start"),
        ("ing", "Latin word part"),
        ("été", "Latin word part"),
        (" слово", "Cyrillic word start"),
        ("λ", "Greek word part"),
        ("漢字", "Han word part"),
        ("ひらがな", "Hiragana word part"),
        ("e\u0301", "Latin word part"),
        (" 12", "digits"),
        ("٣", "digits"),
        ("),", "punctuation"),
        ("=", "symbols"),
        ("->", "symbols"),
        ("$(", "symbols"),
        (" ", "white space"),
        ("\n\n", "white space"),
        ("'s", "mixed"),
        ("x1", "mixed"),
        ("aλ", "mixed"),
        ("\u0301", "symbols"),
        ("", "no text"),
    ],
)
def test_a_text_has_the_class_of_its_characters(text, found):
    assert class_of_text(text) == found


@given(st.text(max_size=6))
def test_every_text_has_one_class(text):
    assert class_of_text(text)


def test_classes_divide_all_ids():
    texts = TokenTexts(
        {0: "<s>", 1: "<E2>", 2: " a", 4: "7", 5: "\ud800"}, special=frozenset({0}), partial=frozenset({1})
    )
    found = classify_tokens(texts, 8)
    names = [found.names[one] for one in found.of_id]
    assert names == [
        "special tokens", "parts of characters", "Latin word start", "no text",
        "digits", "symbols", "no text", "no text",
    ]  # fmt: skip
    assert found.word_start.tolist() == [False, False, True, False, False, False, False, False]
    rows = classes_of_rows(found, np.array([2, -1, 4, 2]))
    assert [found.names[one] if one >= 0 else None for one in rows] == [
        "Latin word start", None, "digits", "Latin word start",
    ]  # fmt: skip
    used, places = used_classes(found.names, rows)
    assert used == ("Latin word start", "digits")
    assert places.tolist() == [0, -1, 1, 0]
