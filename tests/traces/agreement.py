"""Whether counts agree with an exact distribution: every bound is computed from it, none is guessed."""

import numpy as np
from scipy.stats import chi2

# Each statistical check passes by luck of the seed with all but about this chance: 4 standard deviations.
SIGMAS = 4.0
P_MIN = 2 * 3.2e-5

PAIRS = {"n_experts": 8, "top_k": 2, "layers": 4, "documents": 400, "mean_length": 100}
FIVE = {"n_experts": 5, "top_k": 1, "layers": 5, "documents": 500, "mean_length": 100}
WIDE = {"n_experts": 64, "top_k": 6, "layers": 3, "documents": 100, "mean_length": 100}


def rng(seed=0):
    return np.random.default_rng(seed)


def table(trace, *columns):
    """Counts over the states of the layers at `columns`."""
    size = trace.alphabet.size
    flat = np.zeros(len(trace.states), dtype=np.int64)
    for column in columns:
        flat = flat * size + trace.states[:, column]
    return np.bincount(flat, minlength=size ** len(columns)).reshape((size,) * len(columns))


def fits(counts, distribution):
    """Whether independent counts are compatible with an exact distribution (Pearson, small cells pooled)."""
    counts, expected = np.ravel(counts), np.ravel(distribution) * np.sum(counts)
    assert counts[expected == 0].sum() == 0
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 1
    statistic = ((counts[used] - expected[used]) ** 2 / expected[used]).sum()
    p = chi2.sf(statistic, used.sum() - 1)
    # Too good a fit is as suspect as too bad a one.
    return P_MIN < p < 1 - P_MIN


def independence_p(counts):
    """Pearson's test of a table, tokens taken as independent."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), np.prod(np.array(counts.shape) - 1))


def close_to(estimate, exact, sd_of_one, n):
    return abs(estimate - exact) < SIGMAS * sd_of_one / np.sqrt(n)


def mi_and_sd(joint):
    """Information of a joint distribution in bits, and the standard deviation of its log ratio for one token."""
    used = joint > 0
    p = joint[used]
    log_ratio = np.log2(p / np.outer(joint.sum(axis=1), joint.sum(axis=0))[used])
    mean = (p * log_ratio).sum()
    return mean, np.sqrt((p * log_ratio**2).sum() - mean**2)


def information_from_counts(counts):
    """Plug-in information of a table in bits, less its first-order bias."""
    plugin, _ = mi_and_sd(counts / counts.sum())
    return plugin - np.prod(np.array(counts.shape) - 1) / (2 * np.log(2) * counts.sum())
