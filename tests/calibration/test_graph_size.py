"""How often independent layers have a backbone, or communities that are called more than noise, under document effects.

Documents are the units: tokens repeat the choice before them, or documents prefer states of their own, for every layer
apart. All cells that the backbone keeps are then false discoveries, so that a run with any counts as false; the level
of 5 % is that of the share of false cells, which is 1 in such a run. Rates with a design effect of 1 are beside it.
The default run has one case; the slow one makes the whole table.
"""

from functools import partial

import numpy as np
import pytest

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.inference.smoothing.design_effect import transition_design_effect
from routestat.structure.route_graph import LayerStates, Transition, route_graph
from routestat.traces.synthetic import clustered, to_trace

PAIRS = {"n_experts": 8, "top_k": 2, "layers": 6}
WIDE = {"n_experts": 64, "top_k": 6, "layers": 4}
STICKY = partial(clustered, stickiness=0.7)
PREFERRING = partial(clustered, stickiness=0.3, topic_concentration=20.0)
CASES = [
    ("pairs of 8, 60 documents, repeating", PAIRS, STICKY, 60, 8, ()),
    ("pairs of 8, 60 documents, repeating", PAIRS, STICKY, 60, 60, pytest.mark.long),
    ("pairs of 8, 60 documents, preferring", PAIRS, PREFERRING, 60, 60, pytest.mark.long),
    ("pairs of 8, 200 documents, preferring", PAIRS, PREFERRING, 200, 60, pytest.mark.long),
    ("6 of 64, 100 documents, repeating", WIDE, STICKY, 100, 40, pytest.mark.long),
    ("6 of 64, 100 documents, preferring", WIDE, PREFERRING, 100, 40, pytest.mark.long),
]


def graph_of(shape, made_by, documents, rng, known_effect):
    made = made_by(rng=rng, documents=documents, mean_length=60, lengths="exponential", **shape)
    counts = count(to_trace(made), threads=1)
    layers = []
    for router in counts.routers:
        tokens = counts.table(Context(), router).sum(axis=0, dtype=np.int64)
        layers.append(
            LayerStates(router.name, router.layer, tokens, [str(state) for state in range(len(tokens))])
        )
    transitions = []
    for router in counts.routers[1:]:
        tables = counts.table(Context.layer(1), router)
        halves = tuple(tables[start::2].sum(axis=0, dtype=np.int64) for start in (0, 1))
        effect = transition_design_effect(tables) if known_effect else 1.0
        transitions.append(Transition(tables.sum(axis=0, dtype=np.int64), effect, None, halves))
    return route_graph(layers, transitions, np.zeros((0, len(layers)), np.int64), rng)


@pytest.mark.parametrize(
    ("name", "shape", "made_by", "documents", "runs"),
    [pytest.param(*case[:-1], marks=case[-1], id=f"{case[0]}-{case[4]}") for case in CASES],
)
def test_independent_layers(name, shape, made_by, documents, runs, found):
    backbone, naive, communities = [], [], []
    for seed in range(runs):
        graph = graph_of(shape, made_by, documents, np.random.default_rng(seed), True)
        backbone.append(graph.backbone.n_kept)
        communities.append(bool(graph.communities_exceed_noise))
        naive.append(graph_of(shape, made_by, documents, np.random.default_rng(seed), False).backbone.n_kept)
    any_cell, any_naive = np.mean(np.array(backbone) > 0), np.mean(np.array(naive) > 0)
    found.append(
        f"{name} ({runs} runs): a backbone in {any_cell:.2f} of the runs (mean {np.mean(backbone):.1f} of "
        f"{graph.backbone.n_cells} cells; with design effect 1 in {any_naive:.2f}, mean {np.mean(naive):.1f}); "
        f"communities called more than noise in {np.mean(communities):.2f}"
    )
    assert any_cell <= 0.15 + 2 * np.sqrt(0.15 * 0.85 / runs)
    assert np.mean(communities) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert any_naive > any_cell
