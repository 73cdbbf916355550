"""Biclusters of transitions, each with random numbers of its own."""

import numpy as np
from numpy.testing import assert_array_equal

from routestat.counting.counts import count
from routestat.study.blocks import find_blocks
from routestat.study.structure_plan import StructurePlan
from routestat.traces.synthetic import chain, to_trace


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
    for a, b in zip(found[1:], other[1:], strict=True):
        assert_array_equal(a.blocks.row_labels, b.blocks.row_labels)
        assert_array_equal(a.null.shares, b.null.shares)
        assert a.stability.ari == b.stability.ari


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
        assert_array_equal(a.null.shares, b.null.shares)
        assert a.stability.ari == b.stability.ari
