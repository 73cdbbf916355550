"""Blocks of transitions, each with random numbers of its own."""

import numpy as np
from numpy.testing import assert_array_equal

from routestat.counting.counts import count
from routestat.study.blocks import clearest_blocks, find_blocks
from routestat.study.structure_plan import StructurePlan
from routestat.traces.synthetic import chain, expert_chain, to_trace


def test_blocks_of_a_transition_do_not_depend_on_those_before_it():
    """Other documents change the first transition alone; the last one has the same table and the same findings."""
    made = chain(
        layers=4,
        documents=30,
        mean_length=60,
        coupling=0.7,
        rng=np.random.default_rng(2),
        n_experts=4,
        top_k=2,
    )
    counts = count(to_trace(made))
    first = counts.routers[1].name

    class Other:
        """Counts whose first transition is independent: its fit stops early and draws fewer numbers."""

        routers, states = counts.routers, counts.states

        @staticmethod
        def table(context, target):
            table = counts.table(context, target)
            return np.ones_like(table) if target.name == first else table

    found, other = (
        find_blocks(each, StructurePlan(n_blocks=2), np.random.default_rng(0)) for each in (counts, Other())
    )
    assert other[0].blocks.reason
    assert other[1].found.are_real
    for a, b in zip(found[1:], other[1:], strict=True):
        assert_array_equal(a.blocks.row_labels, b.blocks.row_labels)
        assert_array_equal(a.found.null.shares, b.found.null.shares)
        assert a.found.stability.ari == b.found.stability.ari


def test_blocks_do_not_depend_on_the_number_of_threads():
    made = chain(
        layers=5,
        documents=30,
        mean_length=60,
        coupling=0.7,
        rng=np.random.default_rng(4),
        n_experts=4,
        top_k=2,
    )
    counts = count(to_trace(made))
    ticks = []

    def tick(what, done, total):
        ticks.append((what, done, total))

    one, several = (
        find_blocks(counts, StructurePlan(n_blocks=2), np.random.default_rng(0), tick, threads)
        for threads in (1, 3)
    )
    assert ticks == 2 * [("finding blocks", done, 4) for done in range(5)]
    for a, b in zip(one, several, strict=True):
        assert (a.source, a.target) == (b.source, b.target)
        assert_array_equal(a.blocks.row_labels, b.blocks.row_labels)
        assert_array_equal(a.found.null.shares, b.found.null.shares)
        assert a.found.stability.ari == b.found.stability.ari


def test_the_clearest_blocks_save_most_and_noise_has_none():
    def found(coupling):
        made = chain(
            layers=3,
            documents=40,
            mean_length=80,
            coupling=coupling,
            rng=np.random.default_rng(1),
            n_experts=4,
            top_k=2,
        )
        return find_blocks(count(to_trace(made)), StructurePlan(n_blocks=2), np.random.default_rng(0))

    real = found(0.8)
    gains = [item.found.number.gain.value for item in real]
    assert clearest_blocks(real) == int(np.argmax(gains))
    assert clearest_blocks(found(0.0)) is None
    assert clearest_blocks([]) is None


def test_wide_models_have_blocks_of_experts():
    made = expert_chain(
        coupling=1.0,
        rng=np.random.default_rng(0),
        n_experts=64,
        top_k=6,
        layers=3,
        documents=40,
        mean_length=60,
    )
    found = find_blocks(count(to_trace(made)), StructurePlan(), np.random.default_rng(0))
    assert [item.blocks.row_labels.shape for item in found] == [(64,), (64,)]
    assert all(item.found.are_real for item in found)
