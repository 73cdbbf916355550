"""Predictions that a simulation prefetches by, or keeps experts by: of documents that no model has seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from routestat.counting.board_rows import BoardRows, board_rows
from routestat.counting.counts import MAX_STATES
from routestat.counting.document_sample import Sample
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.kept_predictions import (
    KeptPredictions,
    best_kept,
    eviction_predictors,
    keep_predictions,
    prefetch_predictors,
)
from routestat.forecast.specification import BoardPlan
from routestat.progress import Tick
from routestat.serving.steps import Steps
from routestat.study.simulation_plan import BEST, PERFECT, SimulationPlan, candidates_of

#: It is known at every distance, as it uses no layer of the token.
TOKEN_ID = "token-id"
#: Predictors of the next token that the policy ``predictor`` chooses between.
EVICTION = ("previous-token", "previous-two-tokens")
# Experts of the next token whose probabilities are kept, in choices of a token: the others count as improbable.
_PLACES = 6


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a simulation knows of the future.

    Attributes
    ----------
    prefetch : mapping of (predictor, lookahead) to KeptPredictions
    eviction : KeptPredictions, optional
    reason : str
        Why there are no predictions, or empty.
    """

    prefetch: Mapping[tuple[str, int], KeptPredictions] = field(default_factory=dict)
    eviction: KeptPredictions | None = None
    reason: str = ""


def make_predictions(sample: Sample, steps: Steps, plan: SimulationPlan, tick: Tick) -> Predictions:
    """Predict every token by models of other documents, as far as the plan needs it.

    Parameters
    ----------
    sample : Sample
        With the companions of the recorded gate.
    steps : Steps
    plan : SimulationPlan
    tick : callable(what, done, total)

    Returns
    -------
    Predictions
        Prefetching also with the choices themselves, which no predictor can surpass.

    Raises
    ------
    RoutestatError
        If a predictor that was named cannot be fitted to this trace.
    """
    rows = board_rows(sample, steps.routers)
    ahead = [n for n in sorted(set(plan.lookaheads)) if n > 0] if len(steps.routers) > 1 else []
    evicting = "predictor" in plan.policies
    named = [name for name in plan.predictors if name != BEST]
    if rows.n_folds < 2:
        why = "all tokens are of one group of documents: no predictor can be fitted to others"
        if named and ahead:
            raise RoutestatError(f"--predictor {named[0]}: {why}")
        return Predictions(_perfect(steps, ahead) if plan.predictors else {}, None, why)
    widest = max(router.alphabet.size for router in steps.routers)
    view = "subset" if widest <= MAX_STATES else "expert"
    # As in a report: the penalty of ridges is not searched for.
    board = BoardPlan(brief=True, timed=False, seed=plan.seed, threads=plan.threads)
    prefetch: dict[tuple[str, int], KeptPredictions] = {}
    if plan.predictors and ahead:
        prefetch = _for_prefetching(rows, steps, plan, ahead, view, board, tick) | _perfect(steps, ahead)
    eviction = None
    if evicting:
        names = [name for name in EVICTION if name in eviction_predictors()]
        places = _PLACES * max(router.top_k for router in steps.routers)
        kept = keep_predictions(rows, names, (1,), places, view, board, tick)
        eviction = best_kept(kept) if kept else None
    return Predictions(prefetch, eviction, "" if eviction or not evicting else "no predictor could be fitted")


def _for_prefetching(
    rows: BoardRows,
    steps: Steps,
    plan: SimulationPlan,
    ahead: list[int],
    view: str,
    board: BoardPlan,
    tick: Tick,
) -> dict[tuple[str, int], KeptPredictions]:
    named = [name for name in dict.fromkeys(plan.predictors) if name != BEST]
    possible = prefetch_predictors(rows, view)
    compared = [name for name in possible if catalogue.specification(name).brief]
    compared += [TOKEN_ID] if rows.has_token_ids else []
    gates = [name for name in compared if "gate" in catalogue.specification(name).inputs]
    names = [*named, *([name for name in compared if name not in named] if BEST in plan.predictors else [])]
    if names and max(ahead) >= len(steps.routers):
        raise RoutestatError(
            f"lookahead: expected at most {len(steps.routers) - 1} layers, as the trace has {len(steps.routers)}, "
            f"got {max(ahead)}"
        )
    kept = keep_predictions(rows, names, ahead, max(candidates_of(plan, steps)), view, board, tick)
    found = {}
    for n in ahead:
        for name in named:
            # What uses no earlier layer of the token is known at every distance.
            made = kept.get((name, n)) or kept.get((name, 0))
            if made is None:
                raise RoutestatError(_why_not(name, n, possible))
            found[name, n] = made
        if BEST in plan.predictors:
            # A gate needs the hidden state, which other predictors do without: it is shown beside the best of them.
            keys = [(name, layers) for name in compared if name not in gates for layers in (n, 0)]
            if any(key in kept for key in keys):
                best = best_kept(kept, keys)
                found[best.predictor, n] = best
            found |= {(name, n): kept[name, n] for name in gates if (name, n) in kept}
    return found


def _why_not(name: str, ahead: int, possible: tuple[str, ...]) -> str:
    spec = catalogue.specification(name)
    said = f"--predictor {name}: expected a predictor that this trace allows {ahead} layers ahead"
    if "gate" in spec.inputs:
        return f"{said}, but it records no choices of gates so far ahead; capture with --lookahead {ahead}"
    if "token id" in spec.inputs and name not in possible:
        return f"{said}, but it may lack token ids; choose from {', '.join(possible)}"
    return f"{said}; choose from {', '.join(possible)}"


def _perfect(steps: Steps, ahead: list[int]) -> dict[tuple[str, int], KeptPredictions]:
    """Return the choices themselves as predictions."""
    experts = np.full((int(steps.row.max()) + 1, *steps.choices.shape[1:]), -1, np.int16)
    experts[steps.row] = steps.choices
    tokens = (experts[:, :, 0] >= 0).sum(axis=0)
    top_k = np.array([router.top_k for router in steps.routers])
    score = (experts >= 0).astype(np.float16)
    return {
        (PERFECT, n): KeptPredictions(PERFECT, n, experts, score, 1.0, tokens, tokens * top_k, top_k)
        for n in ahead
    }
