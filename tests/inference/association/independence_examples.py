"""Documents for the tests of independence, and the comparison of two results field by field."""

import numpy as np
import pytest

from routestat.inference.association.independence import Independence

FIGURES = [
    *("n", "dof", "chi2", "p_chi2", "log10_p_chi2", "g", "p_g", "log10_p_g", "mi_bits", "cramers_v"),
    *("theils_u", "theils_u_reverse", "gk_tau", "gk_tau_reverse", "gk_lambda", "gk_lambda_reverse"),
]

CLUSTERED = [
    *("design_effect", "p_clustered", "p_clustered_first_order", "log10_p_clustered", "nu"),
    "cramers_v_corrected",
]


def same(a: Independence, b: Independence, names: list[str]) -> None:
    for name in names:
        mine, other = getattr(a, name), getattr(b, name)
        assert mine == pytest.approx(other, rel=1e-8, abs=1e-10, nan_ok=True), name


def documents(seed: int, k: int, sizes: list[int], top: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """Documents of indicator rows: `top` of k experts at each end, with each document's own preferences."""
    rng = np.random.default_rng(seed)
    made = []
    for size in sizes:
        taste = rng.normal(0, 0.7, (2, k))
        noise = rng.gumbel(size=(2, size, k)) + taste[:, None]
        chosen = np.argsort(-noise, axis=-1)[..., :top]
        made.append(tuple((chosen[..., None] == np.arange(k)).any(axis=2).astype(float)))
    return made


def coupled(rng, groups, share, n_states=6, mean=200, sticky=0.6):
    """Documents of exponential length; a token repeats the one before, or its target is its source with `share`."""
    tables = np.zeros((groups, n_states, n_states), int)
    for g in range(groups):
        n = max(5, int(rng.exponential(mean)))
        x = rng.integers(0, n_states, n)
        y = np.where(rng.random(n) < share, x, rng.integers(0, n_states, n))
        fresh = rng.random(n) >= sticky
        fresh[0] = True
        place = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
        np.add.at(tables[g], (x[place], y[place]), 1)
    return tables
