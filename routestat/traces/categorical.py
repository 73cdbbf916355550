"""Draws from categorical distributions, one of several for each token."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def categorical(
    probabilities: ArrayLike, rows: NDArray[np.integer], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw one state per token from the distribution in the token's row.

    Parameters
    ----------
    probabilities : array ``[row, state]``
        Each row sums to 1.
    rows : integer array ``[token]``
        The row of each token.
    rng : numpy.random.Generator

    Returns
    -------
    integer array ``[token]``
        A state of probability 0 is never drawn.
    """
    cumulative = np.cumsum(probabilities, axis=1)
    n_rows, n_states = cumulative.shape
    cumulative /= cumulative[:, -1:]
    # All rows end to end make one increasing sequence, so a single search serves every token. Sums with the
    # row number are rounded; the scaling keeps a number just below 1 from being rounded into the next row.
    cumulative += np.arange(n_rows)[:, None]
    keys = rng.random(len(rows))
    keys *= 1 - n_rows * 2.0**-51
    keys += rows
    states = np.searchsorted(cumulative.ravel(), keys, side="right")
    states -= rows.astype(np.intp) * n_states
    return states
