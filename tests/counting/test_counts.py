import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routestat import Context, Router, RoutestatError, Trace, TraceMeta, TraceWriter, count, layer_window
from routestat.counting.counting_pass import add_cells
from routestat.traces.metadata import routers_like
from tests.oracle.counting_oracle import expert_table, tables

ALL = (
    Context(),
    Context.layer(1),
    Context.layer(2),
    Context.layer(2, 1),
    Context.token(1),
    Context.token(2),
    Context.token(2, 1),
    Context(((-1, 0), (0, -1))),
    Context(((-1, -1),)),
)


def test_counted_on_paper():
    # Two documents, two layers of 3 experts top 1. Document 0: (0,1) (1,1) (2,0); document 5: (1,1) (1,2).
    meta = TraceMeta(routers_like([4, 9], 3, 1))
    states = np.array([[0, 1], [1, 1], [2, 0], [1, 1], [1, 2]], np.uint8)
    counts = count(Trace.from_arrays(meta, [0, 0, 0, 5, 5], None, states), groups=4)
    first, second = counts.routers
    # Groups are 0 and 5 mod 4 = 1. Rows: layer 4's expert; columns: layer 9's.
    layer = counts.table(Context.layer(1), second)
    assert layer[0].tolist() == [[0, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert layer[1].tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert layer[2:].sum() == 0
    # Previous token at layer 4: 0→1, 1→2 in document 0; 1→1 in document 5. Nothing crosses documents.
    token = counts.table(Context.token(1), first)
    assert token[0].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert token[1].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert counts.table(Context(), first).tolist() == [[1, 1, 1], [0, 2, 0], [0, 0, 0], [0, 0, 0]]
    assert counts.tokens.tolist() == [3, 2, 0, 0]
    assert counts.documents.tolist() == [1, 1, 0, 0]
    assert (counts.n_tokens, counts.n_documents, counts.states) == (5, 2, "subset")
    with pytest.raises(RoutestatError, match="context layer-1 was not counted for L04"):
        counts.table(Context.layer(1), first)


def random_trace(rng, alphabets, lengths, gaps=True, missing=0.1):
    document = np.repeat(rng.permutation(50)[: len(lengths)], lengths)
    steps = [np.cumsum(rng.choice([1, 1, 1, 2], n)) - 1 if gaps else np.arange(n) for n in lengths]
    routers = tuple(Router(2 * i, e, k) for i, (e, k) in enumerate(alphabets))
    columns = {}
    for router in routers:
        values = rng.integers(0, router.alphabet.size, len(document)).astype(router.alphabet.dtype)
        values[rng.random(len(document)) < missing] = router.alphabet.missing
        columns[router.name] = values
    return document, np.concatenate([*steps, []]).astype(int), columns, routers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    window=st.sampled_from([0, 3]),
    batch=st.sampled_from([1, 2, 5, 64]),
    threads=st.sampled_from([1, 3]),
)
def test_every_context_against_the_slow_way(monkeypatch, seed, lengths, window, batch, threads):
    # Batches of a few rows make every run cross a seam.
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: batch)
    rng = np.random.default_rng(seed)
    document, position, columns, routers = random_trace(rng, [(4, 2), (3, 1), (5, 2)], lengths)
    trace = Trace.from_arrays(TraceMeta(routers, window=window), document, position, columns)
    counts = count(trace, contexts=ALL, groups=7, threads=threads).with_groups(7)
    sizes = [router.alphabet.size for router in routers]
    states = np.stack([columns[r.name].astype(int) for r in routers], 1)
    states[states == [r.alphabet.missing for r in routers]] = -1
    for context in ALL:
        for place, target in enumerate(routers):
            if any(place + layer < 0 for layer, _ in context.sources):
                continue
            sources = [(place + layer, -token) for layer, token in context.sources]
            slow = tables(document, position, states, sizes, -1, sources, place, 7, window)
            assert np.array_equal(counts.table(context, target), slow), (context.name, target.name)


@pytest.mark.parametrize(("n_experts", "top_k"), [(64, 6), (10, 3), (512, 10), (7, 1)])
def test_expert_tables_against_the_slow_way(n_experts, top_k):
    rng = np.random.default_rng(3)
    experts = np.argsort(rng.random((60, 3, n_experts)), axis=2)[..., :top_k]
    document = np.repeat(np.arange(6), 10)
    meta = TraceMeta(routers_like([0, 1, 2], n_experts, top_k))
    trace = Trace.from_arrays(meta, document, None, None, experts=experts)
    counts = count(trace, groups=4, states="expert", contexts=[Context(), Context.layer(1), Context.token(1)])
    slow = expert_table(document, experts[:, 0], experts[:, 1], n_experts, n_experts, 4)
    assert np.array_equal(counts.table(Context.layer(1), counts.routers[1]), slow)
    after = np.flatnonzero(document[1:] == document[:-1]) + 1
    slow = expert_table(document[after], experts[after - 1, 2], experts[after, 2], n_experts, n_experts, 4)
    assert np.array_equal(counts.table(Context.token(1), counts.routers[2]), slow)
    loads = np.bincount(experts[:, 2].ravel(), minlength=n_experts)
    assert np.array_equal(counts.table(Context(), counts.routers[2]).sum(0), loads)


def test_a_token_missing_at_either_end_is_left_out_of_expert_tables():
    experts = np.array([[[0, 1], [2, 3]], [[-1, -1], [0, 1]], [[4, 5], [-1, -1]]])
    trace = Trace.from_arrays(TraceMeta(routers_like([0, 1], 6, 2)), [0, 0, 0], None, None, experts=experts)
    counts = count(trace, groups=1, states="expert")
    expected = np.zeros((6, 6), int)
    expected[np.ix_([0, 1], [2, 3])] = 1
    assert np.array_equal(counts.table(Context.layer(1), counts.routers[1])[0], expected)
    assert counts.table(Context(), counts.routers[0])[0].tolist() == [1, 1, 0, 0, 1, 1]


def split_and_shuffled_stores(tmp_path, document, position, columns, routers, order):
    with TraceWriter(tmp_path / "whole", TraceMeta(routers), shard_rows=5) as writer:
        writer.write(document, position, states=columns)
    with TraceWriter(tmp_path / "shuffled", TraceMeta(routers), shard_rows=7) as writer:
        for number in order:
            rows = document == number
            writer.write(document[rows], position[rows], states={n: v[rows] for n, v in columns.items()})
    return Trace.open(tmp_path / "whole"), Trace.open(tmp_path / "shuffled")


def test_shards_batches_and_the_order_of_documents_change_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    document, position, columns, routers = random_trace(rng, [(4, 2), (4, 2)], [3, 20, 1, 8, 2])
    order = rng.permutation(np.unique(document))
    stores = split_and_shuffled_stores(tmp_path, document, position, columns, routers, order)
    reference = count(stores[0], contexts=ALL[:5], groups=8)
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 4)
    for trace in (*stores, Trace.from_arrays(TraceMeta(routers), document, position, columns)):
        counts = count(trace, contexts=ALL[:5], groups=8)
        for key, table in reference.tables.items():
            assert np.array_equal(counts.tables[key], table)


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    rng = np.random.default_rng(2)
    document, position, columns, routers = random_trace(rng, [(4, 2), (4, 2), (6, 1)], [9, 5, 14, 3])
    meta, part = TraceMeta(routers), document == document[0]

    def of(rows):
        inside = {name: values[rows] for name, values in columns.items()}
        return count(Trace.from_arrays(meta, document[rows], position[rows], inside), contexts=ALL, groups=16)

    whole, total = of(np.ones(len(document), bool)), of(part) + of(~part)
    for key, table in whole.tables.items():
        assert np.array_equal(total.tables[key], table)
    assert np.array_equal(total.tokens, whole.tokens)
    assert np.array_equal(total.documents, whole.documents)
    with pytest.raises(RoutestatError, match="different groups"):
        _ = whole + count(Trace.from_arrays(meta, document, position, columns), contexts=ALL, groups=8)


def test_sums_past_32_bits_widen_instead_of_wrapping():
    trace = Trace.from_arrays(TraceMeta(routers_like([0], 4, 2)), [0], None, [[3]])
    counts = count(trace, contexts=[Context()], groups=1)
    big = np.full((1, 6), 2**32 - 1, np.uint32)
    huge = add_cells(big, counts.table(Context(), counts.routers[0]))
    assert huge[0, 3] == 2**32


def test_a_document_longer_than_a_shard_keeps_its_previous_tokens(tmp_path):
    meta = TraceMeta(routers_like([0], 8, 2))
    with TraceWriter(tmp_path / "t", meta, shard_rows=10) as writer:
        writer.write(np.zeros(95, int), states=np.arange(95)[:, None] % 28)
    counts = count(Trace.open(tmp_path / "t"), contexts=[Context.token(1)], groups=1)
    assert counts.table(Context.token(1), counts.routers[0]).sum() == 94


def test_chosen_layers_step_through_the_list_not_the_model():
    states = np.array([[0, 1, 2, 3]] * 4, np.uint8)
    trace = Trace.from_arrays(TraceMeta(routers_like([0, 1, 2, 3], 8, 2)), [0, 0, 1, 1], None, states)
    counts = count(trace, layers=[3, 0], contexts=[Context.layer(1)])
    assert [router.layer for router in counts.routers] == [0, 3]
    assert counts.table(Context.layer(1), counts.routers[1]).sum(0)[0, 3] == 4


def test_groups_bend_to_memory_but_not_below_32():
    trace = Trace.from_arrays(TraceMeta(routers_like([0, 1], 8, 2)), [0, 300], None, [[0, 1], [2, 3]])
    table = 29 * 29 * 4
    assert count(trace, contexts=[Context.layer(1)], memory=256 * table).groups == 256
    bent = count(trace, contexts=[Context.layer(1)], memory=100 * table)
    assert bent.groups == 64
    assert "64 groups instead of 256" in bent.note
    assert count(trace, contexts=[Context.layer(1)], memory=1).groups == 32
    assert count(trace, contexts=[Context.layer(1)], groups=20, memory=1).groups == 20


def trace_of_documents(numbers, clusters=None):
    states = np.arange(2 * len(numbers), dtype=np.uint8)[:, None] % 6
    document = np.repeat(numbers, 2)
    own = None if clusters is None else np.repeat(clusters, 2)
    meta = TraceMeta(routers_like([0], 4, 2))
    return Trace.from_arrays(meta, document, None, states, clusters=own, template="keep")


def test_few_clusters_have_few_groups_and_the_same_tables():
    contexts = [Context(), Context.token(1)]
    ten = trace_of_documents(np.arange(10))
    counts = count(ten, contexts=contexts)
    assert counts.groups == 16
    assert not counts.wraps
    assert counts.note == ""
    assert counts.tokens.tolist() == [2] * 10 + [0] * 6
    # With ten groups asked for, or fewer, nothing is halved.
    assert [count(ten, groups=groups).groups for groups in (10, 9, 1, 20, 21)] == [10, 9, 1, 10, 10]
    assert count(ten, groups=9).wraps
    # Ten documents in two clusters need two groups.
    assert count(trace_of_documents(np.arange(10), np.arange(10) % 2)).groups == 2
    # A document with a large number has the group of its number in all traces.
    assert count(trace_of_documents([3, 300])).groups == 256


def test_counts_with_few_groups_are_added_to_those_with_many():
    few, many = (trace_of_documents(numbers) for numbers in (np.arange(10), np.arange(10, 400)))
    whole = count(trace_of_documents(np.arange(400)))
    parts = count(few), count(many)
    for total in (parts[0] + parts[1], parts[1] + parts[0]):
        assert total.groups == 256
        assert total.wraps
        assert np.array_equal(total.tokens, whole.tokens)
        assert np.array_equal(total.documents, whole.documents)
        marginal = total.table(Context(), total.routers[0])
        # Every document begins at another choice here than in the whole trace: only totals can be compared.
        assert np.array_equal(marginal.sum(axis=1), whole.tokens)
        assert not marginal.flags.writeable
    # Groups that clusters share cannot be taken apart again.
    with pytest.raises(RoutestatError, match="expected 256 groups, got 4; count both with groups=4"):
        _ = count(few, groups=4) + parts[1]
    with pytest.raises(RoutestatError, match="expected 8 groups, got 16"):
        parts[0].with_groups(8)
    wide = parts[0].with_groups(40)
    assert (
        wide.table(Context(), wide.routers[0])[:16].tolist()
        == parts[0].table(Context(), wide.routers[0]).tolist()
    )
    assert wide.tokens[16:].sum() == 0


def test_views_are_chosen_by_width_and_refused_where_unsound():
    def trace(n_experts, top_k):
        rows = np.tile(np.arange(top_k), (2, 2, 1))
        return Trace.from_arrays(
            TraceMeta(routers_like([0, 1], n_experts, top_k)), [0, 1], None, None, experts=rows
        )

    assert count(trace(45, 2)).states == "subset"  # 990 pairs
    assert count(trace(46, 2)).states == "expert"  # 1035 pairs
    with pytest.raises(RoutestatError, match="use the expert view"):
        count(trace(64, 6), states="subset")
    with pytest.raises(RoutestatError, match="one source at a time"):
        count(trace(64, 6), contexts=[Context.layer(2, 1)])
    with pytest.raises(RoutestatError, match="auto, subset or expert"):
        count(trace(8, 2), states="pairs")


def test_contexts_have_one_name_and_look_back_only():
    assert Context.layer(1, 2) == Context(((-1, 0), (-2, 0)))
    assert [context.name for context in layer_window(2)] == ["layer-1", "layer-2"]
    assert Context(((-1, 0), (0, -1))).name == "layer-1,token-1"
    assert Context().name == "nothing"
    for sources in [((1, 0),), ((0, 1),), ((-1, 0), (-1, 0))]:
        with pytest.raises(RoutestatError):
            Context(sources)
    with pytest.raises(RoutestatError, match="1 or more"):
        Context.layer(0)


def test_progress_ends_at_the_number_of_tokens(monkeypatch):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 2)
    trace = Trace.from_arrays(TraceMeta(routers_like([0], 4, 2)), [0] * 5, None, np.zeros((5, 1), np.uint8))
    seen = []
    count(trace, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


LATER_LAYERS = (
    Context(((1, -1),)),
    Context(((2, -1),)),
    Context(((1, -1), (1, -2))),
    Context(((-1, 0), (1, -1))),
)


def test_the_next_layer_of_the_token_before_on_paper():
    # One document of 3 tokens, two layers of 3 experts top 1: (0,1) (1,2) (2,0). Layer 4 after layer 9 of the token
    # before: 1→1, 2→2. Beyond layer 9 there is none, so it has no table.
    meta = TraceMeta(routers_like([4, 9], 3, 1))
    trace = Trace.from_arrays(meta, [0, 0, 0], None, np.array([[0, 1], [1, 2], [2, 0]], np.uint8))
    later = Context(((1, -1),))
    counts = count(trace, contexts=[later], groups=1)
    first, second = counts.routers
    assert counts.table(later, first)[0].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert list(counts.tables) == [(later, first.name)]
    with pytest.raises(RoutestatError, match=r"context layer\+1 token-1 was not counted for L09"):
        counts.table(later, second)


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("window", [0, 3])
def test_contexts_that_end_beyond_either_router_have_no_table_there(monkeypatch, batch, window):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: batch)
    rng = np.random.default_rng(5)
    document, position, columns, routers = random_trace(rng, [(4, 2), (3, 1), (5, 2)], [9, 4, 1, 7])
    trace = Trace.from_arrays(TraceMeta(routers, window=window), document, position, columns)
    counts = count(trace, contexts=LATER_LAYERS, groups=3)
    sizes = [router.alphabet.size for router in routers]
    states = np.stack([columns[r.name].astype(int) for r in routers], 1)
    states[states == [r.alphabet.missing for r in routers]] = -1
    tabled = set()
    for context in LATER_LAYERS:
        for place, target in enumerate(routers):
            sources = [(place + layer, -token) for layer, token in context.sources]
            if any(column not in range(len(routers)) for column, _ in sources):
                continue
            tabled.add((context, target.name))
            slow = tables(document, position, states, sizes, -1, sources, place, 3, window)
            assert np.array_equal(counts.table(context, target), slow), (context.name, target.name)
    assert set(counts.tables) == tabled
    assert len(tabled) == 2 + 1 + 2 + 1
