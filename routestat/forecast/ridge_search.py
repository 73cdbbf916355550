"""The penalties and links of ridges, chosen on documents that neither they nor their scores are from.

For fold f, ridges are fitted without f and without its partner, and judged on the partner. Two folds that are each
other's partners share these fits.

Penalties are judged by the experts that the predictions find, not by squared errors. On other documents predictions
are too sure of themselves, and squared errors reward a large penalty for making all of them smaller; what is found
depends on their order alone, and the link does the rest. With all layers of DeepSeek-V2-Lite the penalty of least
squared error is 600, where 0.4 % fewer experts are found and 1.2 % fewer exact sets than at 60.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.one_hot import add_weights
from routestat.forecast.history import Block, History
from routestat.forecast.history_gram import Gram, PairsWithout
from routestat.forecast.ridge import least_error
from routestat.forecast.ridge_link import Link, fit_links, plain_link
from routestat.forecast.ridge_plan import Designed
from routestat.inference.base.tables import Floats
from routestat.progress import in_threads
from routestat.traces.metadata import Router

#: Candidate penalties, in tokens, and the place where the search begins; the penalty where none can be chosen.
PENALTIES = tuple(60.0 * 10.0 ** (step / 2) for step in range(-2, 5))
START = PENALTIES.index(60.0)
#: A target has another penalty than the other targets of a predictor if it then misses fewer by this share.
WORTH = 0.05
#: Rows for each fold that links are fitted to, roughly.
_LINK_ROWS = 400


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen for the models of a design.

    Attributes
    ----------
    penalties : float array ``[fold, model]``
    links : tuple of tuple of Link
        ``links[fold][model]``.
    """

    penalties: Floats
    links: tuple[tuple[Link, ...], ...]


def partners(n_folds: int) -> list[int]:
    """Return the partner of each fold: folds are paired; of an odd number the last has the first."""
    return [other if (other := fold ^ 1) < n_folds else 0 for fold in range(n_folds)]


def choose(
    designed: Designed,
    gram: Gram,
    trial: History,
    routers: Sequence[Router],
    folds: Sequence[int],
    threads: int | None = None,
    search: bool = True,
) -> Chosen:
    """Choose penalties and links for some folds; those of the others are the plain ones.

    A model that looks further ahead has those of the same predictor and target with the least horizon.

    Parameters
    ----------
    designed : Designed
    gram : Gram
    trial : History
        The rows that fits are judged on.
    routers : sequence of Router
        Of the window.
    folds : sequence of int
    threads : int, optional
    search : bool
        Whether to choose penalties; all have the plain one otherwise.
    """
    models, regressions = designed.models, designed.design.regressions
    n_folds = len(gram.pairs)
    nearest = _nearest(designed)
    judged = sorted(set(nearest))
    of = partners(n_folds)
    pairs: dict[frozenset[int], list[int]] = {}
    for fold in folds if n_folds > 2 else ():
        pairs.setdefault(frozenset((fold, of[fold])), []).append(fold)
    penalties = np.full((n_folds, len(models)), PENALTIES[START])
    predictions: dict[tuple[int, int], Floats] = {}
    jobs = [
        partial(_judged, designed, gram, trial, judged, sorted(out), own_folds, search)
        for out, own_folds in pairs.items()
    ]
    for places, predicted in in_threads(jobs, threads):
        for (fold, at), place in places.items():
            penalties[fold, at] = PENALTIES[place]
        predictions |= predicted
    penalties = penalties[:, nearest]
    links = _links(
        designed, trial, of, judged, predictions, [routers[r.target] for r in regressions], threads
    )
    return Chosen(penalties, tuple(tuple(links[f][at] for at in nearest) for f in range(n_folds)))


def _judged(
    designed: Designed,
    gram: Gram,
    trial: History,
    judged: Sequence[int],
    out: Sequence[int],
    folds: Sequence[int],
    search: bool,
) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], Floats]]:
    """Choose the penalties of some folds with fits without `out`; return their places, and the predictions.

    Both by (fold, model); predictions are of the trial rows of the fold's partner.
    """
    places: dict[tuple[int, int], int] = {}
    predictions: dict[tuple[int, int], Floats] = {}
    of, remaining = partners(len(gram.pairs)), gram.without(out)
    if remaining.tokens < 1:
        return places, predictions
    judge = _Judge(designed, remaining, trial, judged)
    for fold in folds:
        for name in dict.fromkeys(designed.models[at].name for at in judged):
            own = [at for at in judged if designed.models[at].name == name]
            chosen = judge.best(of[fold], own) if search else [START] * len(own)
            for at, place in zip(own, chosen, strict=True):
                places[fold, at] = place
                predictions[fold, at] = judge.predicted(of[fold], at, place)
    return places, predictions


def _nearest(designed: Designed) -> list[int]:
    """Return for each model the one of the same predictor and target with the least horizon."""
    least: dict[tuple[str, int], int] = {}
    for at, model in enumerate(designed.models):
        key = model.name, model.target
        if key not in least or model.horizon < designed.models[least[key]].horizon:
            least[key] = at
    return [least[model.name, model.target] for model in designed.models]


class _Judge:
    """Fits without two folds, one penalty at a time, as they are needed, and their errors on either fold."""

    def __init__(
        self, designed: Designed, pairs: PairsWithout, trial: History, judged: Sequence[int]
    ) -> None:
        self._designed, self._pairs, self._judged = designed, pairs, judged
        self._tests = {fold: trial.take(np.arange(*trial.bounds[fold : fold + 2])) for fold in pairs.out}
        self._found: dict[int, dict[tuple[int, int], tuple[Floats, float]]] = {}

    def error(self, fold: int, at: int, place: int) -> float:
        """Return the share of a fold's experts that a model misses."""
        return self._at(place)[fold, at][1]

    def predicted(self, fold: int, at: int, place: int) -> Floats:
        """Return the predictions ``[row, expert]`` of all trial rows of a fold."""
        return self._at(place)[fold, at][0]

    def best(self, fold: int, own: Sequence[int]) -> list[int]:
        """Return the place of the penalty of each of a predictor's models."""
        tried: set[int] = set()

        def pooled(place: int) -> float:
            tried.add(place)
            return sum(self.error(fold, at, place) for at in own)

        common = least_error(pooled, len(PENALTIES), START)
        # Nothing that was tried for another fold: it would depend on what this one chose.
        return [self._own(fold, at, common, sorted(tried)) for at in own]

    def _own(self, fold: int, at: int, common: int, tried: Sequence[int]) -> int:
        place = min(tried, key=lambda other: self.error(fold, at, other))
        return place if self.error(fold, at, place) < (1.0 - WORTH) * self.error(fold, at, common) else common

    def _at(self, place: int) -> dict[tuple[int, int], tuple[Floats, float]]:
        if place not in self._found:
            self._found[place] = found = {}
            fits = self._designed.design.fit(self._pairs, PENALTIES[place], self._judged)
            for at, weights in fits:
                regression = self._designed.design.regressions[at]
                block = self._designed.design.layers[regression.target]
                for fold, test in self._tests.items():
                    predicted = predict(test, regression.blocks, weights.astype(np.float32))
                    found[fold, at] = predicted, _missed(predicted, test.block(block))
        return self._found[place]


def predict(history: History, blocks: Sequence[str], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions ``[row, expert]`` of all rows of a history from some of its blocks."""
    out = np.zeros((len(history.rows), weights.shape[1]), np.float32)
    add_blocks(history, blocks, 0, weights, out)
    return out


def add_blocks(
    history: History,
    blocks: Sequence[str],
    start: int,
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Add the weights of the features in some blocks to as many rows as `out` has, from `start` on."""
    weights, at = np.ascontiguousarray(weights), 0
    for name in blocks:
        block = history.block(name)
        add_weights(block.members, start, start + len(out), weights, at, out)
        at += block.size


def _missed(predicted: NDArray[np.floating], target: Block) -> float:
    """Return the share of the chosen experts that are not among the k largest predictions; 0 without a target."""
    known = target.members[:, 0] >= 0
    if not known.any():
        return 0.0
    chosen, members = predicted[known], target.members[known]
    top_k = members.shape[1]
    if top_k == chosen.shape[1]:
        return 0.0
    least = np.partition(chosen, -top_k, axis=1)[:, -top_k, None]
    return float((np.take_along_axis(chosen, members.astype(np.int64), 1) < least).mean())


def _links(
    designed: Designed,
    trial: History,
    partner: Sequence[int],
    judged: Sequence[int],
    predictions: dict[tuple[int, int], Floats],
    targets: Sequence[Router],
    threads: int | None,
) -> list[dict[int, Link]]:
    """Fit one link for each fold to some rows of all targets of a predictor that have the same experts."""
    n_folds = trial.n_folds
    links: list[dict[int, Link]] = [
        {at: plain_link(targets[at].n_experts, targets[at].top_k) for at in judged} for _ in range(n_folds)
    ]
    families: dict[tuple[str, int, int], list[int]] = {}
    for at in judged if predictions else ():
        key = designed.models[at].name, targets[at].n_experts, targets[at].top_k
        families.setdefault(key, []).append(at)
    jobs = [partial(_family_links, designed, trial, partner, own, predictions) for own in families.values()]
    for own, fitted in zip(families.values(), in_threads(jobs, threads), strict=True):
        for fold, at in ((fold, at) for fold in range(n_folds) for at in own):
            links[fold][at] = fitted[fold]
    return links


def _family_links(
    designed: Designed,
    trial: History,
    partner: Sequence[int],
    own: Sequence[int],
    predictions: dict[tuple[int, int], Floats],
) -> list[Link]:
    predicted, target, folds = [], [], []
    for fold, other in enumerate(partner):
        start, stop = trial.bounds[other : other + 2].tolist()
        # Each target has every so many rows, so that all of them and all documents take part.
        step = max(1, (stop - start) * len(own) // _LINK_ROWS)
        for nth, at in enumerate(own):
            if (fold, at) not in predictions:
                continue
            block = trial.block(designed.design.layers[designed.design.regressions[at].target])
            rows = np.arange(nth % step, stop - start, step)
            rows = rows[block.members[start + rows, 0] >= 0]
            predicted.append(predictions[fold, at][rows])
            target.append(block.members[start + rows])
            folds.append(np.full(len(rows), fold))
    return fit_links(
        np.concatenate(predicted).astype(np.float64),
        np.concatenate(target),
        np.concatenate(folds),
        trial.n_folds,
    )
