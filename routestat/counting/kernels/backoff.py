"""Compiled loops over the entries of a context, of which each is predicted without the tokens of its own group."""

import math

import numpy as np

from routestat.counting.kernels.compiling import Array, compiled
from routestat.counting.kernels.draws import further_draw

# How many of the last entries of a cell one that is like it is sought among.
ALIKE = 8


@compiled
def draws_of_entries(
    cell: Array, tokens: Array, own: Array, further: Array, weight: Array
) -> Array:  # pragma: no cover - compiled
    """Compute how many of `further` tokens of each entry's cell were drawn from the base, after what others hold.

    Parameters
    ----------
    cell : int32 array ``[entry]``
    tokens, weight : float array ``[cell]``
    own : float array ``[entry]``
        What of the cell's tokens is left out.
    further : float array ``[entry]``

    Returns
    -------
    float array ``[entry]``
    """
    drawn = np.empty(len(cell))
    for e in range(len(cell)):
        c = cell[e]
        # Most entries of a cell have one token: they have what the entry before has.
        if e and c == cell[e - 1] and own[e] == own[e - 1] and further[e] == further[e - 1]:
            drawn[e] = drawn[e - 1]
        else:
            drawn[e] = further_draw(max(tokens[c] - own[e], 0.0), further[e], weight[c])
    return drawn


@compiled
def summed(place: Array, values: Array, n: int) -> Array:  # pragma: no cover - compiled
    """Sum values by their places, from 0 to n − 1: `numpy.bincount` without a copy of the places."""
    total = np.zeros(n)
    for i in range(len(place)):
        total[place[i]] += values[i]
    return total


@compiled
def probabilities_without(
    cell: Array,
    part: Array,
    context: Array,
    tokens: Array,
    totals: Array,
    own: Array,
    whole: Array,
    base: Array,
    at: Array,
    to_base: Array,
    strength: float,
    discount: float,
) -> Array:  # pragma: no cover - compiled
    """Compute the probability of each entry's target after its context, without what is left out.

    Parameters
    ----------
    cell, part : int32 array ``[entry]``
    context : int32 array ``[part]``
    tokens : float array ``[cell]``
    totals : float array ``[context]``
    own, whole : float arrays ``[entry]``, ``[part]``
        What is left out of the tokens of the cell and of the context.
    base : float array ``[shorter entry]``
    at : int32 array ``[entry]``
        The place of each in `base`.
    to_base : float array ``[part]``
        Tokens that the base has the weight of.
    strength, discount : float

    Returns
    -------
    float array ``[entry]``
    """
    inverse, found = np.empty(len(context)), np.empty(len(cell))
    for p in range(len(context)):
        inverse[p] = 1.0 / (max(totals[context[p]] - whole[p], 0.0) + strength)
    for e in range(len(cell)):
        left = max(max(tokens[cell[e]] - own[e], 0.0) - discount, 0.0)
        found[e] = (left + to_base[part[e]] * base[at[e]]) * inverse[part[e]]
    return found


@compiled
def left_out_entries(
    cell: Array,
    part: Array,
    context: Array,
    count: Array,
    tokens: Array,
    totals: Array,
    distinct: Array,
    base: Array,
) -> tuple[Array, Array, Array, Array, float]:  # pragma: no cover - compiled
    """Divide entries into those whose target other groups have after the same context, and all others.

    Parameters
    ----------
    cell, part : int32 array ``[entry]``
    context : int32 array ``[part]``
    count : float array ``[entry]``
    tokens, base : float array ``[cell]``
    totals, distinct : float array ``[context]``
        Tokens of the context, and its targets.

    Returns
    -------
    tuple
        The tokens of each part, and what others have of its context. Of entries whose target others have, the like ones
        of a cell together, ``[4, entry]``: tokens, the others' tokens, the base, and how many targets the others have.
        Of entries whose target no other has: their tokens by how many targets the others have, and the sum of ln base
        of these tokens.
    """
    of_part, beyond, targets = np.zeros(len(context)), np.empty(len(context)), np.empty(len(context))
    for p in range(len(context)):
        targets[p] = distinct[context[p]]
    for e in range(len(cell)):
        of_part[part[e]] += count[e]
        targets[part[e]] -= tokens[cell[e]] <= count[e]
    most = 0.0
    for p in range(len(context)):
        most = max(most, targets[p])
        beyond[p] = totals[context[p]] - of_part[p]
    met, n, new, alone = np.empty((4, len(cell))), 0, np.zeros(int(most) + 1), 0.0
    first = 0
    for e in range(len(cell)):
        c, own = cell[e], count[e]
        left, others = tokens[c] - own, targets[part[e]]
        if e and c != cell[e - 1]:
            first = n
        if left <= 0:
            new[int(others)] += own
            alone += own * math.log(base[c])
        else:
            # Entries of a cell that are alike are added up, as far as one of the last few is.
            at = n - 1
            while at >= max(first, n - ALIKE) and not (met[1, at] == left and met[3, at] == others):
                at -= 1
            if at >= max(first, n - ALIKE):
                met[0, at] += own
            else:
                met[0, n], met[1, n], met[2, n], met[3, n] = own, left, base[c], others
                n += 1
    return of_part, beyond, met[:, :n], new, alone
