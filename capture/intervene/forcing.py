"""do(subset): force a router's tokens to other experts than it chose, and change nothing else.

A forward hook on the router replaces the indices and the weights that its experts receive. The weights are a
treatment of their own and have three variants:

- ``renorm``: the weights that the router's own rule gives to the forced experts, from its own scores;
- ``uniform``: the token's total weight in equal parts;
- ``slot``: the token's natural weights, the largest for the forced expert with the highest score.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.hooks import Recorder, input_device
from capture.router_outputs import COMMON
from capture.routers import RouterSite
from capture.steps import MISSING
from routestat.errors import RoutestatError

WEIGHT_VARIANTS = ("renorm", "uniform", "slot")
SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.float().softmax(dim=-1),
    "sigmoid": lambda logits: logits.float().sigmoid(),
}


@dataclass(frozen=True)
class WeightRule:
    """How a router computes weights from its scores.

    Parameters
    ----------
    score : {"softmax", "sigmoid"}
        Function of the logits of all experts.
    normalised : bool
        Whether the chosen experts' scores are divided by their sum.
    scale : float
        Factor of the result.
    """

    score: str
    normalised: bool
    scale: float = 1.0

    def weights(self, logits: Tensor, experts: Tensor) -> Tensor:
        """Return weights ``[token, slot]`` of `experts` ``[token, slot]`` from `logits` ``[token, expert]``."""
        chosen = SCORES[self.score](logits).gather(1, experts)
        return self.scale * (chosen / chosen.sum(dim=1, keepdim=True) if self.normalised else chosen)


def fit_weight_rule(
    logits: Tensor, weights: Tensor, experts: Tensor, factor: float = 1.0
) -> WeightRule | None:
    """Find the rule that reproduces a router's own weights.

    Parameters
    ----------
    logits : Tensor ``[token, expert]``
    weights, experts : Tensor ``[token, slot]``
        The router's output for some dozen tokens; a single one would fit several rules.
    factor : float
        The router's ``routed_scaling_factor``.

    Returns
    -------
    WeightRule or None
        None where no rule does.
    """
    rules = [
        WeightRule(score, normalised, scale)
        for score in SCORES
        for normalised in (True, False)
        for scale in dict.fromkeys((1.0, factor))
    ]
    own = weights.float()
    misses = [float((rule.weights(logits, experts) - own).abs().max() / own.abs().max()) for rule in rules]
    # Low precision rounds the scores of some families before they are normalised.
    coarse = max(torch.finfo(weights.dtype).eps, torch.finfo(logits.dtype).eps)
    best = int(np.argmin(misses))
    return rules[best] if misses[best] < max(1e-5, 4 * coarse) else None


class Intervention:
    """Force the choice of one router: enter `forcing` around a forward pass, and a recorder inside it.

    Parameters
    ----------
    model : nn.Module
    site : RouterSite
        The router; see `capture.routers.discover`.
    weights : {"renorm", "uniform", "slot"}

    Raises
    ------
    RoutestatError
        If the experts of the model family do not take the router's output, or `weights` is "renorm" and the
        router's weights follow no known rule. Both are tested on a few tokens.

    Examples
    --------
    >>> intervention = Intervention(model, site)                           # doctest: +SKIP
    >>> with intervention.forcing([1, 7]), Recorder(model) as recorder:     # doctest: +SKIP
    ...     model(**inputs)
    """

    def __init__(self, model: Any, site: RouterSite, weights: str = "renorm") -> None:
        if weights not in WEIGHT_VARIANTS:
            raise RoutestatError(
                f"the weights of a forced choice are {', '.join(WEIGHT_VARIANTS)}, got {weights!r}"
            )
        kind = type(site.router).__name__
        if site.deviation is not COMMON:
            raise RoutestatError(
                f"{site.module} ({kind}): its choice cannot be forced, because its experts do not simply "
                "take the indices and weights that it returns"
            )
        self.site, self.variant = site, weights
        self.rule: WeightRule | None = None
        self._calls = 0
        logits, own, natural = self._probe(model)
        if weights == "renorm":
            factor = next(
                (f for part in (site.router, site.block) if (f := getattr(part, "routed_scaling_factor", 0))),
                1.0,
            )
            self.rule = fit_weight_rule(logits, own, natural, float(factor))
            if self.rule is None:
                raise RoutestatError(
                    f"{site.module} ({kind}): its weights are no softmax or sigmoid of its scores at the chosen "
                    "experts, so other experts' weights are not defined; use uniform or slot"
                )
        self._verify(model)

    @contextmanager
    def forcing(self, experts: Any) -> Iterator[None]:
        """Force `experts` in every call of the router while the context is open.

        Parameters
        ----------
        experts : int array ``[token, slot]`` or ``[slot]``, or None
            Tokens are rows × columns of the model's input, flattened; a row with −1 keeps its own choice. One
            subset is for all tokens. None forces each token's own natural choice.

        Raises
        ------
        RoutestatError
            If `experts` is none of these, or the router was not called: a compiled model skips hooks.
        """
        wanted = None if experts is None else self._checked(experts)
        self._calls = 0
        handle = self.site.router.register_forward_hook(lambda _, args, output: self._force(output, wanted))
        try:
            yield
        finally:
            handle.remove()
        if not self._calls:
            raise RoutestatError(
                f"{self.site.module} was not called, so nothing was forced: call the model uncompiled"
            )

    def _checked(self, experts: Any) -> Tensor:
        rows: NDArray[Any] = np.atleast_2d(np.asarray(experts))
        width, limit = self.site.top_k, self.site.n_experts
        if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "iu":
            raise RoutestatError(
                f"expected expert ids [token, {width}] to force, got shape {list(rows.shape)}"
            )
        forced = rows[~(rows == MISSING).any(axis=1)]
        ordered = np.sort(forced, axis=1)
        outside = ordered[(ordered < 0) | (ordered >= limit)]
        if outside.size:
            raise RoutestatError(f"layer {self.site.layer} has experts 0 … {limit - 1}, got {outside[0]}")
        if (ordered[:, 1:] == ordered[:, :-1]).any():
            raise RoutestatError("an expert is forced twice for one token")
        return torch.from_numpy(rows.astype(np.int64))

    def _force(self, output: Any, wanted: Tensor | None) -> Any:
        logits, weights, natural = output[:3]
        self._calls += 1
        if wanted is None:
            wanted = natural.long()
        elif wanted.shape[0] not in (1, natural.shape[0]):
            raise RoutestatError(
                f"{self.site.module} got {natural.shape[0]} tokens, but {wanted.shape[0]} rows are to be forced"
            )
        wanted = wanted.to(natural.device).expand(natural.shape)
        own = (wanted == MISSING).any(dim=1)
        same = own | (wanted.sort(dim=1).values == natural.sort(dim=1).values).all(dim=1)
        # By decreasing score, as routers list them. A row with its own natural subset keeps even its order: a sum
        # in another order would differ in the last bit.
        wanted = wanted.clamp(min=0)
        wanted = wanted.gather(1, logits.gather(1, wanted).argsort(dim=1, descending=True, stable=True))
        indices = torch.where(same[:, None], natural, wanted.to(natural.dtype))
        forced_weights = self._weights(logits, weights, wanted)
        kept = own if self.variant == "uniform" else same
        return (
            logits,
            torch.where(kept[:, None], weights, forced_weights.to(weights.dtype)),
            indices,
            *output[3:],
        )

    def _weights(self, logits: Tensor, natural: Tensor, experts: Tensor) -> Tensor:
        if self.variant == "uniform":
            return natural.mean(dim=1, keepdim=True).expand(natural.shape)
        if self.variant == "slot":
            return natural.sort(dim=1, descending=True).values
        assert self.rule is not None
        return self.rule.weights(logits, experts)

    def _probe(self, model: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, weights and indices of the router for a few tokens."""
        seen: list[Any] = []
        handle = self.site.router.register_forward_hook(lambda _, args, output: seen.append(output))
        try:
            self._run_a_few(model)
        finally:
            handle.remove()
        if not seen or not isinstance(seen[0], tuple) or len(seen[0]) < 3:
            raise RoutestatError(
                f"{self.site.module} ({type(self.site.router).__name__}): does not return "
                "(logits, weights, indices), so its choice cannot be forced"
            )
        logits, weights, indices = seen[0][:3]
        return logits, weights, indices.long()

    def _verify(self, model: Any) -> None:
        """Refuse a block whose experts do not execute the forced choice."""
        k, n = self.site.top_k, self.site.n_experts
        forced = (np.arange(32)[:, None] + np.arange(k)) % n
        with self.forcing(forced), Recorder(model, [self.site]) as recorder:
            self._run_a_few(model)
        executed = recorder.steps[0].experts[self.site.name]
        if not np.array_equal(np.sort(executed, axis=1), np.sort(forced, axis=1)):
            raise RoutestatError(
                f"{self.site.module}: its experts did not execute what was forced; this family cannot be forced"
            )

    @staticmethod
    def _run_a_few(model: nn.Module) -> None:
        tokens = torch.arange(2, 34, device=input_device(model))[None]
        with torch.inference_mode():
            model(input_ids=tokens, use_cache=False)
