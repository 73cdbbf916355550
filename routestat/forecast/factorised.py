"""The factorised chain: the experts of a layer given those of the last layers, for alphabets of any width.

The k experts of a layer follow the conditional-Bernoulli distribution, P(S) ∝ Π weights, whose log weights are linear
in the experts of the last m layers. With top-1 routers and m = 1 that is an ordinary Markov chain. Tokens are
independent given the layers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import t_quantile
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.conditional_bernoulli.distribution import (
    inclusion_probabilities,
    log_normaliser,
    log_probability,
)
from routestat.inference.conditional_bernoulli.sampling import (
    BLOCK_CELLS,
    best_subsets,
    check_experts,
    draw_subsets,
)

#: Draws of the layers in between, for predictions of more than one layer ahead.
DRAWS = 2000


@dataclass(frozen=True, slots=True, eq=False)
class FactorisedPrediction:
    """The prediction of a layer after an observed history.

    Attributes
    ----------
    layer : int
        The predicted layer.
    order : int
        How many layers of the history were used.
    top_k : int
    inclusion : float array ``[expert]``
        Probability that each expert is among the k; they sum to k.
    low, high : float array ``[expert]``
        Jackknife limits over folds of documents: the sampling error of the model's inclusion probabilities.
    level : float
    log_weights : float array ``[draw, expert]``
        Of the distribution; a mixture of several with equal weights where layers in between were drawn.
    """

    layer: int
    order: int
    top_k: int
    inclusion: Floats
    low: Floats
    high: Floats
    level: float
    log_weights: Floats

    def best(self, n: int) -> tuple[Integers, Floats]:
        """Return the n most probable subsets ``[n, k]``, experts ascending, and their probabilities ``[n]``; exact.

        Raises
        ------
        RoutestatError
            For more than one layer ahead, where the distribution is a mixture.
        """
        if len(self.log_weights) > 1:
            raise RoutestatError(
                "the most probable subsets are known one layer ahead only; use inclusion, or ahead=1"
            )
        subsets = best_subsets(self.log_weights[0], self.top_k, n)
        return subsets, read_only(np.exp(log_probability(subsets, self.log_weights[0], self.top_k)))

    def log_probability(self, experts: Sequence[int]) -> float:
        """Natural log of the probability of one subset.

        Raises
        ------
        RoutestatError
            For anything but k different experts of the layer.
        """
        chosen = check_experts(experts, self.top_k, len(self.inclusion), self.layer)
        distributions = self.log_weights[:, chosen].sum(axis=1) - log_normaliser(self.log_weights, self.top_k)
        return float(special.logsumexp(distributions) - np.log(len(distributions)))


@dataclass(frozen=True, slots=True, eq=False)
class FactorisedChain:
    """Log weights of every layer, linear in the experts of the layers before: plain arrays throughout.

    Attributes
    ----------
    layers, n_experts, top_k : tuple of int
        Of each router, in order of depth.
    bias : mapping of (place of the layer, order) to float array ``[1 + fold, j]``
        Fitted to all documents, then without each fold of them. Order 0 is the layer's own load.
    weights : mapping of (place, order) to float array ``[1 + fold, feature, j]``
        Features are the experts of the nearest layer, then of the one before it, …
    fold_tokens : int array ``[fold]``
    """

    layers: tuple[int, ...]
    n_experts: tuple[int, ...]
    top_k: tuple[int, ...]
    bias: Mapping[tuple[int, int], NDArray[np.floating]]
    weights: Mapping[tuple[int, int], NDArray[np.floating]]
    fold_tokens: Integers

    def orders(self, place: int) -> tuple[int, ...]:
        """Return the orders that were fitted for a layer, ascending; none where it holds no data."""
        return tuple(sorted(order for at, order in self.bias if at == place))

    def predict(
        self,
        layer: int,
        history: Sequence[int] | Sequence[Sequence[int]],
        ahead: int = 1,
        level: float = 0.95,
        *,
        rng: np.random.Generator | None = None,
        draws: int = DRAWS,
    ) -> FactorisedPrediction:
        """Predict the layer `ahead` layers after `layer`, whose own choice is the last of `history`.

        Parameters
        ----------
        layer : int
        history : expert sets, the oldest first and that of `layer` last; or that of `layer` alone
            The model of the highest fitted order that it suffices for is used; older sets change nothing.
        ahead : int
        level : float
            Of the limits: Student's over folds of documents, on the scale of log odds.
        rng : numpy.random.Generator
            Draws the layers in between; needed for more than one layer ahead.
        draws : int

        Raises
        ------
        RoutestatError
            For a layer that the chain does not have or that is its last, for impossible sets of experts, for a
            layer without data.
        """
        place = self._place(layer, ahead)
        seen = self._history(place, history)
        if not 0 < level < 1:
            raise RoutestatError(f"level: expected a share between 0 and 1, got {level}; use 0.95")
        if ahead > 1 and (rng is None or draws < 1):
            raise RoutestatError(
                "more than one layer ahead needs draws: give rng, a numpy Generator, and draws ≥ 1"
            )
        seed = int(rng.integers(1 << 62)) if rng is not None and ahead > 1 else 0
        target, k = place + ahead, self.top_k[place + ahead]
        found, thetas, order = [], np.empty(0), 0
        for model in range(1 + len(self.fold_tokens)):
            # All models use the same random numbers, so that they differ by their weights alone.
            own = np.random.default_rng(seed)
            known = [np.repeat(s[None], draws if ahead > 1 else 1, axis=0) for s in seen]
            for step in range(place + 1, target):
                known.append(draw_subsets(self._log_weights(step, known, model)[0], self.top_k[step], own))
            theta, used = self._log_weights(target, known, model)
            found.append(inclusion_probabilities(theta, k).mean(axis=0))
            if model == 0:
                thetas, order = theta, used
        low, high = self._limits(np.array(found), level)
        return FactorisedPrediction(
            self.layers[target], order, k, read_only(found[0]), low, high, level, read_only(thetas)
        )

    def sample(self, lengths: ArrayLike, rng: np.random.Generator) -> Integers:
        """Draw experts ``[token, layer, slot]`` of new tokens, ascending, layer after layer; exact.

        Parameters
        ----------
        lengths : int or int array ``[document]``
            Tokens of each document; tokens are independent of each other.
        rng : numpy.random.Generator

        Raises
        ------
        RoutestatError
            If layers differ in k, or one holds no data.
        """
        n_tokens = int(np.sum(lengths))
        if len(set(self.top_k)) > 1:
            raise RoutestatError(
                f"sample: routers must have the same k, got {sorted(set(self.top_k))}; select layers"
            )
        known: list[NDArray[np.int64]] = []
        for place in range(len(self.layers)):
            known.append(np.empty((n_tokens, self.top_k[place]), np.int64))
            block = max(1, BLOCK_CELLS // (self.n_experts[place] * (self.top_k[place] + 1)))
            for start in range(0, n_tokens, block):
                part = slice(start, start + block)
                theta, _ = self._log_weights(place, [rows[part] for rows in known[:-1]], 0)
                known[-1][part] = draw_subsets(
                    np.broadcast_to(theta, (len(known[-1][part]), theta.shape[1])), self.top_k[place], rng
                )
        return read_only(np.stack(known, axis=1))

    def _place(self, layer: int, ahead: int) -> int:
        if layer not in self.layers:
            raise RoutestatError(
                f"layer {layer} is not in this chain; its layers are {', '.join(map(str, self.layers))}"
            )
        if self.layers.count(layer) > 1:
            raise RoutestatError(f"layer {layer} has several routers; predict needs layers with one")
        place = self.layers.index(layer)
        if ahead < 1:
            raise RoutestatError(f"ahead: expected 1 layer or more, got {ahead}")
        if place + ahead >= len(self.layers):
            raise RoutestatError(
                f"layer {layer} is followed by {len(self.layers) - 1 - place} layers, {ahead} ahead there is none"
            )
        return place

    def _history(
        self, place: int, history: Sequence[int] | Sequence[Sequence[int]]
    ) -> list[NDArray[np.int64]]:
        alone = len(history) > 0 and np.ndim(history[0]) == 0
        sets: list[Any] = [history] if alone else list(history)
        if not 1 <= len(sets) <= place + 1:
            raise RoutestatError(
                f"history: expected 1 to {place + 1} sets up to layer {self.layers[place]}, got {len(sets)}"
            )
        first = place + 1 - len(sets)
        return [
            check_experts(one, self.top_k[at], self.n_experts[at], self.layers[at])
            for at, one in enumerate(sets, first)
        ]

    def _log_weights(self, place: int, known: Sequence[NDArray[np.int64]], model: int) -> tuple[Floats, int]:
        """Log weights ``[row, expert]`` of a layer after the experts of the layers before, and the order used."""
        fitted = [order for order in self.orders(place) if order <= len(known)]
        if not fitted:
            raise RoutestatError(
                f"layer {self.layers[place]} holds no data: no token's choice there is known"
            )
        order = fitted[-1]
        weights, offset = self.weights[place, order][model], 0
        rows = len(known[-1]) if known else 1
        theta = np.repeat(self.bias[place, order][model].astype(np.float64)[None], rows, axis=0)
        for back in range(1, order + 1):
            for slot in range(known[-back].shape[1]):
                theta += weights[offset + known[-back][:, slot]]
            offset += self.n_experts[place - back]
        return theta, order

    def _limits(self, inclusion: Floats, level: float) -> tuple[Floats, Floats]:
        """Jackknife limits ``[expert]`` of the first of the models ``[1 + fold, expert]``."""
        size = self.fold_tokens
        if np.count_nonzero(size) < 2:
            nan = np.full(inclusion.shape[1], np.nan)
            return read_only(nan), read_only(nan.copy())
        odds = special.logit(np.clip(inclusion, 1e-12, 1.0 - 1e-12))
        moves = odds[1:] - odds[1:].mean(axis=0)
        error = np.sqrt(((1.0 - size / size.sum())[:, None] * moves**2).sum(axis=0))
        reach = t_quantile(size[size > 0], level) * error
        return read_only(special.expit(odds[0] - reach)), read_only(special.expit(odds[0] + reach))
