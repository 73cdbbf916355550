"""Rows that are no measurements: counted by hand, across batches, and in traces that are clean."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.traces.dummy_rows.not_measured import KINDS, PLACES
from routestat.traces.dummy_rows.row_features import features_of_raw_rows
from routestat.traces.dummy_rows.row_ranges import find_rows
from routestat.traces.dummy_rows.run_collector import RunCollector
from tests.traces.importers.known import chosen


def runs_of(experts, document, position=None, decode=None, token=None, parts=1):
    """The runs of raw rows, handed over in so many parts."""
    position = np.concatenate([np.arange(n) for n in np.bincount(document)]) if position is None else position
    reader = RunCollector(*experts.shape[1:])
    for rows in np.array_split(np.arange(len(experts)), parts):
        given = (None if column is None else column[rows] for column in (decode, token))
        reader.add(features_of_raw_rows(experts[rows], document[rows], position[rows], *given))
    return reader.finished()


def found(*columns, **more):
    """Kind, place, document, first and last position of every find."""
    ranges = find_rows(runs_of(*columns, **more))
    return [
        (KINDS[one["kind"]], PLACES[one["place"]], int(one["document"]), int(one["first"]), int(one["last"]))
        for one in ranges
    ]


@pytest.fixture
def rng():
    return np.random.default_rng(31)


@pytest.fixture
def clean(rng):
    """Ten documents of 60 rows, and their numbers."""
    return chosen(rng, 600, 4, 16, 2), np.repeat(np.arange(10), 60)


def test_runs_are_counted_by_hand():
    a, b, c = ([[i, i + 1]] for i in (0, 2, 4))
    rows = np.array([a] * 9 + [b, c, b] + [c] * 2 + [a] * 3, np.int32)
    runs = runs_of(rows, np.array([0] * 14 + [1] * 3))
    held = [(int(r["document"]), int(r["n"]), int(r["first"]), int(r["last"])) for r in runs.runs]
    assert held == [(0, 9, 0, 8), (0, 2, 12, 13), (1, 3, 0, 2)]
    assert runs.lengths.tolist() == [0, 3, 0, 0, 0, 0, 0, 0]  # b, c, b stand at no edge
    assert runs.runs["starts"].tolist() == [True, False, True]
    assert runs.runs["ends"].tolist() == [False, True, True]
    assert runs.n_documents == 2


def test_a_run_over_few_tokens_is_worth_few_rows():
    rows = np.zeros((20, 1, 1), np.int32)
    document = np.zeros(20, int)
    for token, worth in (
        (np.arange(20), 20),
        (np.arange(20) % 3, 3),
        (np.full(20, 7), 1),
        (np.full(20, -1), 20),
    ):
        assert runs_of(rows, document, token=token).runs["x"].tolist() == [worth]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.booleans())
def test_parts_make_no_difference(seed, parts, known):
    rng = np.random.default_rng(seed)
    document = np.sort(rng.integers(4, size=80))
    experts = rng.integers(3, size=(20, 2, 1))[np.sort(rng.integers(20, size=80))]
    experts[rng.random(80) < 0.1] = -1
    decode = rng.random(80) < 0.5
    token = np.arange(80) if known else None
    whole, split = (runs_of(experts, document, decode=decode, token=token, parts=n) for n in (1, parts))
    for name in whole.runs.dtype.names:
        if name != "x":  # how many tokens differ is known within a part only
            assert np.array_equal(whole.runs[name], split.runs[name]), name
    assert np.array_equal(whole.segments["n"], split.segments["n"])
    assert known or np.array_equal(whole.lengths, split.lengths)
    assert np.array_equal(np.sort(whole.short_keys), np.sort(split.short_keys))


def test_nothing_is_found_in_a_clean_trace(clean):
    assert found(*clean) == []


def test_a_warm_up_at_the_start_of_the_trace_is_found(clean, rng):
    experts, document = clean
    for size in (8, 40, 3000):
        rows = np.concatenate([np.tile(chosen(rng, 1, 4, 16, 2), (size, 1, 1)), experts])
        number = np.concatenate([np.zeros(size, int), document])
        assert found(rows, number) == [("warm-up", "start", 0, 0, size - 1)]
        # As a document of its own, over one token as over many.
        number = np.concatenate([np.zeros(size, int), document + 1])
        token = np.concatenate([np.zeros(size, int), rng.integers(1, 900, len(document))])
        assert found(rows, number) == [("warm-up", "start", 0, 0, size - 1)]
        if size > 8:
            assert found(rows, number, token=token) == [("warm-up", "start", 0, 0, size - 1)]


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_padding_is_found_at_either_end(clean, rng, left, own, known):
    """One constant for all documents or one for each; the padding's token known or not."""
    experts, document = clean
    token = rng.integers(1, 900, len(document)) if known else None
    parts, wanted, tokens, constant = [], [], [], chosen(rng, 1, 4, 16, 2)
    sizes = [0, 30, 12, 5, 20, 0, 44, 9, 17, 2]
    for one, size in enumerate(sizes):
        rows = experts[document == one]
        constant = chosen(rng, 1, 4, 16, 2) if own else constant
        filler = np.tile(constant, (size, 1, 1))
        parts.append(np.concatenate([filler, rows] if left else [rows, filler]))
        if known:
            both = [np.zeros(size, int), token[document == one]]
            tokens.append(np.concatenate(both if left else both[::-1]))
        # Two rows of a constant of their own are no more than repetition, unless their token differs.
        if size >= (3 if own and not known else 1):
            wanted.append(
                ("padding", "start", one, 0, size - 1) if left else ("padding", "end", one, 60, 59 + size)
            )
    number = np.repeat(np.arange(10), [len(part) for part in parts])
    got = found(np.concatenate(parts), number, token=np.concatenate(tokens) if known else None)
    assert got == wanted


def test_zeros_that_were_never_written_are_found_for_one_expert_per_token(rng):
    experts = rng.integers(16, size=(600, 6, 1))
    document = np.repeat(np.arange(6), 100)
    experts.reshape(6, 100, 6, 1)[:, 70:] = 0
    assert found(experts, document) == [("zeros", "end", one, 70, 99) for one in range(6)]
    # Of one document, too.
    experts = rng.integers(16, size=(600, 6, 1))
    experts[95:100] = 0
    assert found(experts, document) == [("zeros", "end", 0, 95, 99)]


def test_a_stuck_recorder_is_found_inside_a_document(clean):
    experts, document = clean
    experts[130:150] = experts[130]
    assert found(experts, document) == [("stuck", "inside", 2, 10, 29)]
    # Not over one repeated token, which may well choose alike; over different ones, yes.
    token = np.arange(600)
    assert found(experts, document, token=token) == [("stuck", "inside", 2, 10, 29)]
    token[130:150] = 5
    assert found(experts, document, token=token) == []


def test_a_run_no_longer_than_others_is_no_find(clean):
    experts, document = clean
    for start, size in zip(range(5, 600, 50), (2, 3, 14, 2, 4, 2, 9, 2, 3, 5, 2, 6), strict=True):
        experts[start : start + size] = experts[start]
    assert found(experts, document) == []


def test_replayed_decode_rows_are_found_as_a_phase(clean, rng):
    experts, document = clean
    position = np.tile(np.arange(60), 10)
    decode = position >= 40
    wanted = [("phase", "end", one, 40, 59) for one in range(10)]
    stuck = experts.reshape(10, 60, 4, 2).copy()
    stuck[:, 40:] = stuck[:, 39:40] + 0  # each document its own
    stuck[:, 40:] = (stuck[:, 40:] + 1) % 16
    assert found(stuck.reshape(600, 4, 2), document, decode=decode) == wanted
    few = experts.copy()
    few[decode] = chosen(rng, 5, 4, 16, 2)[rng.integers(5, size=200)]
    assert found(few, document, decode=decode) == wanted
    # Generations that loop draw from a handful of their own.
    loops = experts.reshape(10, 60, 4, 2).copy()
    for one in range(10):
        loops[one, 40:] = loops[one, 40:44][np.arange(20) % 4]
    assert found(loops.reshape(600, 4, 2), document, decode=decode) == []


def test_rows_of_the_same_ids_in_every_layer_are_found(clean, rng):
    experts, document = clean
    odd = rng.choice(600, 25, replace=False)
    experts[odd] = [3, 9]
    got = found(experts, document)
    assert {kind for kind, *_ in got} == {"alike"}
    assert sum(last - first + 1 for *_, first, last in got) == 25
    # Layers that really choose alike do so nearly, too.
    experts = np.repeat(chosen(rng, 600, 1, 16, 2), 4, axis=1)
    fresh = rng.random((600, 4)) < 0.3
    experts[fresh] = chosen(rng, 600, 4, 16, 2)[fresh]
    assert found(experts, document) == []


def test_missing_rows_are_neither_runs_nor_ends_of_them(clean):
    experts, document = clean
    experts[:30] = -1
    experts[100:120] = -1
    assert found(experts, document) == []
    # What stands before rows that are missing is the end of its document.
    tail = experts.reshape(10, 60, 4, 2)
    tail[:, 40:55], tail[:, 55:] = [5, 7], -1
    assert found(experts, document)[0][:2] == ("padding", "end")


@pytest.fixture
def text(rng):
    """A router that goes by the token: experts of each of 200 tokens, and 30 documents of different lengths."""
    table = np.sort(chosen(rng, 202, 2, 8, 1), axis=2)
    return table, [np.minimum(rng.zipf(1.3, n) - 1, 199) for n in rng.integers(80, 200, 30)]


def found_in(table, documents, known, decode=None):
    token = np.concatenate(documents)
    number = np.repeat(np.arange(len(documents)), [len(one) for one in documents])
    return found(table[token], number, token=token if known else None, decode=decode)


@pytest.mark.parametrize("known", [False, True])
def test_line_breaks_and_templates_of_a_few_rows_are_no_padding(text, rng, known):
    table, documents = text
    assert found_in(table, [np.append([200] * 3, one) for one in documents], known) == []
    breaks = [np.append(one, [1] * int(rng.geometric(0.4))) for one in documents]
    assert found_in(table, breaks, known) == []


def test_a_template_of_one_known_token_has_one_length_and_padding_many(text, rng):
    table, documents = text
    assert found_in(table, [np.append([200] * 20, one) for one in documents], True) == []
    padded = [np.append(one, [201] * int(rng.integers(1, 60))) for one in documents]
    for known in (False, True):
        ends = found_in(table, padded, known)
        assert {kind for kind, *_ in ends} == {"padding"}
        assert len(ends) >= 25


def test_generations_that_loop_over_one_token_are_not_stuck(text, rng):
    table, documents = text
    for loops in (1, 8):
        ended = [
            np.append(one, [int(rng.integers(20, 200))] * (300 - len(one))) if at < loops else one
            for at, one in enumerate(documents)
        ]
        assert found_in(table, ended, False) == []


def test_a_rule_across_a_page_is_not_stuck_but_rows_beyond_it_are(text):
    table, documents = text
    for rows, stuck in ((80, False), (400, True)):
        ruled = [np.insert(documents[0], 40, [150] * rows), *documents[1:]]
        assert bool(found_in(table, ruled, False)) == stuck


def test_answers_of_one_word_are_no_replayed_phase(text, rng):
    table, documents = text
    documents = [np.append(one, [20 + int(rng.integers(3)), 2]) for one in documents * 4]
    decode = np.concatenate([np.arange(len(one)) >= len(one) - 2 for one in documents])
    assert found_in(table, documents, False, decode) == []


def test_left_padding_is_padding_in_the_first_document_too(clean, rng):
    experts, document = clean
    padded = np.concatenate(
        [np.concatenate([np.tile([[[5, 9]] * 4], (10 + n, 1, 1)), experts[document == n]]) for n in range(10)]
    )
    ranges = found(padded, np.repeat(np.arange(10), 70 + np.arange(10)))
    assert ranges == [("padding", "start", n, 0, 9 + n) for n in range(10)]
