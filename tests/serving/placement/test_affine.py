"""Placements for affinity: planted communities, the optimum of few experts, nodes and copies."""

from itertools import pairwise, permutations, product

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.affine import affine_placement, divided, staying
from routestat.serving.placement.affine_combination import recombined
from routestat.serving.placement.affine_starts import LayerChain
from routestat.serving.placement.default_order import default_placement
from routestat.serving.placement.measures import together
from routestat.serving.placement.optimum import optimal_affinity
from routestat.serving.placement.placement import Devices, Placement
from routestat.traces.metadata import Router, routers_like
from tests.oracle import placement_oracle as oracle


def affinity(tables, placement, *, nodes=False):
    stay = sum(table[together(placement, place, nodes=nodes)].sum() for place, table in enumerate(tables))
    return float(stay / sum(table.sum() for table in tables))


def planted(sizes, n_groups, rng, inside=0.9, per_cell=20):
    """Communities of the experts of each layer, and transitions that stay in them with a probability."""
    groups = [rng.permutation(n) % n_groups for n in sizes]
    tables = []
    for source, target in pairwise(groups):
        same = source[:, None] == target
        each = len(target) // n_groups
        share = np.where(same, inside / each, (1 - inside) / max(len(target) - each, 1))
        tables.append(rng.poisson(share * len(target) * per_cell))
    return groups, tables


def unstructured(n_layers, n_experts, rng):
    return [
        rng.poisson(rng.dirichlet(np.ones(n_experts), n_experts) * rng.gamma(1.0, 1000, (n_experts, 1)))
        for _ in range(n_layers - 1)
    ]


@pytest.mark.parametrize(
    ("sizes", "n_groups"),
    [((8,) * 4, 2), ((8,) * 4, 4), ((16, 32, 16), 4), ((64,) * 8, 8), ((128,) * 3, 16)],
)
def test_planted_communities_are_recovered(sizes, n_groups):
    rng = np.random.default_rng(sum(sizes))
    groups, tables = planted(sizes, n_groups, rng)
    routers = tuple(Router(layer, n, 2) for layer, n in enumerate(sizes))
    found = affine_placement(tables, routers, Devices(n_groups), rng)
    device = [found.on_device(place).argmax(axis=1) for place in range(len(sizes))]
    # The same name in all layers: the device of a community.
    name = [set(zip(own.tolist(), at.tolist(), strict=True)) for own, at in zip(groups, device, strict=True)]
    assert set.union(*name) == name[0]
    assert len(name[0]) == n_groups


def test_communities_of_nodes_are_recovered_and_those_of_devices_within_them():
    rng = np.random.default_rng(5)
    n_layers, n = 5, 32
    community = [rng.permutation(n) % 8 for _ in range(n_layers)]
    node = [own // 4 for own in community]
    tables = []
    for layer in range(n_layers - 1):
        same_device = community[layer][:, None] == community[layer + 1]
        same_node = node[layer][:, None] == node[layer + 1]
        tables.append(rng.poisson(np.where(same_device, 120, np.where(same_node, 20, 4))))
    routers, devices = routers_like(range(n_layers), n, 4), Devices(8, 2)
    found = affine_placement(tables, routers, devices, rng)
    in_node = sum(t[a[:, None] == b].sum() for t, a, b in zip(tables, node, node[1:], strict=False))
    on_device = sum(
        t[a[:, None] == b].sum() for t, a, b in zip(tables, community, community[1:], strict=False)
    )
    total = sum(t.sum() for t in tables)
    assert affinity(tables, found, nodes=True) == pytest.approx(in_node / total)
    assert affinity(tables, found) == pytest.approx(on_device / total)


def test_nodes_come_before_devices():
    rng = np.random.default_rng(6)
    routers = routers_like(range(4), 16, 2)
    for _ in range(5):
        tables = unstructured(4, 16, rng)
        nodes = affine_placement(tables, routers, Devices(2), rng)
        both = affine_placement(tables, routers, Devices(8, 2), rng)
        flat = affine_placement(tables, routers, Devices(8), rng)
        assert affinity(tables, both, nodes=True) >= 0.99 * affinity(tables, nodes)
        assert affinity(tables, both) <= affinity(tables, flat) * 1.01


@pytest.mark.parametrize(("n_experts", "n_devices", "n_layers"), [(4, 2, 2), (4, 2, 3)])
def test_few_experts_are_placed_nearly_as_well_as_possible(n_experts, n_devices, n_layers):
    rng = np.random.default_rng(n_experts + n_layers)
    routers = routers_like(range(n_layers), n_experts, 2)
    for _ in range(3):
        tables = unstructured(n_layers, n_experts, rng)
        best = oracle.most_staying(tables, n_devices) / sum(table.sum() for table in tables)
        found = affinity(tables, affine_placement(tables, routers, Devices(n_devices), rng))
        assert best * 0.98 <= found <= best * (1 + 1e-9)


def test_eight_experts_of_eight_layers_are_within_two_percent_of_the_optimum():
    rng = np.random.default_rng(4)
    routers, gaps = routers_like(range(8), 8, 2), []
    for n_devices in (2, 2, 4, 4):
        tables = unstructured(8, 8, rng)
        devices = Devices(n_devices)
        best = optimal_affinity(tables, routers, devices)
        gaps.append(
            1 - affinity(tables, affine_placement(tables, routers, devices, rng)) / affinity(tables, best)
        )
    assert min(gaps) >= 0
    assert max(gaps) < 0.02


@pytest.mark.parametrize(
    "devices", [Devices(4), Devices(4, 1, 4), Devices(4, 2), Devices(4, 2, 4), Devices(4, 4, 12)]
)
def test_the_default_order_is_never_better_on_the_same_documents(devices):
    rng = np.random.default_rng(8)
    routers = (Router(1, 8, 2), Router(2, 12, 3), Router(4, 8, 1))
    for _ in range(4):
        tables = [rng.poisson(rng.gamma(0.3, 20, shape)) for shape in ((8, 12), (12, 8))]
        found = affine_placement(tables, routers, devices, rng)
        default = default_placement(routers, devices)
        nodes = devices.n_nodes > 1
        assert affinity(tables, found, nodes=nodes) >= affinity(tables, default, nodes=nodes)


def test_the_default_order_is_kept_where_it_is_the_best():
    routers, tables = routers_like([0, 1], 4, 2), [np.kron(np.eye(2, dtype=int), np.full((2, 2), 5))]
    found = affine_placement(tables, routers, Devices(2), np.random.default_rng(0))
    assert [experts.tolist() for experts in found.experts] == [[0, 1, 2, 3]] * 2
    assert affinity(tables, found) == 1.0


def test_copies_let_more_transitions_stay():
    # Tokens of both communities of layer 0 use expert 0 of layer 1: with a copy of it on either device all stay.
    tables = [np.array([[9, 5, 0, 0], [9, 5, 0, 0], [9, 0, 5, 5], [9, 0, 5, 5]])]
    routers = routers_like([0, 1], 4, 2)
    plain = affine_placement(tables, routers, Devices(2), np.random.default_rng(0))
    copied = affine_placement(tables, routers, Devices(2, 1, 2), np.random.default_rng(0))
    assert affinity(tables, plain) < 0.8
    assert affinity(tables, copied) == 1.0
    assert copied.on_device(1)[0].all()


def test_one_device_keeps_everything():
    tables = unstructured(3, 4, np.random.default_rng(0))
    found = affine_placement(tables, routers_like(range(3), 4, 2), Devices(1), np.random.default_rng(0))
    assert affinity(tables, found) == 1.0


def test_one_layer_has_the_default_order():
    found = affine_placement([], routers_like([0], 4, 2), Devices(2), np.random.default_rng(0))
    assert found.experts[0].tolist() == [0, 1, 2, 3]


def test_a_random_generator_decides_everything():
    tables = unstructured(4, 16, np.random.default_rng(0))
    one, two = (
        affine_placement(tables, routers_like(range(4), 16, 2), Devices(4), np.random.default_rng(3))
        for _ in range(2)
    )
    assert all((a == b).all() for a, b in zip(one.experts, two.experts, strict=True))


def test_a_table_of_other_experts_is_refused():
    with pytest.raises(RoutestatError, match=r"expected tables of \[\(4, 4\)\], got \[\(4, 8\)\]"):
        affine_placement(
            [np.ones((4, 8), int)], routers_like([0, 1], 4, 2), Devices(2), np.random.default_rng(0)
        )


def test_relabelling_experts_changes_nothing_that_stays():
    rng = np.random.default_rng(12)
    groups, tables = planted((16,) * 4, 4, rng)
    names = [rng.permutation(16) for _ in groups]
    renamed = [table[np.ix_(a, b)] for table, a, b in zip(tables, names, names[1:], strict=False)]
    routers = routers_like(range(4), 16, 2)
    found = [affinity(t, affine_placement(t, routers, Devices(4), rng)) for t in (tables, renamed)]
    assert found[0] == pytest.approx(found[1])


def test_three_bins_are_renamed_for_all_later_layers():
    rng = np.random.default_rng(2)
    tables = tuple(np.asarray(table, float) for table in unstructured(3, 6, rng))
    chain = LayerChain(tables, (6,) * 3, (2,) * 3, 3)
    bins = [rng.permutation(6) % 3 for _ in range(3)]
    names = [np.array(one) for one in permutations(range(3))]
    best = max(chain.staying([bins[0], one[bins[1]], two[bins[2]]]) for one, two in product(names, names))
    found = recombined(chain, [bins])
    assert chain.staying(found) == best
    # The experts of a bin stay together.
    assert all(
        len(set(zip(own.tolist(), new.tolist(), strict=True))) == 3
        for own, new in zip(bins, found, strict=True)
    )


def test_a_transition_that_stays_in_its_node_counts_ten_times_one_on_its_device():
    routers, tables = routers_like([0, 1], 4, 2), [np.arange(16).reshape(4, 4)]
    placement = default_placement(routers, Devices(4, 2))
    on_device, in_node = 0 + 5 + 10 + 15, 0 + 1 + 4 + 5 + 10 + 11 + 14 + 15
    assert staying(tables, placement) == on_device + 10 * in_node
    assert staying(tables, default_placement(routers, Devices(4))) == on_device


def test_copies_keep_transitions_in_their_node_before_their_device():
    rng = np.random.default_rng(0)
    routers = routers_like([0, 1], 8, 2)
    tables = [rng.poisson(rng.gamma(0.5, 40, (8, 8)))]
    plain, copied = (affine_placement(tables, routers, Devices(4, 2, n), rng) for n in (0, 4))
    flat = affine_placement(tables, routers, Devices(4, 1, 4), rng)
    assert affinity(tables, copied, nodes=True) > affinity(tables, plain, nodes=True)
    in_pairs = Placement(routers, Devices(4, 2, 4), flat.experts, "affinity")
    assert affinity(tables, copied, nodes=True) > affinity(tables, in_pairs, nodes=True)


def test_divisions_are_combined_in_the_best_way():
    rng = np.random.default_rng(2)
    tables = tuple(np.asarray(table, float) for table in unstructured(5, 8, rng))
    chain = LayerChain(tables, (8,) * 5, (4,) * 5, 2)
    several = [[rng.permutation(8) % 2 for _ in range(5)] for _ in range(3)]
    found = recombined(chain, several)
    # By trying: which division each layer is of, and whether its bins are renamed.
    best = max(
        chain.staying(
            [(several[which][layer] + swapped) % 2 for layer, (which, swapped) in enumerate(choice)]
        )
        for choice in np.ndindex(*(6,) * 5)
        for choice in [[(one // 2, one % 2) for one in choice]]
        if choice[0][1] == 0
    )
    assert chain.staying(found) == pytest.approx(best)


def test_bins_have_no_more_experts_than_places():
    rng = np.random.default_rng(9)
    tables = (rng.poisson(3.0, (10, 7)).astype(float), rng.poisson(3.0, (7, 12)).astype(float))
    found = divided(LayerChain(tables, (10, 7, 12), (4, 3, 4), 3), rng)
    assert [len(own) for own in found] == [10, 7, 12]
    for own, places in zip(found, (4, 3, 4), strict=True):
        assert np.bincount(own, minlength=3).max() <= places
