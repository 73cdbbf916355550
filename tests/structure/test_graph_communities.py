"""Communities: every partition of small graphs, planted groups, other documents, noise."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from routestat.errors import RoutestatError
from routestat.structure.graph_communities import find_communities, held_out_modularity, measured
from tests.oracle.graph_oracle import best_modularity, layered_modularity


def random_joints(rng, sizes):
    return [rng.dirichlet(np.full(a * b, 0.3)).reshape(a, b) for a, b in pairwise(sizes)]


def planted(rng, groups, layers, strength=0.6, sizes=24):
    """States of every layer in random groups; a share of the tokens stays in its group, the rest goes anywhere."""
    labels = [rng.permutation(np.arange(sizes) % groups) for _ in range(layers)]
    joints = []
    for a, b in pairwise(labels):
        same = (a[:, None] == b).astype(float)
        joints.append(strength * same / same.sum() + (1 - strength) / sizes**2)
    return labels, joints


def test_two_layers_by_hand():
    # Diagonal shares .4 and .4: .8 stay, .5 if independent.
    found = find_communities([np.array([[0.4, 0.1], [0.1, 0.4]])], np.random.default_rng(0))
    assert found.n == 2
    assert found.labels[0].tolist() == found.labels[1].tolist()
    assert (found.stays, found.stays_independent) == (pytest.approx(0.8), pytest.approx(0.5))
    assert found.modularity == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(6))
def test_every_partition_of_small_graphs(seed):
    joints = random_joints(np.random.default_rng(seed), [3, 2, 3])
    found = find_communities(joints, np.random.default_rng(1), n_starts=10)
    assert found.modularity == pytest.approx(best_modularity([one.tolist() for one in joints]), abs=1e-9)
    labels = [one.tolist() for one in found.labels]
    assert found.modularity == pytest.approx(layered_modularity([one.tolist() for one in joints], labels))


def test_two_layers_have_the_directed_modularity_of_networkx():
    (joint,) = random_joints(np.random.default_rng(0), [6, 5])
    found = find_communities([joint], np.random.default_rng(1))
    graph = nx.DiGraph()
    graph.add_weighted_edges_from((i, 6 + j, joint[i, j]) for i, j in np.ndindex(joint.shape))
    both = np.concatenate(found.labels)
    groups = [set(np.flatnonzero(both == number).tolist()) for number in range(found.n)]
    assert found.modularity == pytest.approx(nx.community.modularity(graph, groups))


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_planted_groups_are_found(groups):
    labels, joints = planted(np.random.default_rng(groups), groups, layers=6)
    found = find_communities(joints, np.random.default_rng(0))
    assert adjusted_rand_score(np.concatenate(labels), np.concatenate(found.labels)) >= 0.95
    assert found.n == groups


def test_renumbering_states_of_a_layer_changes_nothing():
    rng = np.random.default_rng(4)
    _, joints = planted(rng, 3, layers=4)
    order = rng.permutation(24)
    moved = [joints[0][:, order], joints[1][order], joints[2]]
    a, b = (find_communities(one, np.random.default_rng(0)) for one in (joints, moved))
    assert a.modularity == pytest.approx(b.modularity)
    again = a.labels[1][order]
    assert adjusted_rand_score(again, b.labels[1]) == pytest.approx(1.0)


def test_the_same_stream_gives_the_same_communities():
    joints = random_joints(np.random.default_rng(5), [10, 10, 10])
    a, b = (find_communities(joints, np.random.default_rng(0)) for _ in range(2))
    assert [one.tolist() for one in a.labels] == [one.tolist() for one in b.labels]
    with pytest.raises(ValueError, match="read-only"):
        a.labels[0][0] = 3


def test_communities_of_noise_do_not_hold_in_other_documents():
    rng = np.random.default_rng(6)
    values = []
    for _ in range(20):
        halves = [
            tuple(rng.multinomial(500, np.full(400, 1 / 400)).reshape(20, 20) / 500 for _ in range(2))
            for _ in range(3)
        ]
        fitted = find_communities([pair[0] for pair in halves], rng).modularity
        assert fitted > 0.1
        values.append(held_out_modularity(halves, rng))
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values)) + 1e-3
    assert np.mean(values) < 0.02


def test_real_communities_hold_in_other_documents():
    _, joints = planted(np.random.default_rng(7), 4, layers=3)
    held = held_out_modularity([(one, one) for one in joints], np.random.default_rng(0))
    assert held == pytest.approx(find_communities(joints, np.random.default_rng(0)).modularity)
    assert held == pytest.approx(0.6 * 0.75)


def test_layers_without_tokens():
    joints = [np.zeros((3, 3)), np.array([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0]])]
    found = find_communities(joints, np.random.default_rng(0))
    # Used are states 0 and 1 of the last two layers.
    assert [(one >= 0).tolist() for one in found.labels] == [
        [False] * 3,
        [True, True, False],
        [True, True, False],
    ]
    assert found.stays == pytest.approx(1.0)
    for joints in ([], [np.zeros((2, 2))], [np.zeros((0, 3))]):
        found = find_communities(joints, np.random.default_rng(0))
        assert found.n == 0
        assert found.reason
        assert np.isnan(found.modularity)
    assert np.isnan(held_out_modularity([(np.zeros((2, 2)), np.eye(2) / 2)], np.random.default_rng(0)))
    assert np.isnan(held_out_modularity([], np.random.default_rng(0)))


def test_measured_counts_what_stays():
    joint = np.array([[0.2, 0.3], [0.1, 0.4]])
    found = measured([joint], [np.array([0, 1]), np.array([1, 0])])
    assert found.stays == pytest.approx(0.3 + 0.1)
    assert found.stays_independent == pytest.approx(0.5 * 0.7 + 0.5 * 0.3)


def test_tables_that_do_not_join():
    with pytest.raises(RoutestatError, match="share their layers"):
        find_communities([np.ones((2, 3)) / 6, np.ones((2, 3)) / 6], np.random.default_rng(0))
