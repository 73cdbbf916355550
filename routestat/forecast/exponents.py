"""Exponents of the parts of tempered predictors, by maximum likelihood on the sampled tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.moments import Moments, tempered_likelihood
from routestat.inference.base.tables import Floats

#: Precision of the Gaussian prior that shrinks the exponents towards the load alone.
PULL = 1.0
# Newton starts near typical exponents and stops well within their error.
START, STEPS, CLOSE = {"bayes": 0.2, "ridge": 2.0}, 40, 1e-2


def log_odds(inclusion: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """Log weights that give about these inclusion probabilities: exact for k = 1, log p/(1 − p) for large k."""
    return np.asarray(np.log(inclusion) - np.log1p(-inclusion * ((top_k - 1) / top_k)))


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

    def arrays(self, names: Sequence[str]) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """Return the parts as `tempered_likelihood` takes them."""
        if not names:
            models, experts = self.base.shape
            nothing = np.zeros((0, models, experts)), np.zeros((0, models, 0, experts))
            return self.base, *nothing, np.zeros((0, 3), np.int64)
        spans = [(at, slots.start, slots.stop) for at, _, slots in self.split(names)]
        bias, weights = ([kept[name] for name in names] for kept in (self.bias, self.weights))
        return self.base, np.array(bias), np.array(weights), np.array(spans, np.int64)


def greatest_exponents(
    sample: Moments, models: NDArray[np.int64], parts: Parts, names: Sequence[str], shared: bool = False
) -> Floats:
    """Exponents ``[model, 1 + part]`` of greatest likelihood on the sampled tokens, each model's own or one for all.

    Newton steps, halved where they overshoot; the likelihood is concave.
    """
    made, split = parts.arrays(names), parts.split(names)
    alone = np.zeros((len(parts.base), 1 + len(split)))
    alone[:, 0] = 1.0
    at, best, reached = alone.copy(), alone, np.full(len(alone), -np.inf)
    at[:, 1:] = [START[names[name]] for name, _, _ in split]
    step, done = np.zeros_like(at), np.zeros(len(at), np.bool_)
    for _ in range(STEPS):
        value, slope, curve = tempered_likelihood(sample, models, made, at)
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
