"""Chains of layers whose experts are divided into bins, and divisions from which a search begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Rounds of a k-means with bins of one size.
ROUNDS = 10


@dataclass(frozen=True, eq=False)
class LayerChain:
    """Layers whose experts are to be divided into bins of equally many places.

    Attributes
    ----------
    transitions : tuple of float array ``[source expert, target expert]``
        One for each pair of consecutive layers: pairs of choices of a token.
    sizes : tuple of int
        Experts of each layer.
    places : tuple of int
        Of a bin, in each layer: some may stay empty.
    n_bins : int
    """

    transitions: tuple[Floats, ...]
    sizes: tuple[int, ...]
    places: tuple[int, ...]
    n_bins: int

    def gain(
        self, layer: int, bins: Sequence[Integers], *, before: bool = True, after: bool = True
    ) -> Floats:
        """Return the transitions that an expert has with experts in each bin ``[expert, bin]``.

        Parameters
        ----------
        layer : int
            Place in the chain.
        bins : sequence of int array ``[expert]``
            Of every layer; only those of the two neighbours are read.
        before, after : bool
            Whether the layer before and the layer after count.
        """
        found = np.zeros((self.sizes[layer], self.n_bins))
        if before and layer > 0:
            found += self.transitions[layer - 1].T @ one_hot(bins[layer - 1], self.n_bins)
        if after and layer + 1 < len(self.sizes):
            found += self.transitions[layer] @ one_hot(bins[layer + 1], self.n_bins)
        return found

    def assign(self, layer: int, gain: Floats) -> Integers:
        """Return the bins ``[expert]`` of a layer with the largest sum of the gains ``[expert, bin]``."""
        _, place = linear_sum_assignment(np.repeat(gain, self.places[layer], axis=1), maximize=True)
        return np.asarray(place // self.places[layer], np.int64)

    def staying(self, bins: Sequence[Integers]) -> float:
        """Return the transitions between experts in one bin."""
        return float(
            sum(
                np.where(bins[layer][:, None] == bins[layer + 1], table, 0.0).sum()
                for layer, table in enumerate(self.transitions)
            )
        )


def one_hot(bins: Integers, n_bins: int) -> Floats:
    """Return whether each expert is in each bin ``[expert, bin]``, as numbers."""
    found = np.zeros((len(bins), n_bins))
    found[np.arange(len(bins)), bins] = 1.0
    return found


def first_divisions(
    chain: LayerChain, rng: np.random.Generator, n_spectral: int, n_random: int
) -> list[Callable[[], list[Integers]]]:
    """Return ways to divide all layers, each as a function that does it.

    The first has the order of the ids. A spectral one divides the experts of one layer by what they have in common
    with its neighbours, a random one at random; both continue to the other layers, each given its neighbour.

    Parameters
    ----------
    chain : LayerChain
    rng : numpy.random.Generator
    n_spectral, n_random : int
        How many of them.
    """
    n_layers = len(chain.sizes)

    def in_order() -> list[Integers]:
        return [np.arange(n) // own for n, own in zip(chain.sizes, chain.places, strict=True)]

    def spectral(layer: int) -> list[Integers]:
        return _continued(chain, layer, _spectral(chain, layer, rng))

    def at_random(layer: int) -> list[Integers]:
        places = rng.permutation(chain.places[layer] * chain.n_bins)[: chain.sizes[layer]]
        return _continued(chain, layer, places // chain.places[layer])

    anchors = [(2 * number + 1) * n_layers // (2 * n_spectral) for number in range(n_spectral)]
    # Fewer layers than starts: the same layer again would only cost time.
    spectral_starts = [lambda at=layer: spectral(at) for layer in dict.fromkeys(anchors)]
    random_starts = [
        lambda at=layer: at_random(at) for layer in rng.integers(0, n_layers, size=n_random).tolist()
    ]
    return [in_order, *spectral_starts, *random_starts]


def _continued(chain: LayerChain, layer: int, own: Integers) -> list[Integers]:
    """Divide the other layers one after the other, outwards from a divided one."""
    bins = [np.zeros(n, np.int64) for n in chain.sizes]
    bins[layer] = own
    for at in range(layer + 1, len(bins)):
        bins[at] = chain.assign(at, chain.gain(at, bins, after=False))
    for at in range(layer - 1, -1, -1):
        bins[at] = chain.assign(at, chain.gain(at, bins, before=False))
    return bins


def _spectral(chain: LayerChain, layer: int, rng: np.random.Generator) -> Integers:
    """Divide the experts of one layer by the leading directions of their dependence on the neighbouring layers.

    References
    ----------
    Ng, Jordan & Weiss (2002), On spectral clustering, NIPS 14.
    """
    beside = []
    if layer > 0:
        beside.append(_dependence(chain.transitions[layer - 1].T))
    if layer + 1 < len(chain.sizes):
        beside.append(_dependence(chain.transitions[layer]))
    similar = np.sum([table @ table.T for table in beside], axis=0)
    value, vector = np.linalg.eigh(similar)
    used = min(chain.n_bins, len(value))
    position = vector[:, -used:] * np.sqrt(np.maximum(value[-used:], 0.0))
    length = np.linalg.norm(position, axis=1, keepdims=True)
    position /= np.where(length > 0, length, 1.0)
    centres = position[_far_apart(position, chain.n_bins, rng)]
    own = np.zeros(0, np.int64)
    for _ in range(ROUNDS):
        before, own = own, chain.assign(layer, position @ centres.T)
        if np.array_equal(before, own):
            break
        held = one_hot(own, chain.n_bins)
        centres = held.T @ position / np.maximum(held.sum(axis=0), 1.0)[:, None]
    return own


def _dependence(table: Floats) -> Floats:
    """Return (P(s, t) − P(s) P(t)) / sqrt(P(s) P(t)) ``[source, target]``; 0 where an expert has no token."""
    joint = table / max(table.sum(), 1.0)
    expected = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return (joint - expected) / np.sqrt(np.where(expected > 0, expected, 1.0))


def _far_apart(position: Floats, n: int, rng: np.random.Generator) -> list[int]:
    """Return places of n rows, each far from those before: the farthest, from a random one on."""
    chosen = [int(rng.integers(len(position)))]
    distance = np.full(len(position), np.inf)
    while len(chosen) < n:
        distance = np.minimum(distance, ((position - position[chosen[-1]]) ** 2).sum(axis=1))
        # More bins than experts: the remaining centres are any.
        chosen.append(int(np.argmax(distance)))
    return chosen
