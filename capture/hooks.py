"""Record the experts that a model executes, by hooks that are removed whatever happens."""

import inspect
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from capture.router_outputs import executed_indices
from capture.routers import RouterSite, discover
from capture.steps import MISSING, Call, OpenStep, Step
from routestat.errors import RoutestatError


class Recorder:
    """Record every forward pass of a model while the context is open.

    Hooks of the routers act only inside a forward pass of the outer model (a *step*), so that a recomputation
    for gradients, or a layer called on its own, records nothing.

    Parameters
    ----------
    model : nn.Module
        The object that will be called: hooks on an inner model are skipped by a compiled one.
    sites : sequence of RouterSite, optional
        Routers to record; all that are found if not given.
    weights, logits : bool
        Record these too.
    on_step : callable(Step), optional
        Called after every step, which is then not kept in `steps`.

    Raises
    ------
    RoutestatError
        In the forward pass, if a router recorded nothing, ran twice, or saw another number of tokens.

    Examples
    --------
    >>> with Recorder(model) as recorder:          # doctest: +SKIP
    ...     model(**inputs)
    >>> recorder.steps[0].experts["L05"]           # doctest: +SKIP
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sequence[RouterSite] | None = None,
        *,
        weights: bool = False,
        logits: bool = False,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.model = model
        self.sites = tuple(discover(model) if sites is None else sites)
        self.steps: list[Step] = []
        self._keep_weights, self._keep_logits = weights, logits
        self._on_step = on_step or self.steps.append
        self._open: OpenStep | None = None
        self._handles: list[Any] = []
        self._signature = inspect.signature(getattr(model, "_orig_mod", model).forward)
        # The tokens of an encoder are not those of its decoder: rows cannot be checked against one input.
        config = getattr(model, "config", None)
        self._one_input = not getattr(config, "is_encoder_decoder", False)

    def __enter__(self) -> "Recorder":
        """Attach the hooks."""
        try:
            self._handles += [
                self.model.register_forward_pre_hook(self._begin, with_kwargs=True),
                self.model.register_forward_hook(self._end),
            ]
            for site in self.sites:
                self._handles += self._attach(site)
        except BaseException:
            self._detach()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the hooks."""
        self._detach()

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._open = None

    @property
    def step(self) -> OpenStep | None:
        """The step that is running, for others that add to it (see `capture.lookahead`); None outside a step."""
        return self._open

    def _attach(self, site: RouterSite) -> list[Any]:
        handles = []
        if site.experts is not None:
            handles.append(site.experts.register_forward_pre_hook(self._experts_hook(site), with_kwargs=True))
        if site.experts is None or self._keep_logits:
            handles.append(site.router.register_forward_hook(self._router_hook(site)))
        return handles

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # New buffers even if a step that raised left its own.
        self._open = OpenStep(self._call_of(args, kwargs))

    def _call_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = kwargs
        if args:
            bound = self._signature.bind_partial(*args, **kwargs).arguments
            given = {**bound, **bound.get("kwargs", {})}
        tokens = given.get("input_ids")
        tokens = given.get("inputs_embeds") if tokens is None else tokens
        if tokens is None:
            raise RoutestatError("the model was called without input_ids or inputs_embeds")
        cache = given.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        mask = given.get("attention_mask")
        flat_mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
        return Call(tokens.shape[0], tokens.shape[1], past, given.get("position_ids"), flat_mask)

    def _experts_hook(self, site: RouterSite) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._open is None:
                return
            given = (*args, *kwargs.values()) if kwargs else args
            if len(given) < 3 or not isinstance(given[1], Tensor):
                raise RoutestatError(
                    f"{site.module}: its experts were not called with (hidden states, indices, weights); "
                    "their choice cannot be recorded"
                )
            self._record(site, executed_indices(given[1]), given[2])

        return hook

    def _router_hook(self, site: RouterSite) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self._open is None:
                return
            try:
                found = site.deviation.read(output, site.top_k)
            except (TypeError, ValueError, IndexError) as error:
                raise RoutestatError(f"{site.module} ({type(module).__name__}): {error}") from None
            if self._keep_logits and found.logits is not None:
                self._open.logits[site.name] = found.logits.detach().float()
            if site.experts is None and found.indices is not None:
                self._record(site, found.indices, found.weights)

        return hook

    def _record(self, site: RouterSite, indices: Tensor, weights: Tensor | None) -> None:
        step = self._open
        assert step is not None
        if indices.dim() != 2 or indices.shape[1] != site.top_k:
            raise RoutestatError(
                f"{site.module}: executed indices of shape {list(indices.shape)} where [token, {site.top_k}] "
                "was expected"
            )
        if site.name in step.experts:
            step.repeated.append(site.module)
        kept = indices
        if site.deviation.skip_without_weight and weights is not None:
            kept = torch.where(weights.detach() == 0, MISSING, kept)
        # A small copy: the original would keep the activations of the step in memory until its end.
        step.experts[site.name] = kept.to(torch.int16, copy=True)
        if self._keep_weights and weights is not None:
            step.weights[site.name] = weights.detach().to(torch.float16, copy=True)

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        step, self._open = self._open, None
        if step is None:
            return
        self._require_coverage(step)
        self._on_step(step.close())

    def _require_coverage(self, step: OpenStep) -> None:
        absent = [site.module for site in self.sites if site.name not in step.experts]
        if absent:
            raise RoutestatError(
                f"{absent[0]} recorded nothing in a forward pass ({len(absent)} of {len(self.sites)} routers "
                "did not): a model compiled before the hooks were attached skips them, call it uncompiled"
            )
        if step.repeated:
            raise RoutestatError(
                f"{step.repeated[0]} ran more than once in a forward pass; tokens would be mixed up"
            )
        wanted = step.call.rows * step.call.columns
        for site in self.sites if self._one_input else ():
            if step.experts[site.name].shape[0] != wanted:
                raise RoutestatError(
                    f"{site.module} recorded {step.experts[site.name].shape[0]} tokens of {wanted} in a forward pass"
                )


def input_device(model: Any) -> torch.device:
    """Return the device on which a model expects its tokens."""
    device: torch.device = model.get_input_embeddings().weight.device
    # Offloaded embeddings are on no device; the model's own hook then moves the tokens.
    return torch.device("cpu") if device.type == "meta" else device
