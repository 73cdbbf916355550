"""Memories of planted chains and by hand."""

import numpy as np

from routestat.counting.board_rows import board_rows
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.forecast.board import make_board
from routestat.inference.markov.order_selection import choose_order
from routestat.inference.smoothing.held_out import HeldOut
from routestat.study.contexts import LayerMemory
from routestat.study.layers import sample_of
from routestat.study.memory import Memory, measure_memory
from routestat.traces.metadata import Router
from routestat.traces.synthetic import chain, expert_chain, independent, second_order, to_trace


def shape(**other):
    return {"n_experts": 4, "top_k": 2, "layers": 5, "documents": 80, "mean_length": 60} | other


def memory_of(made):
    trace = to_trace(made)
    counts = count(trace, contexts=[Context(), Context.layer(1), Context.token(1)])
    sample = sample_of(trace, counts, lambda *step: None)
    rows = board_rows(sample, counts.routers)
    board = make_board(rows, "expert") if counts.states == "expert" else ()
    return measure_memory(trace, counts, sample, board, np.random.default_rng(0))


PLANTED = {
    "order 1": lambda rng: chain(coupling=0.7, rng=rng, **shape()),
    "order 2": lambda rng: second_order(noise=0.3, rng=rng, **shape()),
    "order 0": lambda rng: independent(rng=rng, **shape()),
    "experts": lambda rng: expert_chain(
        coupling=1.0, rng=rng, **shape(n_experts=16, top_k=4, layers=6, documents=40)
    ),
}


def hand(*layers, fitted=True):
    """A memory of layers whose log losses are given in bits per token: six groups, each of ten tokens."""
    made = []
    for number, losses in enumerate(layers):
        bits = {name: np.array(loss) * np.full(6, 10.0) for name, loss in losses.items()}
        scores = HeldOut(bits, {}, np.full(6, 10.0), {"nothing": ()} if fitted else {})
        over = [
            choose_order([scores.bits[name] for name in names if name in bits], scores.tokens)
            for names in (("nothing", "layer-1", "layer-2,layer-1"), ("nothing", "token-1"))
        ]
        made.append(LayerMemory(Router(number, 8, 2), scores, over[0], over[1], ()))
    return Memory(tuple(made), None, None)


BEFORE = {"nothing": 5.0, "token-1": 5.0}
