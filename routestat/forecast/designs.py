"""Which sources are counted together for a target, and which tempered models share them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.counting.moments import Design
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.specification import LinearForm, PredictorSpec, TemperedModel
from routestat.traces.metadata import Router

Sources = tuple[tuple[Router, int], ...]
_N_LINEAR = sum(isinstance(spec.experts, LinearForm) for spec in catalogue.PREDICTORS)


@dataclass(frozen=True, slots=True)
class Model:
    """One predictor to be fitted: the design, the number of its first sources that are used, and the kind."""

    name: str
    design: int
    width: int
    kind: str
    fallback: str


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """Everything that is fitted for one target.

    Attributes
    ----------
    place : int
        Of the target in the list of routers.
    target : Router
    designs : tuple of Design
        Models share a design where the sources of one begin with all sources of the other.
    models : tuple of Model
    chain : int
        The design of the last layers one after the other, from which the factorised chain is kept; −1 if none.
    """

    place: int
    target: Router
    designs: tuple[Design, ...]
    models: tuple[Model, ...]
    chain: int

    def kinds(self, design: int) -> dict[int, list[str]]:
        """Kinds by width, of one of the designs."""
        widths: dict[int, dict[str, None]] = {}
        for model in self.models:
            if model.design == design:
                widths.setdefault(model.width, {})[model.kind] = None
        return {width: list(kinds) for width, kinds in widths.items()}

    def size(self, n_folds: int) -> int:
        """Bytes of counts of 4 bytes, and of the predictors with their exponentials, roughly."""
        experts, size = self.target.n_experts, 0
        for features in (design.offsets[-1] for design in self.designs):
            size += 4 * features * (features + experts)
        for model in self.models:
            size += 16 * self.designs[model.design].offsets[model.width] * experts
        # Those read from tables have one source, of about as many experts.
        size += 16 * _N_LINEAR * experts * experts
        return n_folds * size


def plan_target(routers: Sequence[Router], place: int, specs: Sequence[PredictorSpec]) -> TargetPlan:
    """Plan the tempered models `specs` of the router at a place of the list."""
    target = routers[place]
    forms = {spec.name: spec.experts for spec in specs if isinstance(spec.experts, TemperedModel)}
    sources = {name: form.sources(routers, place) for name, form in forms.items()}
    designs = _shared([found for found in sources.values() if found])
    models = []
    for name, found in sources.items():
        if found:
            design = next(at for at, whole in enumerate(designs) if _begins(whole, found))
            models.append(Model(name, design, len(found), forms[name].kind, _fallback(name, forms, sources)))
    layers = tuple((routers[at], 0) for at in range(place - 1, -1, -1))
    chain = next((at for at, whole in enumerate(designs) if whole == layers[: len(whole)]), -1)
    return TargetPlan(place, target, tuple(Design(target, whole) for whole in designs), tuple(models), chain)


def tempered_specs(orders: Sequence[int] | None = None) -> list[PredictorSpec]:
    """Return the registered tempered models; of those on layers alone, only these numbers of layers.

    Raises
    ------
    RoutestatError
        For a number of layers that no registered predictor looks back.
    """
    specs = [spec for spec in catalogue.PREDICTORS if isinstance(spec.experts, TemperedModel)]
    if orders is None:
        return specs
    known = {order_of(spec) for spec in specs} - {0}
    if not orders or not set(orders) <= known:
        numbers = ", ".join(map(str, sorted(known)))
        raise RoutestatError(
            f"orders: expected layers back of the registered ones, {numbers}; got {tuple(orders)}"
        )
    return [spec for spec in specs if order_of(spec) in {0, *orders}]


def not_fitted(rows: BoardRows, specs: Sequence[PredictorSpec] | None = None) -> dict[str, str]:
    """Return why tempered models are not fitted, by name: they have as many features as there are tokens, or more.

    The tokens are those of the smallest fit at any target: penalty and exponents of a fold are chosen by models
    without that fold and the next. The features are the experts of all sources, at the target with the most.

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec, optional
        Which models (all).
    """
    tokens = _tokens_to_fit(rows)
    if tokens is None:
        return {}
    found = {}
    for spec in tempered_specs() if specs is None else specs:
        if not isinstance(spec.experts, TemperedModel):
            continue
        features = max(
            sum(router.n_experts for router, _ in spec.experts.sources(rows.routers, place))
            for place in range(len(rows.routers))
        )
        if features >= tokens:
            found[spec.name] = f"not fitted: {features:,} features and {tokens:,} tokens to fit them on"
    return found


def _tokens_to_fit(rows: BoardRows) -> int | None:
    """Return the tokens of the smallest fit at any target with tokens; None where nothing can be held out."""
    found = []
    for router in rows.routers:
        tokens = rows.loads(router).sum(axis=1, dtype=np.int64) // router.top_k
        if not tokens.any():
            continue
        without_two = tokens.sum() - (tokens + np.roll(tokens, -1)).max() if len(tokens) > 2 else 0
        # Where two folds hold all tokens, nothing is chosen by models without both.
        found.append(int(without_two or tokens.sum() - tokens.max()))
    return min(found, default=None) if rows.n_folds > 1 else None


def parts_in_memory(plans: Sequence[TargetPlan], n_folds: int, memory: int) -> Iterator[list[TargetPlan]]:
    """Yield the plans in parts whose tables and weights fit in `memory` bytes together; one plan at least."""
    part: list[TargetPlan] = []
    for plan in plans:
        if part and sum(p.size(n_folds) for p in part) + plan.size(n_folds) > memory:
            yield part
            part = []
        part.append(plan)
    yield part


def order_of(spec: PredictorSpec) -> int:
    """Return how many layers back a tempered model looks if it looks at nothing else; otherwise 0."""
    return spec.experts.n_layers if isinstance(spec.experts, TemperedModel) else 0


def _begins(whole: Sources, part: Sources) -> bool:
    """Whether both reach back equally many tokens and one begins with the other.

    What reaches further back is known for fewer tokens: sources that do not are counted on all that have them.
    """
    reach = [max(lag for _, lag in sources) for sources in (whole, part)]
    return reach[0] == reach[1] and whole[: len(part)] == part


def _shared(sources: Sequence[Sources]) -> list[Sources]:
    """Return the longest sources of those that begin alike, by how many tokens they reach back."""
    longest = [
        own
        for own in dict.fromkeys(sources)
        if not any(other != own and _begins(other, own) for other in sources)
    ]
    return sorted(longest, key=lambda own: max(lag for _, lag in own))


def _fallback(name: str, forms: dict[str, TemperedModel], sources: dict[str, Sources]) -> str:
    """Return the nearest of a model's fallbacks that is fitted for this target; in the end popularity."""
    fallback, seen = forms[name].fallback, {name}
    while fallback != "popularity" and not sources.get(fallback):
        registered = {spec.name: spec.experts for spec in catalogue.PREDICTORS}
        form = registered.get(fallback)
        if not isinstance(form, TemperedModel) or fallback in seen:
            return "popularity"
        seen.add(fallback)
        fallback = form.fallback
    return fallback
