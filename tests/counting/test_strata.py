"""Sparse strata, samples of whole documents, and tables expected within documents, against plain loops."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest

from routestat import Router, Trace, TraceMeta
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.counting.expected_within_documents import count_within
from routestat.counting.permuted_documents import permuted_tables
from routestat.counting.strata import count_strata, strata_rows
from routestat.errors import RoutestatError
from routestat.inference.information.stratified import conditional_information_interval, shuffled_information
from routestat.traces.metadata import routers_like

ROUTERS = routers_like([0, 1, 2], 4, 2)


def make(rng, lengths=(7, 1, 12, 5, 9), window=0, missing=0.1, routers=ROUTERS, tokens=5):
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    states = {}
    for router in routers:
        column = rng.integers(0, router.alphabet.size, len(document)).astype(router.alphabet.dtype)
        column[rng.random(len(document)) < missing] = np.iinfo(column.dtype).max
        states[router.name] = column
    token = rng.integers(-1, tokens, len(document)).astype(np.int32)
    meta = TraceMeta(routers, name="small", window=window)
    return (
        Trace.from_arrays(meta, document, position, states=states, token=token),
        document,
        position,
        states,
        token,
    )


def cells(strata):
    columns = (strata.stratum, strata.source, strata.target, strata.group)
    return dict(zip(zip(*(c.tolist() for c in columns), strict=True), strata.count.tolist(), strict=True))


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("by", ["token", "previous", "L00"])
def test_strata_are_what_a_loop_counts(monkeypatch, by, window):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 4)
    trace, document, position, states, token = make(np.random.default_rng(1), window=window)
    strata = count_strata(
        take_sample(trace, groups=2), ROUTERS[1], ROUTERS[2], by if by != "L00" else ROUTERS[0]
    )
    expected, tokens = Counter(), 0
    for t in range(len(document)):
        x, y = int(states["L01"][t]), int(states["L02"][t])
        if by == "token":
            z = int(token[t])
            known = z >= 0
        elif by == "previous":
            goes_on = t and document[t] == document[t - 1] and not (window and position[t] % window == 0)
            z = int(states["L02"][t - 1]) if goes_on else 99
            known = z < 6
        else:
            z = int(states["L00"][t])
            known = z < 6
        if known and x < 6 and y < 6:
            expected[z, x, y, int(document[t]) % 2] += 1
            tokens += 1
    names = sorted({key[0] for key in expected})
    assert cells(strata) == {(names.index(z), *rest): n for (z, *rest), n in expected.items()}
    assert (strata.n_tokens, strata.n_strata, strata.slots) == (tokens, len(names), (1, 1))


def test_wide_routers_count_every_pair_of_experts(monkeypatch):
    monkeypatch.setattr("routestat.counting.strata.AT_ONCE", 30)
    trace, document, _, states, token = make(np.random.default_rng(2))
    strata = count_strata(take_sample(trace, groups=3), ROUTERS[0], ROUTERS[1], states="expert")
    expected = Counter()
    for t in range(len(document)):
        if token[t] >= 0 and states["L00"][t] < 6 and states["L01"][t] < 6:
            for i in ROUTERS[0].alphabet.unrank(states["L00"][t]).tolist():
                for j in ROUTERS[1].alphabet.unrank(states["L01"][t]).tolist():
                    expected[int(token[t]), i, j, int(document[t]) % 3] += 1
    assert cells(strata) == dict(expected)
    assert strata.slots == (2, 2)
    with pytest.raises(RoutestatError, match="expert view has no strata"):
        count_strata(take_sample(trace), ROUTERS[0], ROUTERS[1], "previous", states="expert")


def test_dealing_anew_keeps_both_margins_of_every_stratum():
    trace, *_ = make(np.random.default_rng(3), lengths=(400, 300), missing=0)
    sample = take_sample(trace, groups=2)
    real = count_strata(sample, ROUTERS[0], ROUTERS[1])
    permuted = count_strata(sample, ROUTERS[0], ROUTERS[1], shuffled=np.random.default_rng(0))
    for keys in (("stratum", "source", "group"), ("stratum", "target"), ("stratum", "group")):
        margins = []
        for strata in (real, permuted):
            margin = Counter()
            for *key, n in zip(
                *(getattr(strata, k).tolist() for k in keys), strata.count.tolist(), strict=True
            ):
                margin[tuple(key)] += n
            margins.append(margin)
        assert margins[0] == margins[1], keys
    assert cells(real) != cells(permuted)


def test_the_noise_floor_is_the_information_of_the_shuffled_strata():
    trace, *_ = make(np.random.default_rng(3), lengths=(90,) * 12, missing=0.1)
    rows = strata_rows(take_sample(trace, groups=12), ROUTERS[0], ROUTERS[1])
    strata, shuffled = rows.count(), rows.count(np.random.default_rng(0))
    found, direct = shuffled_information(strata, shuffled), conditional_information_interval(shuffled)
    assert found.mi_bits == pytest.approx(direct.mi_bits, rel=1e-12)
    assert found.standard_error == pytest.approx(direct.standard_error, rel=1e-12)
    assert found.mi_bits != pytest.approx(conditional_information_interval(strata).mi_bits)


def test_a_sample_is_whole_documents_and_says_so(monkeypatch):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 64)
    lengths = np.random.default_rng(5).integers(3, 60, 200)
    trace, document, *_, token = make(np.random.default_rng(4), lengths=lengths)
    whole = take_sample(trace)
    assert len(whole) == len(document)
    assert whole.note == ""
    part = take_sample(trace, memory=12 * len(document) // 3)
    assert 0.1 < len(part) / len(document) < 0.34
    assert part.note == f"on {len(part):,} tokens of {part.n_documents:,} documents taken at random"
    # Every document is there whole or not at all: the rows of those taken are a subsequence of all rows.
    taken = {}
    start = 0
    for number, n in enumerate(lengths.tolist()):
        taken[number] = token[start : start + n].tolist()
        start += n
    left, rows = part.token.tolist(), 0
    for number in range(len(lengths)):
        if (
            left[rows : rows + len(taken[number])] == taken[number]
            and number % 256 == part.group[rows : rows + 1]
        ):
            rows += len(taken[number])
    assert rows == len(left)


@pytest.mark.parametrize("view", ["subset", "expert"])
@pytest.mark.parametrize("groups", [2, 256])
def test_tables_expected_within_documents(monkeypatch, view, groups):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 5)
    trace, document, _, states, _ = make(np.random.default_rng(6))
    counts = count(trace, groups=groups, states=view)
    found = count_within(trace, counts)
    size = 6 if view == "subset" else 4
    for source, target in pairwise(ROUTERS):
        expected = np.zeros((groups, size, size))
        for d in range(5):
            mine = (document == d) & (states[source.name] < 6) & (states[target.name] < 6)
            if not mine.any():
                continue
            margins = []
            for router in (source, target):
                column = states[router.name][mine]
                choices = column if view == "subset" else router.alphabet.unrank(column).ravel()
                margins.append(np.bincount(choices, minlength=size))
            expected[d % groups] += np.outer(*margins) / mine.sum()
            # Five documents fill no more groups than these.
        assert not expected[counts.groups :].any()
        expected = expected[: counts.groups]
        np.testing.assert_allclose(found[target.name], expected, rtol=1e-12, atol=1e-12)
        table = counts.table(Context.layer(1), target)
        np.testing.assert_allclose(expected.sum(axis=(1, 2)), table.sum(axis=(1, 2)), rtol=1e-12)


def test_a_trace_without_known_tokens_has_no_strata():
    meta = TraceMeta((Router(0, 4, 2), Router(1, 4, 2)), name="t")
    states = np.zeros((3, 2), np.uint8)
    trace = Trace.from_arrays(meta, np.zeros(3, int), np.arange(3), states=states)
    strata = count_strata(take_sample(trace), *meta.routers)
    assert strata.n_tokens == strata.n_strata == len(strata.count) == 0


@pytest.mark.parametrize("states", ["subset", "expert"])
def test_exchanged_documents(states):
    trace, document, _, columns, _ = make(np.random.default_rng(7), lengths=(6, 4, 6), missing=0.2)
    sample = take_sample(trace)
    found = list(permuted_tables(sample, ROUTERS[0], ROUTERS[1], np.random.default_rng(0), 40, states=states))
    size = 6 if states == "subset" else 4
    possible = {}
    for partner in permutations(range(3)):
        table = np.zeros((size, size), int)
        for d in range(3):
            # All are cut to the four tokens of the shortest, or tables would differ in size.
            rows = (np.flatnonzero(document == e)[:4] for e in (d, partner[d]))
            for s, t in zip(*rows, strict=True):
                x, y = columns["L00"][s], columns["L01"][t]
                if max(x, y) < 6 and states == "subset":
                    table[x, y] += 1
                elif max(x, y) < 6:
                    pairs = (r.alphabet.unrank(z) for r, z in zip(ROUTERS, (x, y), strict=False))
                    table[np.ix_(*pairs)] += 1
        possible[partner] = table.tobytes()
    assert {table.astype(int).tobytes() for table in found} == set(possible.values())
    assert found[0].astype(int).tobytes() == possible[0, 1, 2]
    assert len(found) == 41
