"""A chain of mixed orders by definition: the distribution of one step from its counts, and sums over all paths."""

import itertools

import numpy as np

from routestat.inference.markov.chain import Chain
from routestat.inference.smoothing.prior import resolve_alpha


def own_prior(chain: Chain, gap: int) -> list[float]:
    """The prior of a layer's own distribution: 1/K each for empirical Bayes, else the rule given."""
    width = chain.counts[gap].shape[1]
    if chain.alpha == "empirical-bayes":
        return [1 / width] * width
    return resolve_alpha(chain.counts[gap].sum(axis=0)[None], chain.alpha).tolist()


def worth_of(chain: Chain, prior: float, learned_from: float, own: float) -> float:
    """A prior that was learned is worth no more than what it was learned from beside the row's own tokens."""
    if chain.alpha in ("empirical-bayes", "hierarchical"):
        prior = min(prior, max(1 + learned_from - own, 1))
    return prior + own


def step_distribution(
    chain: Chain, gap: int, states: tuple[int, ...], rng: np.random.Generator | None = None
):
    """The distribution after the last of `states`: its posterior mean, or one draw that counts dependent tokens."""
    table, order = chain.counts[gap], min(chain.orders[gap], len(states))
    worth, prior = chain.design_effects[gap], chain.priors[gap + 1]
    first = worth_of(chain, prior.sum(), table.sum() / worth, table[states[-1]].sum() / worth)
    if order == 2:
        step = chain.second[gap]
        row = step.dense()[states[-2], states[-1]]
        seen = sum(1 for c in row if c)
        base, s, d = step.base[states[-1]], step.fitted.strength, step.fitted.discount
        mean = [
            (max(c - d, 0) + (s + d * seen) * p) / (row.sum() + s) for c, p in zip(row, base, strict=True)
        ]
        weight = worth_of(chain, s + d * seen, first, row.sum() / worth)
    elif order == 1:
        row = table[states[-1]]
        mean = [(c + a) / (row.sum() + prior.sum()) for c, a in zip(row, prior, strict=True)]
        weight = first
    else:
        row, own = table.sum(axis=0), own_prior(chain, gap)
        mean = [(c + a) / (row.sum() + sum(own)) for c, a in zip(row, own, strict=True)]
        weight = sum(own) + row.sum() / worth
    if rng is None:
        return np.array(mean)
    return rng.dirichlet(np.maximum(np.array(mean) * weight, 1e-12))


def path_distribution(chain: Chain, gap: int, history: tuple[int, ...], ahead: int, rng=None) -> np.ndarray:
    """The distribution `ahead` layers on as a sum over all paths; with `rng`, of one chain drawn from the posterior."""
    widths = [chain.counts[step].shape[1] for step in range(gap, gap + ahead)]
    drawn: dict = {}

    def distribution(step: int, known: tuple[int, ...]) -> np.ndarray:
        key = (step, known[len(known) - min(chain.orders[step], len(known)) :])
        if key not in drawn:
            drawn[key] = step_distribution(chain, step, known, rng)
        return drawn[key]

    found = np.zeros(widths[-1])
    for path in itertools.product(*map(range, widths)):
        probability, known = 1.0, tuple(history)
        for step, state in enumerate(path, gap):
            probability *= distribution(step, known)[state]
            known = (*known, state)
        found[path[-1]] += probability
    return found


def joint_distribution(chain: Chain) -> dict[tuple[int, ...], float]:
    """The probability of every path through all layers, at posterior means."""
    first = (chain.first + chain.priors[0]) / (chain.first.sum() + chain.priors[0].sum())
    widths = [len(first), *(table.shape[1] for table in chain.counts)]
    distribution = {}
    for path in itertools.product(*map(range, widths)):
        probability = first[path[0]]
        for gap in range(len(chain.counts)):
            probability *= step_distribution(chain, gap, path[: gap + 1])[path[gap + 1]]
        distribution[path] = float(probability)
    return distribution
