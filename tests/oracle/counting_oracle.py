"""Counting done slowly and obviously, token by token."""

import itertools
from collections import Counter

import numpy as np


def subset_index(experts, n_experts):
    """The place of a subset in the list of all of them."""
    wanted = tuple(sorted(int(e) for e in experts))
    for place, subset in enumerate(itertools.combinations(range(n_experts), len(wanted))):
        if subset == wanted:
            return place
    raise ValueError(wanted)


def tables(document, position, states, sizes, missing, sources, target, groups, window=0):
    """Table [group, context…, target] of one target column; `sources` are (column, tokens back)."""
    table = np.zeros((groups, *(sizes[column] for column, _ in sources), sizes[target]), int)
    rows = {(int(d), int(p)): t for t, (d, p) in enumerate(zip(document, position, strict=True))}
    for t in range(len(document)):
        cell = []
        for column, back in sources:
            where = rows.get((int(document[t]), int(position[t]) - back))
            if where is None or crosses(int(position[t]), back, window):
                break
            if any((int(document[t]), int(position[t]) - b) not in rows for b in range(back)):
                break
            cell.append(int(states[where][column]))
        else:
            cell.append(int(states[t][target]))
            if all(value != missing for value in cell):
                table[(int(document[t]) % groups, *cell)] += 1
    return table


def crosses(position, back, window):
    """Whether a window of the model begins between a token and the one `back` before it."""
    return bool(window) and position // window != (position - back) // window


def expert_table(document, experts_source, experts_target, n_source, n_target, groups):
    """Table [group, i, j] of experts i at the source with j at the target of the same token."""
    table = np.zeros((groups, n_source, n_target), int)
    for d, source, target in zip(document, experts_source, experts_target, strict=True):
        for i in source:
            for j in target:
                table[d % groups, i, j] += 1
    return table


def frequent_paths(document, states):
    """Counts and document counts of whole rows."""
    tokens, documents = Counter(), {}
    for d, row in zip(document, states, strict=True):
        key = tuple(int(s) for s in row)
        tokens[key] += 1
        documents.setdefault(key, set()).add(int(d))
    return tokens, {key: len(found) for key, found in documents.items()}
