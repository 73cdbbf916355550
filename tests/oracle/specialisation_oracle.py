"""Specialisation by definition: tokens listed one by one, every group left out in turn."""

import math
from collections import Counter

import numpy as np


def conditional_entropy_bits(choices, *labels):
    """H(choice | labels) of a random one of a token's choices, plug-in; `choices` [token, slot]."""
    cells, margins = Counter(), Counter()
    for row, chosen in enumerate(choices):
        key = tuple(label[row] for label in labels)
        for one in chosen:
            cells[(*key, one)] += 1
            margins[key] += 1
    n = sum(margins.values())
    return -sum(c * math.log2(c / margins[key[:-1]]) for key, c in cells.items()) / n


def information_bits(choices, given, label):
    """I(choice; label | given), plug-in; `given` and `label` are lists of labels [token]."""
    return conditional_entropy_bits(choices, *given) - conditional_entropy_bits(choices, *given, *label)


def jackknifed(statistic, group, *arrays):
    """Delete-group jackknife of a statistic of arrays [token, ...]: value and standard error, weighted by size."""
    names, size = np.unique(group, return_counts=True)
    share = size / size.sum()
    whole = statistic(*arrays)
    left = np.array([statistic(*(array[group != name] for array in arrays)) for name in names])
    value = (np.sum(whole - (1 - share) ** 2 * left) - whole) / (1 - np.sum(share**2))
    scores = (1 - share) * (whole - left)
    scores = scores - scores.mean()
    return value, math.sqrt(len(names) / (len(names) - 1) * np.sum(scores**2))


def scores(choices, stratum, label, group, n_groups, n_labels, n_choices):
    """Sum of (1[label a] - p(a|z)) (1[chosen i] - p(i|z)) of every group, [group, label, choice]."""
    found = np.zeros((n_groups, n_labels, n_choices))
    chosen = np.zeros((len(stratum), n_choices))
    for row, own in enumerate(choices):
        chosen[row, own] = 1
    labelled = np.eye(n_labels)[label]
    for z in np.unique(stratum):
        inside = stratum == z
        p, q = labelled[inside].mean(axis=0), chosen[inside].mean(axis=0)
        for row in np.flatnonzero(inside):
            found[group[row]] += np.outer(labelled[row] - p, chosen[row] - q)
    return found
