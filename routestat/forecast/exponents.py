"""Exponents of the parts of tempered predictors, by maximum likelihood on the sampled tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from routestat.counting.moments import Moments, SampledParts, sampled_parts, tempered_likelihood
from routestat.inference.base.tables import Floats
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities

#: Precision of the Gaussian prior that shrinks the exponents towards the load alone.
PULL = 1.0
# Newton starts near typical exponents and stops well within their error.
START, STEPS, CLOSE = {"bayes": 0.2, "ridge": 2.0}, 40, 1e-2


def log_odds(inclusion: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """Log weights that give about these inclusion probabilities: exact for k = 1, log p/(1 − p) for large k."""
    return np.asarray(np.log(inclusion / (1.0 - inclusion * ((top_k - 1) / top_k))))


def near_log_weights(inclusion: Floats, top_k: int) -> Floats:
    """Log weights that give these inclusion probabilities closely: from `log_odds`, two steps towards them.

    They are the first steps of `routestat.inference.conditional_bernoulli.distribution.fit_log_weights`; further ones
    change the log loss of held-out tokens by less than .001 bits.

    Parameters
    ----------
    inclusion : float array ``[row, expert]``
        Above 0 and below 1; a row's sum is about k.
    top_k : int
    """
    aim, spread = special.logit(inclusion), inclusion * (1.0 - inclusion)
    damping = 1.0 - spread / spread.sum(axis=1, keepdims=True)
    found = log_odds(inclusion, top_k)
    for _ in range(2):
        reached = np.clip(inclusion_probabilities(found, top_k), 1e-9, 1.0 - 1e-9)
        found = found + damping * (aim - special.logit(reached))
    # Experts that are equally likely stay so: the order of a tie must not depend on rounding errors.
    return np.asarray(np.round(found, 10))


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that log weights are the sum of; the load alone, where there are no names.

    ``base[model, j]`` is the load's; ``bias[model, j]`` and ``weights[model, feature, j]`` go by the part's name.
    Naive Bayes is a part for each source: `blocks` and `slots` are the features and the slots of the sources.
    """

    base: Floats
    bias: dict[str, Floats]
    weights: dict[str, Floats]
    blocks: tuple[slice, ...]
    slots: tuple[slice, ...]

    def split(self, names: Sequence[str]) -> list[tuple[int, slice, slice]]:
        """Parts after the load: the place of the name, the features, the slots."""
        parts: list[tuple[int, slice, slice]] = []
        for at, name in enumerate(names):
            whole = slice(0, self.blocks[-1].stop), slice(0, self.slots[-1].stop)
            sources = zip(self.blocks, self.slots, strict=True) if name == "bayes" else [whole]
            parts += [(at, features, slots) for features, slots in sources]
        return parts

    def mixed(self, names: Sequence[str], exponents: Floats) -> tuple[Floats, Floats]:
        """Bias and weights when every part is multiplied by its exponent ``[model, 1 + part]``."""
        bias, weights = exponents[:, :1] * self.base, np.zeros_like(self.weights[names[0]])
        for (at, features, _), power in zip(self.split(names), exponents.T[1:], strict=True):
            bias = bias + power[:, None] * self.bias[names[at]]
            weights[:, features] += power[:, None, None] * self.weights[names[at]][:, features]
        return bias, weights

    def of_sample(self, sample: Moments, models: NDArray[np.int64], names: Sequence[str]) -> "PartsOfSample":
        """Sum the base and the parts of these names for every sampled token ``[row]``, scored by its model."""
        if names:
            bias, weights = (np.array([kept[name] for name in names]) for kept in (self.bias, self.weights))
        else:
            models_in_all, experts = self.base.shape
            bias, weights = np.zeros((0, models_in_all, experts)), np.zeros((0, models_in_all, 0, experts))
        split = self.split(names)
        spans = np.array([(at, slots.start, slots.stop) for at, _, slots in split], np.int64).reshape(-1, 3)
        summed = sampled_parts(sample, models, (self.base, bias, weights, spans))
        return PartsOfSample(summed, tuple(names[at] for at, _, _ in split))


@dataclass(frozen=True, slots=True)
class PartsOfSample:
    """The parts of the sampled tokens; `names` are those of the parts after the base."""

    sums: SampledParts
    names: tuple[str, ...]

    def places(self, names: Sequence[str]) -> list[int]:
        """Return the place of the base, then the places of the parts of these names."""
        return [0, *(at for name in names for at, own in enumerate(self.names, 1) if own == name)]


def greatest_exponents(sample: PartsOfSample, names: Sequence[str], shared: bool = False) -> Floats:
    """Exponents ``[model, 1 + part]`` of greatest likelihood on the sampled tokens, each model's own or one for all.

    Newton steps, halved where they overshoot; the likelihood is concave.

    Parameters
    ----------
    sample : PartsOfSample
    names : sequence of str
        Of the parts that are used.
    shared : bool
        Whether all models have the same exponents.
    """
    places = sample.places(names)
    alone = np.zeros((sample.sums.n_models, len(places)))
    alone[:, 0] = 1.0
    at, best, reached = alone.copy(), alone, np.full(len(alone), -np.inf)
    at[:, 1:] = [START[sample.names[place - 1]] for place in places[1:]]
    step, done = np.zeros_like(at), np.zeros(len(at), np.bool_)
    for _ in range(STEPS):
        value, slope, curve = tempered_likelihood(sample.sums, at, places, ~done)
        if shared:
            value, slope, curve = (
                np.broadcast_to(x.sum(axis=0, keepdims=True), x.shape) for x in (value, slope, curve)
            )
        away = at - alone
        value, slope = value - 0.5 * PULL * (away**2).sum(axis=1), slope - PULL * away
        better = value >= reached - 1e-9 * np.abs(reached)
        best, reached = np.where(better[:, None], at, best), np.where(better, value, reached)
        newton = np.linalg.solve(curve + PULL * np.eye(at.shape[1]), slope[..., None])[..., 0]
        step = np.where(better[:, None], newton, step / 2.0)
        at = np.where(done[:, None], at, best + step)
        # Convergence is quadratic: the error that remains after so small a step is far smaller still.
        done |= (np.abs(step) < CLOSE).all(axis=1)
        if done.all():
            break
    return at
