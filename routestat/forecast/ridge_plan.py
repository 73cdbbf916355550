"""Which ridges a board has: the windows of layers that fit, and the designs that share a factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from routestat.forecast.history import previous
from routestat.forecast.history_ridge import NearDesign, NestedDesign
from routestat.forecast.specification import BoardPlan, PredictorSpec, RidgeForm
from routestat.traces.metadata import Router

#: Features of all layers in one window, and of each of several; those of token ids are not counted. A factor takes n³/3
#: operations.
MOST_FEATURES, SHORT_FEATURES = 3400, 2048
#: Features of a window with those of token ids.
MOST_WITH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive routers whose choices are used together, and which of them are targets.

    Attributes
    ----------
    first, stop : int
        Places of the first router and after the last.
    targets : int
        Place of the first target; all up to the last router are.
    """

    first: int
    stop: int
    targets: int


@dataclass(frozen=True, slots=True)
class Model:
    """One predictor at one target.

    Attributes
    ----------
    name : str
    target : int
        Place of the router on the board.
    horizon : int
        0 without an earlier layer.
    note : str
        How the design was shortened.
    """

    name: str
    target: int
    horizon: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Designed:
    """A design and the models that its regressions are, in their order."""

    design: NestedDesign | NearDesign
    models: tuple[Model, ...]


def plan_windows(routers: Sequence[Router], rows: int) -> tuple[Window, ...]:
    """Divide the routers into windows of layers; there is one where all layers, twice, are at most `MOST_FEATURES`.

    Otherwise windows have `SHORT_FEATURES`. The first has all its layers as targets, each later one the last half. A
    window has no more features than twice the `rows`, so that the cost is bounded by the data, but always two layers.
    Where the rows are fewer than the features of two layers, there is no window.
    """
    if rows < sum(router.n_experts for router in routers[:2]):
        return ()
    whole = 2 * sum(router.n_experts for router in routers)
    limit = min(MOST_FEATURES if whole <= MOST_FEATURES else SHORT_FEATURES, 2 * rows)
    stop = _stop(routers, 0, limit)
    found = [Window(0, stop, 0)]
    while stop < len(routers):
        first = _first(routers, stop, limit)
        new = min(len(routers), stop + max(1, (stop - first) // 2))
        found.append(Window(min(_first(routers, new, limit), stop - 1), new, stop))
        stop = new
    return tuple(found)


def _stop(routers: Sequence[Router], first: int, limit: int) -> int:
    features, stop = 0, first
    while stop < len(routers) and (stop < first + 2 or features + 2 * routers[stop].n_experts <= limit):
        features += 2 * routers[stop].n_experts
        stop += 1
    return stop


def _first(routers: Sequence[Router], stop: int, limit: int) -> int:
    features, first = 0, stop
    while first > 0 and (first > stop - 2 or features + 2 * routers[first - 1].n_experts <= limit):
        first -= 1
        features += 2 * routers[first].n_experts
    return first


def token_width(routers: Sequence[Router]) -> int:
    """Return how many features of token ids the largest factor leaves space for, beside those of a window."""
    return max(64, (MOST_WITH_TOKENS - 2 * sum(router.n_experts for router in routers)) // 2)


def plan_designs(
    specs: Sequence[PredictorSpec],
    view: str,
    plan: BoardPlan,
    routers: Sequence[Router],
    window: Window,
    token_ids: bool,
) -> tuple[Designed, ...]:
    """Return the designs of a window, each with the models whose features begin alike."""
    layers = tuple(router.name for router in routers[window.first : window.stop])
    nested: dict[tuple[str, ...], list[tuple[Model, tuple[int, int]]]] = {}
    near: dict[tuple[str, ...], list[tuple[Model, tuple[int, int, int]]]] = {}
    for spec in specs:
        form = spec.form(view)
        if form.tokens and not token_ids:
            continue
        head = _head(form, layers)
        for target in range(window.targets, window.stop):
            for horizon in _horizons(spec, form, plan):
                count = target - window.first - horizon + 1 if horizon else 0
                if horizon and count < 1:
                    continue
                model = Model(spec.name, target, horizon, _note(form, window, len(routers), count))
                place = target - window.first
                if form.layers > 0:
                    row = (place, place - horizon, min(form.layers, count))
                    near.setdefault(head, []).append((model, row))
                else:
                    nested.setdefault(head, []).append((model, (place, count)))
    designs = [
        Designed(NestedDesign(head, layers, tuple(row for _, row in own)), tuple(model for model, _ in own))
        for head, own in nested.items()
    ]
    return (
        *designs,
        *(
            Designed(NearDesign(head, layers, tuple(row for _, row in own)), tuple(model for model, _ in own))
            for head, own in near.items()
        ),
    )


def _head(form: RidgeForm, layers: Sequence[str]) -> tuple[str, ...]:
    head = ["constant"]
    if form.tokens:
        head += ["token id", "previous token id"]
    if form.previous:
        head += ["no previous token", *(previous(name) for name in layers)]
    return tuple(head)


def _horizons(spec: PredictorSpec, form: RidgeForm, plan: BoardPlan) -> tuple[int, ...]:
    if form.layers == 0:
        return (0,)
    return tuple(sorted(set(plan.horizons_of(spec))))


def _note(form: RidgeForm, window: Window, n_routers: int, count: int) -> str:
    """Say what was left out, where it was."""
    words, size = [], window.stop - window.first
    wanted = form.layers if form.layers > 0 else count + window.first
    if window.first and form.layers and count < wanted:
        words.append(f"the last {count} layers of the token" if count > 1 else "the last layer of the token")
    if form.previous and size < n_routers:
        words.append(f"{size} of the {n_routers} layers of the previous token")
    return f"shortened to {' and '.join(words)}" if words else ""
