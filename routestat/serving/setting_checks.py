"""Checks of what is to be simulated."""

import math

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.forecast.kept_predictions import KeptPredictions
from routestat.serving.settings import POLICIES, SCOPES, STARTS, CacheSetting, Hardware
from routestat.serving.steps import Steps


def require_setting(setting: CacheSetting, steps: Steps) -> None:
    """Refuse a setting that cannot be simulated on these steps.

    Raises
    ------
    RoutestatError
        If the policy, the scope or the start is unknown; if the capacity exceeds the experts of every layer or is below
        what one token needs at a layer, except without a cache; if the half-life is not positive; if the lookahead or
        the candidates do not fit the model.
    """
    policies = tuple(policy.name for policy in POLICIES)
    for what, name, known in (
        ("policy", setting.policy, policies),
        ("scope", setting.scope, SCOPES),
        ("start", setting.start, STARTS),
    ):
        if name not in known:
            raise RoutestatError(f"{what}: expected one of {', '.join(known)}, got {name!r}")
    if not (setting.half_life >= 1e-6 and math.isfinite(setting.half_life)):
        raise RoutestatError(f"half-life: expected a number of steps above 0, got {setting.half_life:g}")
    if setting.policy != "none":
        _require_capacity(setting, steps)
    _require_lookahead(setting, steps)


def _require_capacity(setting: CacheSetting, steps: Steps) -> None:
    capacity, layers = setting.capacity, len(steps.routers)
    needed = max(router.top_k for router in steps.routers)
    experts = [router.n_experts for router in steps.routers]
    per_layer = setting.scope == "layer"
    most = max(experts) if per_layer else sum(experts) / layers
    if not (math.isfinite(capacity) and capacity <= most):
        raise RoutestatError(
            f"capacity: expected at most {most:g}, the experts of a layer, got {capacity:g}; simulate a smaller one"
        )
    slots = setting.slots(layers)
    if slots < needed:
        where = f"got {capacity:g} per layer" + ("" if per_layer else f", a pool of {slots} slots")
        raise RoutestatError(
            f"capacity: expected at least {needed}, what one token needs at a layer, {where}; simulate a larger one"
        )


def _require_lookahead(setting: CacheSetting, steps: Steps) -> None:
    layers, most = len(steps.routers), max(router.n_experts for router in steps.routers)
    if not 0 <= setting.lookahead < layers:
        raise RoutestatError(
            f"lookahead: expected 0 to {layers - 1} layers, as the trace has {layers}, got {setting.lookahead}"
        )
    if setting.lookahead and not 1 <= setting.candidates <= most:
        raise RoutestatError(f"candidates: expected 1 to {most} experts per token, got {setting.candidates}")


def require_inputs(
    setting: CacheSetting,
    steps: Steps,
    pinned: NDArray[np.bool_] | None,
    eviction: KeptPredictions | None,
    prefetch: KeptPredictions | None,
) -> None:
    """Refuse a replay without what its policy or its lookahead needs.

    Raises
    ------
    RoutestatError
        If pins or predictions are not given or have another shape than the steps, if more experts are pinned than the
        cache has slots, or if predictions use layers that are not known when they are needed.
    """
    if setting.policy == "static":
        _require_pins(setting, steps, pinned)
    if setting.policy == "predictor":
        _require_predictions("the policy predictor", eviction, steps, 0)
    if setting.lookahead:
        _require_predictions("prefetching", prefetch, steps, setting.lookahead)


def require_hardware(hardware: Hardware) -> None:
    """Refuse a machine that moves nothing.

    Raises
    ------
    RoutestatError
        If an expert has no bytes, the link no bandwidth, or a layer's work takes less than no time.
    """
    for what, value, unit in (
        ("expert size", hardware.expert_bytes, "bytes"),
        ("bandwidth", hardware.bandwidth, "bytes per second"),
    ):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise RoutestatError(f"{what}: expected {unit} above 0, got {value:g}")
    if not (hardware.compute >= 0 and math.isfinite(hardware.compute)):
        raise RoutestatError(f"compute: expected 0 or more seconds per layer, got {hardware.compute:g}")


def _require_pins(setting: CacheSetting, steps: Steps, pinned: NDArray[np.bool_] | None) -> None:
    offsets = steps.offsets
    shape = (steps.n_units, int(offsets[-1]))
    if pinned is None or pinned.shape != shape or pinned.dtype != np.bool_:
        found = "none" if pinned is None else f"{pinned.dtype} {pinned.shape}"
        raise RoutestatError(
            f"the policy static: expected pinned experts as a bool array {shape}, got {found}"
        )
    pooled = setting.scope == "pool"
    slots = setting.slots(len(steps.routers))
    starts = offsets[:1] if pooled else offsets[:-1]
    most = int(np.add.reduceat(pinned.astype(np.int64), starts, axis=1).max())
    if most > slots:
        raise RoutestatError(
            f"the policy static: expected at most {slots} pinned experts, got {most}; pin fewer"
        )


def _require_predictions(what: str, kept: KeptPredictions | None, steps: Steps, horizon: int) -> None:
    if kept is None:
        raise RoutestatError(f"{what}: expected kept predictions, got none")
    rows, layers = int(steps.row.max()) + 1, len(steps.routers)
    if kept.experts.shape != kept.score.shape or len(kept.experts) < rows or kept.experts.shape[1] != layers:
        raise RoutestatError(
            f"{what}: expected predictions of at least {rows} rows and {layers} layers, got experts "
            f"{kept.experts.shape} and scores {kept.score.shape}"
        )
    if kept.horizon and (horizon == 0 or kept.horizon < horizon):
        raise RoutestatError(
            f"{what}: expected predictions that use no layer nearer than {horizon} layers before"
            f"{'' if horizon else ' and none of the token itself'}, got a horizon of {kept.horizon}"
        )
