"""Loads of documents that differ in length and in their distributions."""

import numpy as np


def documents(seed: int, lengths: np.ndarray, k: int = 6, concentration: float | None = 8.0) -> np.ndarray:
    """Loads `[group, state]`; each document draws its own distribution unless the concentration is None."""
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.full(k, 4.0))
    distribution = base if concentration is None else rng.dirichlet(base * concentration, len(lengths))
    return rng.multinomial(lengths, distribution)
