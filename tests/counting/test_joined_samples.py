from dataclasses import replace

import numpy as np
import pytest

from routestat import Router, RoutestatError, Trace, TraceMeta
from routestat.counting.board_rows import board_rows, joined_rows
from routestat.counting.document_sample import rows_of, take_sample
from routestat.counting.joined_samples import (
    common_routers,
    joined_sample,
    shared_documents,
    stretches_of,
)

LENGTHS = np.array([5, 1, 7, 4, 9, 3, 6, 2])


def sample_of(
    seed, layers=(0, 1, 2), n_experts=5, top_k=2, lengths=LENGTHS, token=True, numbers=None, groups=256
):
    rng = np.random.default_rng(seed)
    routers = tuple(Router(layer, n_experts, top_k) for layer in layers)
    numbers = np.arange(len(lengths)) if numbers is None else numbers
    document = np.repeat(numbers, lengths)
    size = routers[0].alphabet.size
    states = {r.name: rng.integers(0, size, len(document)).astype(r.alphabet.dtype) for r in routers}
    position = np.concatenate([np.arange(n) for n in lengths])
    columns = {"token": rng.integers(0, 10**6, len(document))} if token else {}
    trace = Trace.from_arrays(TraceMeta(routers), document, position, states, **columns)
    return take_sample(trace, groups=groups)


def test_rows_follow_only_rows_that_are_kept():
    sample = sample_of(0)
    chosen = np.ones(len(sample), bool)
    chosen[2] = False  # the third of the five tokens of the first document
    part = rows_of(sample, chosen)
    assert part.follows[:4].tolist() == [False, True, False, True]
    assert part.n_documents == len(LENGTHS)
    np.testing.assert_array_equal(part.columns["L01"], sample.columns["L01"][chosen])
    assert rows_of(sample, ~chosen).follows.tolist() == [False]


def test_a_stretch_of_every_document():
    sample = sample_of(1)
    everything = np.ones(len(sample), bool)
    rng = np.random.default_rng(0)
    assert stretches_of(sample, everything, len(sample), rng) is everything
    found = stretches_of(sample, everything, 20, rng)
    # At 3 rows each: 3 + 1 + 3 + 3 + 3 + 3 + 3 + 2 = 21, at 2 rows 15.
    kept = np.bincount(sample.document[found], minlength=len(LENGTHS))
    assert kept.tolist() == np.minimum(LENGTHS, 2).tolist()
    for number in range(len(LENGTHS)):
        at = np.flatnonzero(found & (sample.document == number))
        assert (np.diff(at) == 1).all()
    chosen = sample.document % 2 == 0
    assert not stretches_of(sample, chosen, 8, rng)[~chosen].any()


def test_stretches_begin_anywhere():
    sample = sample_of(2, lengths=np.array([4]))
    rng = np.random.default_rng(0)
    starts = [np.flatnonzero(stretches_of(sample, np.ones(4, bool), 2, rng))[0] for _ in range(600)]
    times = np.bincount(starts, minlength=4)
    assert times[3] == 0
    assert (np.abs(times[:3] - 200) < 4 * np.sqrt(600 * 2 / 9)).all()


def test_joined_groups_folds_and_units():
    test = replace(sample_of(3, groups=4), domains={0: "a", 7: "b"})
    train = replace(sample_of(4, groups=3), domains={1: "c"})
    rows = joined_rows(test, train)
    n = len(test)
    assert len(rows) == n + len(train)
    assert rows.scored_folds == rows.tested_folds == (0,)
    assert (rows.fold[:n] == 0).all()
    assert set(rows.fold[n:]) == {1, 2, 3}
    np.testing.assert_array_equal(rows.scored, np.arange(len(rows)) < n)
    # Documents 0 … 7 are in groups number modulo 4; of the training set modulo 3, which are numbered from 4.
    np.testing.assert_array_equal(rows.group[:n], test.document % 4)
    np.testing.assert_array_equal(rows.group[n:], 4 + train.document % 3)
    np.testing.assert_array_equal(rows.sample.group, rows.group)
    assert (rows.held_out[:n] == 0).all()
    np.testing.assert_array_equal(rows.held_out[n:], 1 + train.document % 3)
    assert not rows.follows[0]
    assert not rows.follows[n]
    np.testing.assert_array_equal(rows.follows[n + 1 :], train.follows[1:])
    domains = {rows.sample.domains.get(number, "") for number in rows.sample.document[:n].tolist()}
    assert domains == {"", "a", "b"}
    assert {rows.cells.domain[at] for at in rows.cell[n:].tolist()} == {"", "c"}
    np.testing.assert_array_equal(
        rows.experts(rows.routers[1])[n:], board_rows(train, train.routers).experts(rows.routers[1])
    )


def test_groups_that_hold_several_clusters_stay_whole():
    numbers = np.array([3, 259, 5, 4, 260, 9, 8, 515])
    test, train = sample_of(5, numbers=numbers), sample_of(6, numbers=numbers + 1)
    rows = joined_rows(test, train)
    for sample, own in ((test, rows.group[: len(test)]), (train, rows.group[len(test) :])):
        _, theirs = np.unique(sample.group, return_inverse=True)
        np.testing.assert_array_equal(own - own.min(), theirs)


def test_more_groups_than_folds():
    rows = joined_rows(sample_of(7), sample_of(8, lengths=np.full(40, 2)))
    assert rows.n_folds == 10
    assert np.bincount(rows.folds[rows.group.max() - 39 :], minlength=10).tolist() == [
        0,
        5,
        5,
        5,
        5,
        4,
        4,
        4,
        4,
        4,
    ]


def test_token_ids_stay_unknown():
    rows = joined_rows(sample_of(9), sample_of(10, token=False))
    assert rows.token[-1] == -1
    assert rows.token[0] >= 0


def test_companions_that_one_lacks_are_left_out():
    test = sample_of(11)
    more = replace(test, columns={**test.columns, "L00.ahead1": test.columns["L01"]})
    assert "L00.ahead1" not in joined_sample(more, sample_of(12), test.routers).columns
    assert "L00.ahead1" in joined_sample(more, more, test.routers).columns


@pytest.mark.parametrize("token", [True, False])
def test_documents_that_share_their_text_are_found(token):
    test = sample_of(13, lengths=np.full(9, 40), token=token)
    train = sample_of(14, lengths=np.full(9, 40), token=token)
    assert not shared_documents(test, train, test.routers).any()
    columns = {name: values.copy() for name, values in train.columns.items()}
    own = train.token.copy()
    # Document 4 of the training set begins as document 2 of the test set; document 6 is a copy of it.
    for number, rows in ((4, 35), (6, 40)):
        to, of = (np.flatnonzero(s.document == n)[:rows] for s, n in ((train, number), (test, 2)))
        own[to] = test.token[of]
        for name, values in columns.items():
            values[to] = test.columns[name][of]
    found = shared_documents(test, replace(train, token=own, columns=columns), test.routers)
    assert np.unique(train.document[found]).tolist() == [4, 6]
    assert found.sum() == 80


def test_another_model_is_refused():
    test = sample_of(15)
    with pytest.raises(
        RoutestatError, match=r"got 3 of 5 experts at layer 0 where the test set has 2 of 5 .*3 such layers"
    ):
        joined_rows(test, sample_of(16, top_k=3))
    with pytest.raises(RoutestatError, match="2 of 6 experts"):
        common_routers(test, sample_of(16, n_experts=6))


def test_layers_of_one_numbering_are_used_and_others_refused():
    test, few = sample_of(17), sample_of(18, layers=(1, 2))
    routers, note = common_routers(test, few)
    assert [router.layer for router in routers] == [1, 2]
    assert note == "layers 0 are recorded in the test set only and left out"
    assert common_routers(few, test)[1] == "layers 0 are recorded in the training set only and left out"
    with pytest.raises(RoutestatError, match="layers 0 in the test set only and 3 in the training set only"):
        common_routers(test, sample_of(19, layers=(1, 2, 3)))
    # Whoever names layers says that both number them alike.
    assert [
        r.layer for r in joined_rows(test, sample_of(19, layers=(1, 2, 3)), test.routers[1:]).routers
    ] == [1, 2]
    with pytest.raises(
        RoutestatError, match="expected 3 layers in both traces, got 2; layers 0 are recorded in the test"
    ):
        joined_rows(test, few, test.routers)
    with pytest.raises(RoutestatError, match="expected the same layers"):
        common_routers(test, sample_of(19, layers=(7, 8)))


def test_nothing_to_score_or_to_choose_on_is_refused():
    test = sample_of(20)
    with pytest.raises(RoutestatError, match="two or more groups of documents to train on, got one"):
        joined_rows(test, sample_of(21, lengths=np.array([9])))
    with pytest.raises(RoutestatError, match="expected tokens to score"):
        joined_rows(rows_of(test, np.zeros(len(test), bool)), test)
    with pytest.raises(RoutestatError, match="to train on, got none"):
        joined_rows(test, rows_of(test, np.zeros(len(test), bool)))
