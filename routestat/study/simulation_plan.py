"""What is simulated: the settings of `simulate`, checked against a trace."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.serving.setting_checks import require_setting
from routestat.serving.settings import HALF_LIFE, POLICIES, SCOPES, STARTS, CacheSetting, Hardware
from routestat.serving.steps import Steps
from routestat.structure.model_facts import ModelFacts

#: What is replayed unless policies are named.
DEFAULT_POLICIES = ("none", "static", "lru", "lfu", "lfu-decay", "predictor", "belady")
#: Prefetch by the predictor of the highest recall, and by the recorded gate; by the choices themselves, as the limit.
BEST, PERFECT = "best", "perfect"
#: Accesses of the tokens that are replayed unless their number is given.
MOST_ACCESSES = 32_000_000
#: Capacities between one token's experts and all of a layer, unless they are named.
CAPACITIES = 5


@dataclass(frozen=True)
class SimulationPlan:
    """What is simulated.

    Attributes
    ----------
    layers : sequence of int, optional
        All by default.
    capacities : tuple of float
        Experts per layer; about `CAPACITIES` between one token's experts and all if empty.
    policies, scopes, starts : tuple of str
        Names in `POLICIES`, `SCOPES`, `STARTS`.
    predictors : tuple of str
        Whose predictions are prefetched: names of `routestat.forecast.catalogue`, or "best"; none if empty.
    lookaheads, candidates : tuple of int
        Layers ahead for which experts are prefetched, and experts per token; one and two tokens' experts if empty.
    batch, chunk : int
        Documents side by side, and prefill tokens of a document that a step takes.
    half_life : float
        Of ``lfu-decay``, in steps.
    hardware : Hardware
    facts : ModelFacts, optional
    stall_budget : float, optional
        Seconds per token.
    most_tokens : int, optional
        About so many tokens of whole documents; by default as many as have `MOST_ACCESSES`.
    threads : int, optional
    seed : int
    options : mapping
        Of the command line, for the record.
    """

    layers: Sequence[int] | None = None
    capacities: tuple[float, ...] = ()
    policies: tuple[str, ...] = DEFAULT_POLICIES
    scopes: tuple[str, ...] = ("layer",)
    starts: tuple[str, ...] = ("cold",)
    predictors: tuple[str, ...] = (BEST,)
    lookaheads: tuple[int, ...] = (1,)
    candidates: tuple[int, ...] = ()
    batch: int = 1
    chunk: int = 1
    half_life: float = HALF_LIFE
    hardware: Hardware = field(default_factory=Hardware)
    facts: ModelFacts | None = None
    stall_budget: float | None = None
    most_tokens: int | None = None
    threads: int | None = None
    seed: int = 0
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse names that are not known.

        Raises
        ------
        RoutestatError
            Also if there is nothing to simulate.
        """
        known = {
            "policy": (self.policies, [policy.name for policy in POLICIES]),
            "scope": (self.scopes, SCOPES),
            "start": (self.starts, STARTS),
            "predictor": (self.predictors, [BEST, *catalogue.explained()]),
        }
        for what, (names, allowed) in known.items():
            require_known(what, names, allowed)
            if not names and what != "predictor":
                raise RoutestatError(f"{what}: expected one or more of {', '.join(allowed)}, got none")
        fractions = [one for one in self.capacities if one != int(one)] if "layer" in self.scopes else []
        if fractions:
            raise RoutestatError(
                f"capacity: expected whole experts in the cache of a layer, got {fractions[0]:g}; a pool may have "
                "fractions"
            )
        if self.most_tokens is not None and self.most_tokens < 1:
            raise RoutestatError(f"tokens: expected 1 or more, got {self.most_tokens}")
        if self.stall_budget is not None and self.hardware.transfer_seconds is None:
            raise RoutestatError(
                "the stall budget is in seconds: expected --bandwidth, and --expert-bytes or --model-config, with it"
            )


def require_known(what: str, names: Collection[str], allowed: Collection[str]) -> None:
    """Refuse a name that is not among those that are allowed."""
    for name in names:
        if name not in allowed:
            raise RoutestatError(f"{what}: expected one of {', '.join(allowed)}, got {name!r}")


def capacities_of(plan: SimulationPlan, steps: Steps, scope: str = "layer") -> tuple[float, ...]:
    """Return the capacities of a plan, ascending and each once; by default about five that the model allows.

    Parameters
    ----------
    plan : SimulationPlan
    steps : Steps
    scope : str
        A pool has no more slots than all layers together have experts.
    """
    if plan.capacities:
        return tuple(sorted(set(plan.capacities)))
    experts = [router.n_experts for router in steps.routers]
    least = max(router.top_k for router in steps.routers)
    most = max(experts) if scope == "layer" else sum(experts) / len(experts)
    spread = np.geomspace(min(least, most), most, CAPACITIES).round()
    return tuple(float(one) for one in np.unique(np.minimum(spread, most)))


def candidates_of(plan: SimulationPlan, steps: Steps) -> tuple[int, ...]:
    """Return how many experts per token are prefetched: by default those of one token and of two."""
    if plan.candidates:
        return tuple(sorted(set(plan.candidates)))
    least = max(router.top_k for router in steps.routers)
    most = max(router.n_experts for router in steps.routers)
    return tuple(sorted({min(least, most), min(2 * least, most)}))


def cache_settings(
    plan: SimulationPlan, steps: Steps, eviction: str, prefetched: Collection[tuple[str, int]]
) -> tuple[CacheSetting, ...]:
    """List what is replayed: each policy by itself, and prefetching with one of them.

    Parameters
    ----------
    plan : SimulationPlan
    steps : Steps
    eviction : str
        The predictor of the policy ``predictor``; empty if there is none.
    prefetched : collection of (predictor, lookahead)
        Whose predictions are prefetched.

    Raises
    ------
    RoutestatError
        If one of them cannot be simulated on these steps.
    """
    found = []
    base = prefetching_policy(plan.policies)
    # A perfect prediction has no more candidates than its choices.
    most_chosen = max(router.top_k for router in steps.routers)
    if "none" in plan.policies:
        found.append(CacheSetting("none"))
    for scope in dict.fromkeys(plan.scopes):
        for start in dict.fromkeys(plan.starts):
            for capacity in capacities_of(plan, steps, scope):
                alone = CacheSetting(base, scope, capacity, start)
                found += [
                    replace(
                        alone,
                        policy=name,
                        predictor=eviction if name == "predictor" else "",
                        half_life=plan.half_life if name == "lfu-decay" else HALF_LIFE,
                    )
                    for name in dict.fromkeys(plan.policies)
                    if name != "none"
                ]
                found += [
                    replace(
                        alone,
                        predictor=name,
                        lookahead=ahead,
                        candidates=number,
                        half_life=plan.half_life if base == "lfu-decay" else HALF_LIFE,
                    )
                    for name, ahead in prefetched
                    for number in ((most_chosen,) if name == PERFECT else candidates_of(plan, steps))
                ]
    for setting in found:
        require_setting(setting, steps)
    return tuple(found)


def prefetching_policy(policies: Sequence[str]) -> str:
    """Return the policy that prefetching is simulated with: LRU, or the first that needs nothing else."""
    if "lru" in policies:
        return "lru"
    return next(
        (p.name for p in POLICIES if p.name in policies and p.causal and not p.needs and p.code), "lru"
    )
