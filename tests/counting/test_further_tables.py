"""Tables counted beside others: the same groups whatever they take, in as many passes as fit."""

import numpy as np
import pytest

from routestat import Context, RoutestatError, Trace, TraceMeta, count, layer_window
from routestat.counting import further_tables as beside
from routestat.counting.counting_pass import MEMORY
from routestat.counting.document_sample import take_sample
from routestat.counting.further_tables import count_further_tables
from routestat.study.memory import FARTHEST, measure_memory
from routestat.traces.metadata import routers_like


def trace_of(n_experts, top_k, layers, documents=3, length=2, seed=0, first=0):
    rng = np.random.default_rng(seed)
    shape = (documents * length, layers, n_experts)
    experts = np.argsort(rng.random(shape), axis=2)[:, :, :top_k]
    document = np.repeat(first + np.arange(documents), length)
    return Trace.from_arrays(
        TraceMeta(routers_like(range(layers), n_experts, top_k)), document, None, None, experts=experts
    )


def every_pair(counts):
    return [
        (Context.layer(back), target)
        for place, target in enumerate(counts.routers)
        for back in range(1, place + 1)
    ]


@pytest.mark.parametrize(("n_experts", "top_k"), [(4, 2), (64, 6)])
@pytest.mark.parametrize(("tables", "passes"), [(0, 10), (6, 4), (10, 1)])
def test_tables_are_those_of_one_pass_however_many_passes_it_takes(n_experts, top_k, tables, passes):
    trace = trace_of(n_experts, top_k, layers=5, documents=9, length=7)
    counts = count(trace, groups=4)
    whole = count(trace, contexts=layer_window(4), groups=4, states=counts.states)
    wanted = every_pair(counts)
    reported = []
    width = 7 if counts.states == "subset" else 65
    memory = tables * 4 * width**2 * 4 + 1
    found = list(
        count_further_tables(trace, counts, wanted, memory=memory, progress=lambda *at: reported.append(at))
    )
    assert len(found) == len(wanted) == 10
    for (context, target), table in zip(wanted, found, strict=True):
        assert np.array_equal(table, whole.table(context, target)), (context.name, target.name)
    # Progress is that of all passes together, and ends at its end.
    done, totals = [at[0] for at in reported], {at[1] for at in reported}
    assert done == sorted(done)
    assert totals == {done[-1]}
    assert done[-1] == passes * trace.n_tokens


def test_no_pass_takes_more_than_its_memory(monkeypatch):
    trace = trace_of(4, 2, layers=6, first=MANY)
    counts = count(trace, groups=8)
    table, sizes = 8 * 7 * 7 * 4, []

    def record(trace, routers, keys, *rest):
        sizes.append(len(keys) * table)
        return original(trace, routers, keys, *rest)

    original = beside.count_keys
    monkeypatch.setattr(beside, "count_keys", record)
    memory = 8 * table
    assert len(list(count_further_tables(trace, counts, every_pair(counts), memory=memory))) == 15
    # The last table of a pass, and all that was counted with it, is still held while the next is counted.
    assert sizes == [4 * table, 4 * table, 4 * table, 3 * table]
    sizes.clear()
    assert len(list(count_further_tables(trace, counts, every_pair(counts), memory=15 * table))) == 15
    assert sizes == [15 * table]


def test_a_source_that_was_not_counted_is_refused_before_any_pass():
    trace = trace_of(4, 2, layers=3)
    counts = count(trace, [0, 1, 2])
    with pytest.raises(RoutestatError, match="L01 has no context layer-2 among the counted layers"):
        count_further_tables(trace, counts, [(Context.layer(2), counts.routers[1])])


# A wide trace takes fewer groups in `count`; what is counted after it must not take fewer still.
# Documents are numbered from here, as in a trace of many: a trace of few has only as many groups as documents.
MANY = 256
WIDTHS = [(16, 2), (32, 2), (128, 1), (64, 1), (8, 2), (64, 6), (128, 8)]


@pytest.mark.parametrize("layers", [24, 32])
@pytest.mark.parametrize(("n_experts", "top_k"), WIDTHS)
def test_every_width_has_one_number_of_groups(n_experts, top_k, layers):
    trace = trace_of(n_experts, top_k, layers, first=MANY)
    counts = count(trace)
    tokens = trace.n_tokens * (1 if counts.states == "subset" else top_k**2)
    wanted = every_pair(counts)
    for table in count_further_tables(trace, counts, wanted):
        assert table.shape[0] == counts.groups
        # Three documents: the other groups are empty, and are not read.
        assert int(table[:3].sum()) == tokens
    first = counts.table(Context.layer(1), counts.routers[1])
    assert np.array_equal(next(iter(count_further_tables(trace, counts, wanted[:1]))), first)


def test_groups_of_a_narrow_trace_are_as_they_were():
    assert count(trace_of(8, 2, 32, first=MANY)).groups == 256
    assert count(trace_of(16, 2, 32, first=MANY)).groups == 256
    assert count(trace_of(32, 2, 32, first=MANY)).groups == 32


def test_horizons_of_a_trace_whose_farther_tables_do_not_fit_at_once():
    trace = trace_of(16, 2, 32, documents=4, length=5, first=MANY)
    counts = count(trace)
    farther = sum(min(FARTHEST, 31 - start) - 1 for start in range(31) if start < 30)
    assert counts.groups * farther * 121**2 * 4 > MEMORY
    found = measure_memory(trace, counts, take_sample(trace), (), np.random.default_rng(0))
    direct = count(trace, contexts=[Context.layer(8)], groups=counts.groups)
    last = found.horizons.horizons.index(8)
    assert found.horizons.n_tokens[0, last] == direct.table(Context.layer(8), direct.routers[8]).sum()
