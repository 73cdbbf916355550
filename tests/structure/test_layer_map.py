"""The map of all layer pairs: each cell what the pair alone says, whatever the order they come in."""

from functools import partial

import numpy as np
import pytest

from routestat import Context, count
from routestat.errors import RoutestatError
from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from routestat.inference.base.multiplicity import adjust
from routestat.inference.information.entropy import entropy
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.structure.layer_map import layer_map, without_diagonal
from routestat.traces.synthetic import chain, expert_chain, to_trace


def all_pairs(trace, **how):
    """Every pair of layers, one offset counted at a time, as a report would."""
    for back in range(1, len(trace.routers())):
        counts = count(trace, contexts=[Context.layer(back)], groups=64, **how)
        for target in counts.routers[back:]:
            source = counts.source(target, back)
            yield (source.layer, target.layer), counts.table(Context.layer(back), target)


@pytest.fixture(scope="module")
def trace():
    rng = np.random.default_rng(0)
    made = chain(n_experts=5, top_k=2, layers=4, documents=60, mean_length=80, rng=rng, coupling=0.4)
    return to_trace(made)


def test_every_cell_is_what_the_pair_alone_says(trace):
    tables = dict(all_pairs(trace))
    found = layer_map(tables)
    assert found.layers == (0, 1, 2, 3)
    q = adjust([independence(table).p_clustered for table in tables.values()])
    for ((i, j), table), adjusted in zip(tables.items(), q, strict=True):
        information, test = mutual_information_interval(table), independence(table)
        for a, b in ((i, j), (j, i)):
            assert found.mi_bits[a, b] == information.mi_bits
            assert (found.mi_bits_low[a, b], found.mi_bits_high[a, b]) == (information.low, information.high)
            assert found.mi_bits_plugin[a, b] == information.mi_bits_plugin
            assert found.cramers_v_corrected[a, b] == test.cramers_v_corrected
            assert found.design_effect[a, b] == test.design_effect
            assert found.log10_p_clustered[a, b] == test.log10_p_clustered
            assert 10 ** found.log10_q_clustered[a, b] == pytest.approx(adjusted)
    for layer in range(4):
        table = tables[0, layer].sum(axis=(0, 1)) if layer else tables[0, 1].sum(axis=(0, 2))
        assert found.mi_bits[layer, layer] == entropy(table)
        assert found.mi_bits_plugin[layer, layer] == entropy(table, "plugin")
    assert np.isnan(np.diag(found.p_clustered)).all()
    # Neighbours say more of each other than layers further apart.
    assert found.mi_bits[0, 1] > found.mi_bits[0, 2] > found.mi_bits[0, 3] - 0.01


def test_a_generator_in_any_order_gives_the_same(trace):
    tables = dict(all_pairs(trace))
    turned = (((j, i), table.swapaxes(1, 2)) for (i, j), table in reversed(tables.items()))
    a, b = layer_map(tables), layer_map(turned, layers=[3, 2, 1, 0])
    np.testing.assert_allclose(b.mi_bits[::-1, ::-1], a.mi_bits, atol=1e-12)
    np.testing.assert_allclose(b.log10_q_clustered[::-1, ::-1], a.log10_q_clustered, rtol=1e-9)


def test_the_expert_view():
    made = expert_chain(
        n_experts=12,
        top_k=3,
        layers=3,
        documents=40,
        mean_length=50,
        coupling=1.0,
        rng=np.random.default_rng(1),
    )
    trace = to_trace(made)
    tables = dict(all_pairs(trace, states="expert"))
    found = layer_map(tables, top_k={0: 3, 1: 3, 2: 3})
    table = tables[0, 1].astype(np.int64)
    inclusions = table.sum(axis=2) // 3, table.sum(axis=1) // 3
    test = independence_experts(table, *inclusions, table.sum(axis=(1, 2)) // 9)
    assert found.log10_p_clustered[0, 1] == test.log10_p_clustered
    assert found.mi_bits[0, 0] == entropy(inclusions[0].sum(axis=0))
    assert np.isnan(found.cramers_v_corrected).all()


def test_pairs_that_are_not_there_and_layers_with_nothing_to_say():
    one = np.zeros((6, 4, 4), int)
    one[:, 0] = 5
    found = layer_map({(2, 7): one}, layers=[1, 2, 7])
    assert np.isnan(found.mi_bits[0]).all()
    assert found.mi_bits[1, 1] == 0.0
    assert found.mi_bits[2, 2] > 1.9
    assert "one row" in found.reasons[2, 7]
    bare = without_diagonal(found.mi_bits)
    assert np.isnan(np.diag(bare)).all()
    assert bare[1, 2] == found.mi_bits[1, 2]


def test_bad_pairs_are_refused():
    table = np.ones((2, 2, 2), int)
    for pairs, layers, says in [
        ([((0, 0), table)], None, "itself"),
        ([((0, 1), table), ((1, 0), table)], None, "twice"),
        ([((0, 1), table)], [0, 2], "leave the pair out"),
    ]:
        with pytest.raises(RoutestatError, match=says):
            layer_map(pairs, layers)
    with pytest.raises(RoutestatError, match="as many rows"):
        without_diagonal([[1, 2]])
    assert layer_map({}).layers == ()


def test_tables_that_are_counted_when_needed_give_the_same_with_any_number_of_threads(trace):
    tables = dict(all_pairs(trace))
    asked = []

    def counted(key):
        asked.append(key)
        return tables[key]

    plain = layer_map(tables)
    for threads in (1, 2, 5):
        asked.clear()
        found = layer_map(((key, partial(counted, key)) for key in tables), threads=threads)
        assert sorted(asked) == sorted(tables)
        assert found.scarce == plain.scarce
        for name in ("mi_bits", "mi_bits_low", "design_effect", "log10_q_clustered"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
