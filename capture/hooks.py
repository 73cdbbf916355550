"""Attach to a model, record what its experts executed, always detach."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from capture.router_outputs import executed_indices
from capture.routers import RouterSite, discover
from routestat.errors import RoutestatError

MISSING = -1


@dataclass(frozen=True)
class Call:
    """What the outer model was given in one step; tensors stay where they were.

    `past` counts the tokens that the cache held before the step.
    """

    rows: int
    columns: int
    past: int
    position_ids: Tensor | None
    attention_mask: Tensor | None


@dataclass(frozen=True)
class Step:
    """One forward pass of the outer model.

    Attributes
    ----------
    call : Call
    experts : dict of int16 ``[token, slot]``
        By the router's column name; tokens are rows × columns of the call, flattened; −1 is missing.
    weights : dict of float16 ``[token, slot]``
    logits : dict of float32 ``[token, expert]``
    """

    call: Call
    experts: dict[str, NDArray[np.int16]]
    weights: dict[str, NDArray[np.float16]]
    logits: dict[str, NDArray[np.float32]]
    ahead: dict[str, NDArray[np.int16]]


@dataclass
class OpenStep:
    """Buffers of a step that is running, on the devices where they came up."""

    call: Call
    experts: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    ahead: dict[str, Tensor] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)


class Recorder:
    """Record every forward pass of `model` while the context is open.

    Hooks of the routers act only inside a forward pass of the outer model (a *step*), so that a recomputation
    for gradients, or a layer called on its own, records nothing.

    Parameters
    ----------
    model : nn.Module
        The object that will be called: hooks on an inner model are skipped by a compiled one.
    sites : sequence of RouterSite, optional
        Which routers; all that are found if not given.
    weights, logits : bool
        Record them too.
    on_step : callable(Step), optional
        Called after every step instead of keeping it in `steps`.

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
        # An encoder's tokens are not the decoder's: rows cannot be checked against one input.
        config = getattr(model, "config", None)
        self._one_input = not getattr(config, "is_encoder_decoder", False)

    def __enter__(self) -> "Recorder":
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
        self._detach()

    def _detach(self) -> None:
        while self._handles:
            self._handles.pop().remove()
        self._open = None

    @property
    def step(self) -> OpenStep | None:
        """The step that is running, for companions that record beside (see `capture.lookahead`)."""
        return self._open

    def _attach(self, site: RouterSite) -> list[Any]:
        handles = []
        if site.experts is not None:
            handles.append(site.experts.register_forward_pre_hook(self._experts_hook(site), with_kwargs=True))
        if site.experts is None or self._keep_logits:
            handles.append(site.router.register_forward_hook(self._router_hook(site)))
        return handles

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # A step that raised left its buffers; they must not leak into the next.
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
                reading = site.deviation.read(output, site.top_k)
            except (TypeError, ValueError, IndexError) as error:
                raise RoutestatError(f"{site.module} ({type(module).__name__}): {error}") from None
            if self._keep_logits and reading.logits is not None:
                self._open.logits[site.name] = reading.logits.detach().float()
            if site.experts is None and reading.indices is not None:
                self._record(site, reading.indices, reading.weights)

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
        # A copy, and small: the originals would hold a step's activations until its end.
        step.experts[site.name] = kept.to(torch.int16, copy=True)
        if self._keep_weights and weights is not None:
            step.weights[site.name] = weights.detach().to(torch.float16, copy=True)

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        step, self._open = self._open, None
        if step is None:
            return
        self._require_coverage(step)
        self._on_step(
            Step(step.call, fetch(step.experts), fetch(step.weights), fetch(step.logits), fetch(step.ahead))
        )

    def _require_coverage(self, step: OpenStep) -> None:
        silent = [site.module for site in self.sites if site.name not in step.experts]
        if silent:
            raise RoutestatError(
                f"{silent[0]} recorded nothing in a forward pass ({len(silent)} of {len(self.sites)} routers "
                "silent): a model compiled before the hooks were attached skips them, call it uncompiled"
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


def fetch(tensors: dict[str, Tensor]) -> dict[str, NDArray]:
    """To the host in one transfer per device, type and shape, not one per router."""
    groups: dict[tuple[torch.device, torch.dtype, torch.Size], list[str]] = {}
    for name, tensor in tensors.items():
        groups.setdefault((tensor.device, tensor.dtype, tensor.shape), []).append(name)
    arrays: dict[str, NDArray] = {}
    for names in groups.values():
        together = torch.stack([tensors[name] for name in names]).cpu().numpy()
        arrays.update(zip(names, together, strict=True))
    return arrays if len(groups) == 1 else {name: arrays[name] for name in tensors}


def input_device(model: Any) -> torch.device:
    """Where a model's tokens belong."""
    device: torch.device = model.get_input_embeddings().weight.device
    # Offloaded embeddings are on no device; the model's own hook then moves what it is given.
    return torch.device("cpu") if device.type == "meta" else device
