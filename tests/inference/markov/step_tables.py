"""Step tables of small traces."""

from itertools import pairwise

import numpy as np
import pytest


def tables_of(states, group, widths=None):
    """A function of two places that counts `states` ``[layer, token]``."""
    widths = widths or [int(max(row)) + 1 for row in states]
    groups = int(max(group)) + 1

    def table(i, j):
        out = np.zeros((groups, widths[i], widths[j]), dtype=np.int64)
        np.add.at(out, (group, states[i], states[j]), 1)
        return out

    return table


def neighbours(table, layers):
    return [table(i, j) for i, j in pairwise(range(layers))]


def trace_tables(trace, groups):
    table = tables_of(trace.states.T.astype(int), trace.document % groups, [trace.alphabet.size] * 99)
    return neighbours(table, trace.states.shape[1]), table


@pytest.fixture
def small():
    """A few dependent tokens in 7 documents of very different length, layers of 3, 2, 3 and 4 states."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(7), [40, 3, 25, 9, 60, 14, 30])
    widths = [3, 2, 3, 4]
    states = [(rng.integers(0, k, len(group)) + (rng.random(len(group)) < 0.4) * group) % k for k in widths]
    states[2] = np.where(rng.random(len(group)) < 0.5, states[0], states[2])
    return tables_of(np.array(states), group, widths), 4
