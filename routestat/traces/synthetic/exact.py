"""Exact quantities of the generators: information in bits, margins, variance of clustered tokens."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.traces.alphabet import Alphabet
from routestat.traces.synthetic.distributions import Floats, subset_distribution


def entropy_bits(distribution: ArrayLike) -> float:
    """Compute the entropy of a distribution of any shape, in bits; cells of probability 0 add nothing."""
    p = np.asarray(distribution, dtype=float)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def mutual_information_bits(joint: ArrayLike) -> float:
    """Mutual information of an exact joint distribution ``[source, target]``, in bits."""
    p = np.asarray(joint, dtype=float)
    product = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    used = p > 0
    # The sum of log ratios, not a difference of entropies: it is 0 to rounding when the distribution is a product.
    return max(0.0, float((p[used] * np.log2(p[used] / product[used])).sum()))


def mixture_entropy_bits(rows: Floats, cells: NDArray[np.integer], added: Floats) -> float:
    """Entropy of (1 − Σ added) · the product of `rows` + point masses.

    `rows` are ``[axis, symbol]``; masses `added` ``[point]`` stand at `cells` ``[point, axis]``. Exact without
    listing the product: only the few cells with a point mass differ from the closed form.
    """
    rest = max(0.0, 1 - float(added.sum()))
    total = rest * sum(entropy_bits(distribution) for distribution in rows) + entropy_bits([rest])
    distinct, which = np.unique(cells, axis=0, return_inverse=True)
    mass = np.bincount(which.ravel(), weights=added, minlength=len(distinct))
    product = rest * np.prod(
        [distribution[distinct[:, axis]] for axis, distribution in enumerate(rows)], axis=0
    )
    return total + entropy_bits(product + mass) - entropy_bits(product)


def clustered_design_effect(lengths: NDArray[np.integer], stickiness: float, correlation: float) -> float:
    """Variance of a table of two independent layers, relative to independent tokens.

    In each layer, tokens h apart in one document share their draw with probability s^h and else correlate
    by ρ through the document's distribution, so that every covariance of the layer's indicators is
    s^h + (1 − s^h) ρ times that of a single token. Layers are independent: a product of two such factors
    enters the table's score under independence. Known margins are assumed.
    """
    lag = np.arange(int(lengths.max()), dtype=float)
    same = stickiness**lag
    factor = (same + (1 - same) * correlation) ** 2
    factor[0] = 0.0
    pairs = lengths * np.cumsum(factor)[lengths - 1] - np.cumsum(lag * factor)[lengths - 1]
    return float(1 + 2 * pairs.sum() / lengths.sum())


def path_information_bits(
    marginals: Floats, routes: NDArray[np.intp], probability: Floats
) -> tuple[Floats, Floats]:
    """I(X_l; X_{l+1}) and I(X_l; X_{l+2} | X_{l+1}) of paths planted over independent layers, exact.

    Parameters
    ----------
    marginals : array ``[layer, state]``
        Of the tokens on no path.
    routes : integer array ``[path, layer]``
    probability : array ``[path]``
        Of being sent along each.
    """

    def entropies(width: int) -> Floats:
        windows = [slice(first, first + width) for first in range(len(marginals) - width + 1)]
        return np.array([mixture_entropy_bits(marginals[w], routes[:, w], probability) for w in windows])

    one, two, three = entropies(1), entropies(2), entropies(3)
    # Differences of entropies may fall below 0 by rounding.
    mi = np.maximum(one[:-1] + one[1:] - two, 0.0)
    cmi = np.maximum(two[:-1] + two[1:] - one[1:-1] - three, 0.0) if len(three) else three
    return mi, cmi


def second_order_information_bits(n_states: int, noise: float) -> tuple[float, float]:
    """I(X_l; X_{l+2} | X_{l+1}) and I(X_l; X_{l+3}) of X_{l+2} = X_l + X_{l+1} + error modulo K, exact."""
    error = np.full(n_states, noise / n_states)
    error[0] += 1 - noise
    full = np.log2(n_states)
    lag = np.arange(n_states)
    doubled = np.bincount(2 * lag % n_states, minlength=n_states) / n_states
    circulant = error[(lag[:, None] - lag[None, :]) % n_states]
    three_apart = full - entropy_bits(circulant @ circulant @ doubled)
    return max(0.0, full - entropy_bits(error)), max(0.0, three_apart)


def chain_marginals(initial: Floats, transitions: Floats) -> Floats:
    """Compute the distribution of every layer, ``[layer, state]``, from the first and ``[gap, source, target]``."""
    rows = [initial]
    for table in transitions:
        distribution = rows[-1] @ table
        rows.append(distribution / distribution.sum())
    return np.array(rows)


def dependent_transitions(logits: Floats, influence: Floats, alphabet: Alphabet) -> Floats:
    """Compute the exact transitions ``[source, target]`` of `draw_dependent_experts` on states."""
    pulled = logits + alphabet.membership @ influence
    return subset_distribution(np.exp(pulled - pulled.max(axis=1, keepdims=True)), alphabet.top_k)
