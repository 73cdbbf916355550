"""Slow, obvious versions of the backbone, the communities and the centrality of a layered graph."""

from fractions import Fraction
from itertools import product
from math import sqrt


def moments_to_beta(mean, variance):
    """The two parameters of a beta distribution, from E = a / (a + b) and Var = E (1 − E) / (a + b + 1)."""
    both = mean * (1 - mean) / variance - 1
    return mean * both, (1 - mean) * both


def lift_score(table, i, j, more=0):
    """(L − 1) / (L + 1) of a cell, as a Fraction, after `more` tokens were added to the cell."""
    table = [list(map(Fraction, row)) for row in table]
    table[i][j] += more
    total = sum(map(sum, table))
    lift = table[i][j] * total / (sum(table[i]) * sum(row[j] for row in table))
    return (lift - 1) / (lift + 1)


def noise_corrected_cell(table, i, j):
    """Score and standard error of a cell; the derivative of the score is taken by adding a little to the cell."""
    table = [list(map(Fraction, row)) for row in table]
    n = sum(map(sum, table))
    row, column = sum(table[i]), sum(r[j] for r in table)
    # The cell of a table with these margins is hypergeometric: draw `row` of n tokens, of which `column` are special.
    mean = row * column / n
    variance = row * (column / n) * (1 - column / n) * (n - row) / (n - 1)
    a, b = moments_to_beta(mean / n, variance / n**2)
    share = (a + table[i][j]) / (a + b + n)
    step = Fraction(1, 10**9)
    slope = (lift_score(table, i, j, step) - lift_score(table, i, j, -step)) / (2 * step)
    return float(lift_score(table, i, j)), sqrt(n * share * (1 - share)) * abs(float(slope))


def partitions(n):
    """Every way to put n things into groups, as labels."""
    if n == 0:
        yield []
        return
    for labels in partitions(n - 1):
        for label in range(max(labels, default=-1) + 2):
            yield [*labels, label]


def layered_modularity(joints, labels):
    """Mean over transitions of Σ (P(i, j) − P(i) P(j)) over pairs of one community; labels [layer][state]."""
    total = 0.0
    for layer, joint in enumerate(joints):
        for i, row in enumerate(joint):
            for j, share in enumerate(row):
                if labels[layer][i] == labels[layer + 1][j]:
                    total += share - sum(row) * sum(other[j] for other in joint)
    return total / len(joints)


def best_modularity(joints):
    """The highest modularity of any partition of the states of all layers."""
    sizes = [len(joint) for joint in joints] + [len(joints[-1][0])]
    best = float("-inf")
    for labels in partitions(sum(sizes)):
        rest, by_layer = list(labels), []
        for size in sizes:
            by_layer.append(rest[:size])
            rest = rest[size:]
        best = max(best, layered_modularity(joints, by_layer))
    return best


def flow_shares(initial, steps):
    """Share of each state in all routes, [layer][state], and their probability, route by route."""
    sizes = [len(initial)] + [len(step[0]) for step in steps]
    through, flow = [[0.0] * size for size in sizes], 0.0
    for states in product(*map(range, sizes)):
        probability = initial[states[0]]
        for layer, step in enumerate(steps):
            probability *= step[states[layer]][states[layer + 1]]
        flow += probability
        for layer, state in enumerate(states):
            through[layer][state] += probability
    return [[value / flow for value in layer] for layer in through], flow
