"""The best combination of several divisions of the same layers."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from routestat.serving.placement.affine_starts import LayerChain, one_hot

Integers = NDArray[np.int64]


def recombined(chain: LayerChain, divisions: Sequence[Sequence[Integers]]) -> list[Integers]:
    """Return, of all ways to take each layer from one of several divisions, the one with most transitions that stay.

    Bins are alike, so that those of a layer may be renamed together with those of all later layers. How well one
    layer continues another is then the best assignment of bins to bins, and the best sequence of layers follows by
    dynamic programming. With one division, this only renames its bins.

    Parameters
    ----------
    chain : LayerChain
    divisions : sequence of sequence of int array ``[expert]``
        Bins, for every layer.

    Returns
    -------
    list of int array ``[expert]``
    """
    n = len(divisions)
    value = np.zeros(n)
    came_from: list[Integers] = []
    renamed: list[list[list[Integers]]] = []
    for layer, table in enumerate(chain.transitions):
        after = [one_hot(bins[layer + 1], chain.n_bins) for bins in divisions]
        sums, names = np.empty((n, n)), []
        for one, bins in enumerate(divisions):
            reached = one_hot(bins[layer], chain.n_bins).T @ table
            aligned = [_aligned(reached @ target) for target in after]
            sums[one] = value[one] + [staying for staying, _ in aligned]
            names.append([own for _, own in aligned])
        renamed.append(names)
        came_from.append(sums.argmax(axis=0))
        value = sums.max(axis=0)
    chosen = [int(np.argmax(value))]
    for source in reversed(came_from):
        chosen.append(int(source[chosen[-1]]))
    chosen.reverse()
    names_now = np.arange(chain.n_bins)
    found = [divisions[chosen[0]][0].copy()]
    for layer, (one, other) in enumerate(pairwise(chosen)):
        names_now = names_now[renamed[layer][one][other]]
        found.append(names_now[divisions[other][layer + 1]])
    return found


def _aligned(flow: NDArray[np.float64]) -> tuple[float, Integers]:
    """Return the largest sum of the flow ``[bin, bin of the next layer]`` over pairs, and the pair of each next bin."""
    source, target = linear_sum_assignment(flow, maximize=True)
    names = np.empty(len(flow), np.int64)
    names[target] = source
    return float(flow[source, target].sum()), names
