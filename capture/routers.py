"""The routers of a model, found in its modules and not guessed from its configuration."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from capture.router_outputs import COMMON, DEVIATIONS, NOT_ROUTERS, REFUSED, Deviation
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

# Names of routers beside `.experts`; shared_expert_gate of qwen2_moe weights one shared expert and chooses nothing.
ROUTER_NAMES = ("gate", "router", "gating")
_N_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_routed_experts")
_TOP_K = ("top_k", "num_experts_per_tok", "moe_topk", "moe_top_k", "moe_k", "num_selected_experts")


@dataclass(frozen=True, eq=False)
class RouterSite:
    """One router of a model and the modules that are hooked.

    Parameters
    ----------
    name : str
        Column of the trace, such as ``L05``.
    layer, n_experts, top_k : int
        Properties of this router; `n_experts` includes identity experts.
    module : str
        The qualified name of the hooked router, for messages.
    router : nn.Module
    experts : nn.Module or None
        Its call has the executed indices; None where the router's output is read instead.
    block : nn.Module
        Parent of both.
    deviation : Deviation
    identity : tuple of int
        Ids of experts that compute nothing.
    """

    name: str
    layer: int
    n_experts: int
    top_k: int
    module: str
    router: nn.Module
    experts: nn.Module | None
    block: nn.Module
    deviation: Deviation
    identity: tuple[int, ...] = ()

    @property
    def as_router(self) -> Router:
        """The router as a trace describes it."""
        return Router(self.layer, self.n_experts, self.top_k, self.name)


def discover(model: nn.Module) -> tuple[RouterSite, ...]:
    """Find all routers of a model, in the order of depth.

    Raises
    ------
    RoutestatError
        If the model is dense, belongs to a family that cannot be recorded, or has experts whose router is unknown.
    """
    refuse(getattr(model, "config", None))
    names = {module: name for name, module in model.named_modules()}
    found = [_site(names, module, parent) for module, parent in _routers(model)]
    _require_known_routers(names, found)
    if not found:
        raise RoutestatError(
            f"{type(model).__name__} has no router: it is a dense model, and there is no routing to record"
        )
    # Attention runs before the MLP, whatever the order of their definition (JetMoE routes both); the encoder's
    # layers come before the decoder's of the same number because modules are listed in that order.
    found.sort(key=lambda site: (site.layer, "attention" not in site.module))
    return tuple(_named(found))


def refuse(config: Any) -> None:
    """Refuse a family whose routing cannot be recorded, before its weights are loaded.

    Raises
    ------
    RoutestatError
        With the reason.
    """
    kind = getattr(config, "model_type", None)
    if kind in REFUSED:
        raise RoutestatError(f"{kind} cannot be recorded: {REFUSED[kind]}")


def _routers(model: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield every router with its parent, in the order of the modules."""
    declared = tuple(_declared_classes(model))
    for _, block in model.named_modules():
        if type(block).__name__ == "Mxfp4GptOssMLP":
            yield block, block
            continue
        has_experts = hasattr(block, "experts") and isinstance(block.experts, nn.Module)
        for name, child in block.named_children():
            kind = type(child).__name__
            if kind in NOT_ROUTERS:
                continue
            if isinstance(child, declared) or kind in DEVIATIONS or (has_experts and name in ROUTER_NAMES):
                yield child, block


def _declared_classes(model: nn.Module) -> Iterator[type[nn.Module]]:
    for module in model.modules():
        recorders = (getattr(module, "_can_record_outputs", None) or {}).get("router_logits", ())
        for recorder in recorders if isinstance(recorders, list | tuple) else (recorders,):
            target = getattr(recorder, "target_class", recorder)
            if isinstance(target, type) and target.__name__ not in NOT_ROUTERS:
                yield target


def _site(names: dict[nn.Module, str], router: nn.Module, block: nn.Module) -> RouterSite:
    module = names[router]
    deviation = DEVIATIONS.get(type(router).__name__, COMMON)
    experts = getattr(block, "experts", None)
    if deviation.from_experts and not isinstance(experts, nn.Module):
        raise RoutestatError(
            f"{module} ({type(router).__name__}): a router without experts beside it is not known; "
            "its executed experts cannot be recorded"
        )
    if getattr(experts, "_is_expert_parallel", False):
        raise RoutestatError(
            f"{module}: experts are split over processes; load the model with device_map instead"
        )
    real = _read_number(_N_EXPERTS, module, router, experts, block)
    total = real if deviation.n_experts is None else deviation.n_experts(router)
    return RouterSite(
        name="",
        layer=_layer_of(module),
        n_experts=total,
        top_k=deviation.top_k or _read_number(_TOP_K, module, router, experts, block),
        module=module,
        router=router,
        experts=experts if deviation.from_experts else None,
        block=block,
        deviation=deviation,
        identity=tuple(range(real, total)),
    )


def _read_number(attributes: tuple[str, ...], module: str, *holders: Any) -> int:
    # The router comes first: it may choose among more experts than those that compute.
    for holder in holders:
        for attribute in attributes:
            value = getattr(holder, attribute, None)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    raise RoutestatError(
        f"{module}: none of {', '.join(attributes)} is set on the router, its experts or its block"
    )


def _layer_of(module: str) -> int:
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", module)
    if not numbers:
        raise RoutestatError(f"{module}: no layer number in the router's name")
    return int(numbers[0])


def _named(sites: list[RouterSite]) -> Iterator[RouterSite]:
    """Yield the routers with names: ``L05``, or ``L05a``, ``L05b`` where a layer has several."""
    several = Counter(site.layer for site in sites)
    seen: Counter[int] = Counter()
    for site in sites:
        letter = chr(ord("a") + seen[site.layer]) if several[site.layer] > 1 else ""
        seen[site.layer] += 1
        yield RouterSite(**{**vars(site), "name": f"L{site.layer:02d}{letter}"})


def _require_known_routers(names: dict[nn.Module, str], sites: list[RouterSite]) -> None:
    """Refuse experts without a known router: they would be missing from the trace without a message."""
    known = {site.block for site in sites}
    for module, name in names.items():
        experts = getattr(module, "experts", None)
        if not isinstance(experts, nn.Module) or module in known:
            continue
        if any(site.module.startswith(f"{name}.") for site in sites):
            continue
        children = ", ".join(child for child, _ in module.named_children())
        raise RoutestatError(
            f"{name} ({type(module).__name__}): experts without a known router; its parts are {children}"
        )
