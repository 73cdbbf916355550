"""Step tables of small traces."""

from itertools import pairwise

import numpy as np


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
