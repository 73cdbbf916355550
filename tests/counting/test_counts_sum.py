"""Sums of parts: exactly the counts of the whole trace, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from routestat import Context, Counts, RoutestatError, Trace, TraceMeta, count
from routestat.counting.counts_sum import Sum
from routestat.traces.metadata import routers_like
from routestat.traces.parts import part_of
from tests.counting.stored_traces import same_counts, write_store

HOW = {
    "contexts": (Context(), Context.layer(1), Context.token(1), Context.token(2)),
    "groups": 8,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("sum") / "t")


@pytest.fixture(scope="module")
def parts(store):
    trace = Trace.open(store)
    return [count(part_of(trace, number, 4), **HOW) for number in range(1, 5)]


def total(*parts, allow_missing=False):
    adder = Sum()
    for place, part in enumerate(parts):
        adder.add(part, f"{'abcdefgh'[place]}.counts")
    return adder.finished(allow_missing)


def refusal(*parts):
    with pytest.raises(RoutestatError) as caught:
        total(*parts)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("of", [1, 2, 5, 40])
@pytest.mark.parametrize("wide", [False, True], ids=["subset", "expert"])
def test_parts_add_up_to_the_whole(tmp_path, of, wide):
    trace = Trace.open(write_store(tmp_path / "t", wide))
    whole = count(trace, **HOW)
    numbers = np.random.default_rng(of).permutation(np.arange(1, of + 1)).tolist()
    found, missing = total(
        *[count(part_of(trace, number, of), **HOW) for number in numbers[:8]], allow_missing=True
    )
    for number in numbers[8:]:
        found += count(part_of(trace, number, of), **HOW)
    assert same_counts(whole, replace(found, note=whole.note))
    (origin,) = found.origins
    assert origin.is_complete
    assert origin.shards == whole.origins[0].shards
    assert bool(missing) == (of == 40)


def test_a_part_given_twice(parts):
    assert refusal(parts[0], parts[1], parts[0]) == "c.counts: part 1/4 of uneven is given twice"
    with pytest.raises(RoutestatError, match="part 2/4 of uneven is given twice"):
        parts[1] + parts[1]
    assert "part 1/1 of uneven is given twice" in refusal(parts_of_all(parts), parts_of_all(parts))


def parts_of_all(parts):
    whole = parts[0] + parts[1] + parts[2] + parts[3]
    (origin,) = whole.origins
    one = replace(origin.parts[0], number=1, of=1, start=0, stop=origin.rows)
    return replace(whole, origins=(replace(origin, parts=(one,)),))


def is_empty(part):
    (rows,) = part.origins[0].parts
    return rows.start == rows.stop


def test_an_empty_part_given_twice(store):
    trace = Trace.open(store)
    every = [count(part_of(trace, number, 40), **HOW) for number in range(1, 41)]
    empty = next(one for one in every if is_empty(one))
    assert "is given twice" in refusal(empty, empty)
    # Which part an absent one would have been is told by its number, but rows alone say whether any is missing.
    assert total(*[one for one in every if not is_empty(one)][:8], allow_missing=True)[1].endswith("of 40")
    found = every[0]
    for one in every[1:]:
        found = found if is_empty(one) else found + one
    assert found.origins[0].missing == ""


def test_parts_of_two_divisions_overlap(store, parts):
    trace = Trace.open(store)
    half = count(part_of(trace, 1, 2), **HOW)
    assert "parts 1/2 and 2/4 overlap; use parts of one division" in refusal(half, parts[1])
    found, missing = total(half, parts[2], parts[3])
    assert (found.n_tokens, missing) == (trace.n_counted, "")


def test_missing_parts_are_named(parts):
    assert refusal(parts[1]) == (
        "parts 1, 3-4 of 4 of the trace missing: count them too, or add the others with --allow-missing"
    )
    found, missing = total(parts[0], parts[3], allow_missing=True)
    assert missing == "parts 2-3 of 4"
    assert found.note == "counted without parts 2-3 of 4 of the trace"
    assert not found.origins[0].is_complete


def test_the_files_survive_the_way_through_the_disk(parts, tmp_path):
    for place, part in enumerate(parts):
        part.save(tmp_path / f"{place}.counts")
    found, _ = total(*[Counts.load(tmp_path / f"{place}.counts") for place in range(4)])
    assert same_counts(found, total(*parts)[0])


def test_what_was_not_counted_alike_is_not_added(store, parts, tmp_path):
    trace = Trace.open(store)
    second = part_of(trace, 2, 4)
    other = Trace.open(write_store(tmp_path / "o", seed=1, name="other"))
    said = refusal(parts[0], count(part_of(other, 2, 4), **HOW))
    assert said.startswith("b.counts: expected counts as in a.counts, of trace uneven (")
    assert "got those of other (" in said
    assert "with layers 0, 2, 4, got 0, 2;" in refusal(parts[0], count(second, [0, 2], **HOW))
    assert "with groups 8, got 4;" in refusal(parts[0], count(second, **HOW | {"groups": 4}))
    assert "with contexts nothing, layer-1, token-1, token-2, got layer-1;" in refusal(
        parts[0], count(second, **HOW | {"contexts": [Context.layer(1)]})
    )
    assert "with view subset, got expert;" in refusal(parts[0], count(second, states="expert", **HOW))
    kept = part_of(Trace.open(store, template="keep"), 2, 4)
    assert "with --template once, got keep;" in refusal(parts[0], count(kept, **HOW))
    alone = part_of(Trace.open(store, cluster="document"), 2, 4)
    if not np.array_equal(alone.units.cluster, trace.units.cluster):
        assert "with clusters " in refusal(parts[0], count(alone, **HOW))


def test_counts_of_no_stored_trace(parts):
    meta = TraceMeta(routers_like([0], 4, 2))
    memory = count(Trace.from_arrays(meta, [0, 0, 1], None, np.zeros((3, 1), np.uint8)))
    assert memory.origins == ()
    assert "a.counts: expected counts of one stored trace, got those of no trace" in refusal(memory)
    with pytest.raises(RoutestatError, match="nothing to add"):
        Sum().finished()


def test_sums_beyond_32_bits(parts):
    key = next(iter(parts[0].tables))
    shape = parts[0].tables[key].shape
    large = np.zeros(shape, np.uint32)
    large.flat[3] = 2**32 - 1
    small = np.zeros(shape, np.uint32)
    small.flat[3], small.flat[4] = 1, 7
    first = replace(parts[0], tables={**parts[0].tables, key: large})
    found = first + replace(parts[1], tables={**parts[1].tables, key: small})
    assert found.tables[key].dtype == np.uint64
    assert (int(found.tables[key].flat[3]), int(found.tables[key].flat[4])) == (2**32, 7)
    more = found + replace(parts[2], tables={**parts[2].tables, key: large})
    assert int(more.tables[key].flat[3]) == 2**33 - 1
    other = next(one for one in parts[0].tables if one != key)
    assert found.tables[other].dtype == np.uint32
