"""Held-out predictions of every token, kept: what a prefetcher would fetch, and a cache would keep.

Every document is predicted by models that were fitted without it, exactly as on the board.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.board import make_board
from routestat.forecast.gate import lookahead_columns
from routestat.forecast.prediction_keeper import FirstExperts, Key, PredictionKeeper
from routestat.forecast.specification import BoardPlan, NetworkForm, PredictorSpec, TemperedModel
from routestat.progress import Tick, silent

#: What a predictor looks at of the same token, of earlier layers.
_EARLIER = frozenset({"layers", "gate"})
#: What is known of the next token once a layer is done with this one.
_BEFORE_THE_TOKEN = frozenset({"load", "previous"})


def _not_counted() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class KeptPredictions:
    """The most probable experts of every token at every layer, by one predictor at one horizon.

    Attributes
    ----------
    predictor : str
        Name in `routestat.forecast.catalogue`.
    horizon : int
        Layers ahead; 0 where the predictor uses no earlier layer of the token.
    experts : int16 array ``[row, layer, place]``
        In the predicted order, the first the most probable; −1 where there is no prediction (a layer without a source,
        a token whose choice is unknown or that is not scored, places beyond the number of experts).
    score : float16 array ``[row, layer, place]``
        The probability that the expert is among the chosen ones, where the predictor has probabilities; otherwise
        1, 1/2, 1/3 … 0 where there is no expert.
    recall : float
        Share of the chosen experts among the first k, of the tokens that were predicted; NaN without any.
    tokens : int array ``[layer]``
        That were predicted. This and what follows is empty where it was not counted.
    hits : int array ``[layer]``
        Chosen experts among the first k.
    top_k : int array ``[layer]``
    """

    predictor: str
    horizon: int
    experts: NDArray[np.int16]
    score: NDArray[np.float16]
    recall: float
    tokens: NDArray[np.int64] = field(default_factory=_not_counted)
    hits: NDArray[np.int64] = field(default_factory=_not_counted)
    top_k: NDArray[np.int64] = field(default_factory=_not_counted)

    def recall_of(self, layers: NDArray[np.bool_]) -> float:
        """Return the recall at some layers ``[layer]``; NaN without a prediction there."""
        sought = int((self.tokens * self.top_k)[layers].sum())
        return int(self.hits[layers].sum()) / sought if sought else float("nan")


def keep_predictions(
    rows: BoardRows,
    names: Sequence[str],
    horizons: Sequence[int],
    places: int,
    view: str,
    plan: BoardPlan | None = None,
    tick: Tick = silent,
) -> dict[Key, KeptPredictions]:
    """Fit predictors of the board, and keep the first experts that each predicts for every token.

    Each prediction takes 4 bytes for each of the `places`, but never fewer places than a router has choices: in all
    4 · rows · layers · places bytes for every predictor and horizon.

    Parameters
    ----------
    rows : BoardRows
        With the companions of the recorded gate for the predictor ``gate``.
    names : sequence of str
        Of predictors that are registered in `routestat.forecast.catalogue`, also those that a board has only on
        request.
    horizons : sequence of int
        Layers ahead, of predictors that use earlier layers of the token.
    places : int
        Experts of each prediction.
    view : {"subset", "expert"}
    plan : BoardPlan, optional
        Its horizons are ignored, and no reliability curves are made.
    tick : callable(what, done, total)

    Returns
    -------
    dict of (name, horizon) to KeptPredictions
        The horizon is 0 where the predictor uses no earlier layer of the token. What cannot be fitted is absent: a
        predictor without a form in the view, at a horizon that it is not made for, or for which the trace lacks
        something. In the order of names, then of horizons.

    Raises
    ------
    RoutestatError
        If a predictor is not registered, a horizon or the number of places is below one, or the network is wanted and
        torch is not installed.
    """
    if unknown := [name for name in names if name not in catalogue.explained()]:
        known = ", ".join(catalogue.explained())
        raise RoutestatError(f"predictor {unknown[0]!r} is not registered; choose from {known}")
    for what, least in (("layers ahead", min(horizons, default=1)), ("places", places)):
        if least < 1:
            raise RoutestatError(f"{what}: expected 1 or more, got {least}")
    wanted = [key for name in names for key in _keys(catalogue.specification(name), horizons)]
    if not wanted:
        return {}
    most = max(router.n_experts for router in rows.routers)
    width = min(max(places, *(router.top_k for router in rows.routers)), most)
    keeper = PredictionKeeper(wanted, rows.routers, len(rows), width)
    specs = _needed({name for name, _ in wanted}, view)
    plan = replace(
        plan or BoardPlan(),
        horizons=tuple(sorted(set(horizons) or {1})),
        further=(),
        calibrate=False,
        network=any(isinstance(spec.form(view), NetworkForm) for spec in specs),
        similar=True,
        kept=keeper,
    )
    make_board(rows, view, plan, specs=specs, tick=tick)
    return {key: _made(rows, key, keeper.found[key], places) for key in wanted if key in keeper.found}


def eviction_predictors() -> tuple[str, ...]:
    """Return the predictors that are usable as soon as a layer is done with a token, for its next one."""
    return tuple(s.name for s in catalogue.PREDICTORS if s.inputs and set(s.inputs) <= _BEFORE_THE_TOKEN)


def prefetch_predictors(rows: BoardRows, view: str) -> tuple[str, ...]:
    """Return the predictors that can look several layers ahead, without those for which the trace lacks something.

    Parameters
    ----------
    rows : BoardRows
    view : {"subset", "expert"}
    """
    lacking = set() if rows.has_token_ids else {"token id"}
    if not lookahead_columns(rows.sample.columns, rows.routers):
        lacking.add("gate")
    return tuple(
        spec.name
        for spec in catalogue.PREDICTORS
        if spec.ahead and spec.form(view) is not None and not lacking & set(spec.inputs)
    )


def best_kept(kept: Mapping[Key, KeptPredictions], keys: Sequence[Key] | None = None) -> KeptPredictions:
    """Return the predictions of the highest recall; of equals, the first.

    They are compared on the layers that all of them predict, or on all that each predicts where there is no such layer.

    Parameters
    ----------
    kept : mapping of Key to KeptPredictions
    keys : sequence of Key, optional
        Which of them; those that were not kept are passed over. All by default.

    Raises
    ------
    RoutestatError
        If there is none.
    """
    found = [kept[key] for key in (kept if keys is None else keys) if key in kept]
    if not found:
        raise RoutestatError(
            "expected kept predictions to choose from, got none; keep those of other predictors"
        )
    shared = np.all([one.tokens > 0 for one in found], axis=0)
    if not shared.any():
        shared = np.ones(len(shared), np.bool_)
    return max(found, key=lambda one: one.recall_of(shared))


def _keys(spec: PredictorSpec, horizons: Sequence[int]) -> list[Key]:
    """Return what a predictor is kept as, at those horizons that it is made for."""
    if not _EARLIER & set(spec.inputs):
        return [(spec.name, 0)]
    return [(spec.name, ahead) for ahead in sorted(set(horizons)) if spec.ahead or ahead == 1]


def _needed(names: set[str], view: str) -> list[PredictorSpec]:
    """Return the predictors with those that answer for them, in the order of the registry."""
    waiting, found = set(names), set[str]()
    while waiting:
        name = waiting.pop()
        found.add(name)
        form = catalogue.specification(name).form(view)
        if isinstance(form, TemperedModel) and form.fallback not in found:
            waiting.add(form.fallback)
    return [spec for spec in catalogue.PREDICTORS if spec.name in found]


def _made(rows: BoardRows, key: Key, first: FirstExperts, places: int) -> KeptPredictions:
    """Count the hits of kept predictions."""
    routers = rows.routers
    tokens, hits = np.zeros((2, len(routers)), np.int64)
    for layer, router in enumerate(routers):
        predicted = first.experts[:, layer, : router.top_k]
        made = predicted[:, 0] >= 0
        actual = rows.experts(router)
        tokens[layer] = np.count_nonzero(made)
        hits[layer] = sum(
            np.count_nonzero((predicted == actual[:, slot, None]).any(axis=1) & made)
            for slot in range(router.top_k)
        )
    top_k = np.array([router.top_k for router in routers])
    sought = int((tokens * top_k).sum())
    return KeptPredictions(
        *key,
        first.experts[:, :, :places],
        first.chance[:, :, :places],
        int(hits.sum()) / sought if sought else float("nan"),
        tokens,
        hits,
        top_k,
    )
