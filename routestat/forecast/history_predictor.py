"""Ridges on everything before, fitted when a prediction needs them: from the pairs of all documents together.

A history may lack layers, the previous token or token ids. The pairs of features hold the ridge on any of them, so that
the prediction is that of a ridge fitted to exactly what is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.one_hot import interpolate
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.history_gram import Gram, ridge_weights
from routestat.forecast.ridge_link import Link, plain_link
from routestat.forecast.ridge_plan import Designed, Window, plan_designs
from routestat.forecast.ridge_search import PENALTIES, START, Chosen
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.tables import Floats, read_only
from routestat.traces.metadata import Router

#: Pairs of features of all windows together up to which they are kept: half a gigabyte.
MOST_PAIRS = 1 << 27
#: Fitted ridges that are kept for further predictions.
KEPT = 512


@dataclass(frozen=True, slots=True)
class RidgeSetting:
    """What was chosen on held-out documents for a predictor of a layer; the mean over the folds, on a log scale.

    Attributes
    ----------
    penalty, power, softness : float
        See `routestat.forecast.ridge_link.Link` for the last two.
    """

    penalty: float
    power: float
    softness: float


@dataclass(frozen=True, eq=False)
class HistoryWindow:
    """The pairs of the features of some consecutive layers, and the settings of its target layers.

    Attributes
    ----------
    window : Window
    names : tuple of str
        Blocks of features; the first is the constant.
    sizes : tuple of int
    pairs : int array ``[feature, feature]``
        Tokens of all documents that have both.
    token_ids, token_features : int arrays ``[id]``
        Ids of tokens that the trace has, ascending, and the feature of each; empty where none is used.
    settings : mapping of (str, int) to RidgeSetting
        By the name of the predictor and the place of the target.
    """

    window: Window
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    pairs: NDArray[np.uint32]
    token_ids: NDArray[np.int64]
    token_features: NDArray[np.int64]
    settings: Mapping[tuple[str, int], RidgeSetting]

    @cached_property
    def gram(self) -> Gram:
        """The pairs in double precision."""
        return Gram(self.names, self.sizes, self.pairs.astype(np.float64)[None])

    @property
    def n_tokens(self) -> int:
        """Tokens that are fitted."""
        return int(self.pairs[0, 0])

    def token_feature(self, token: int) -> int | None:
        """Return the feature of a token id; None for one that the trace does not have."""
        at = int(np.searchsorted(self.token_ids, token))
        found = at < len(self.token_ids) and self.token_ids[at] == token
        return int(self.token_features[at]) if found else None


@dataclass(frozen=True, eq=False)
class HistoryPrediction:
    """What a ridge predicts.

    Attributes
    ----------
    log_weights : float array ``[expert]``
        Of the conditional Bernoulli distribution of the k chosen experts.
    used, missing : tuple of str
        Blocks that the prediction is from, and those of the predictor that were not known.
    n_tokens : int
        That the ridge is fitted to.
    """

    log_weights: Floats
    used: tuple[str, ...]
    missing: tuple[str, ...]
    n_tokens: int


class HistoryPredictors:
    """All ridges of a trace.

    Parameters
    ----------
    routers : sequence of Router
    states : {"subset", "expert"}
        The view of the board that the settings were chosen for.
    windows : sequence of HistoryWindow
        In order of depth; every router is a target of one.
    """

    def __init__(self, routers: Sequence[Router], states: str, windows: Sequence[HistoryWindow]) -> None:
        self.routers, self.states, self.windows = tuple(routers), states, tuple(windows)
        found = {name for window in windows for name, _ in window.settings}
        #: Names of the predictors, in the order of the board.
        self.names = tuple(spec.name for spec in catalogue.PREDICTORS if spec.name in found)
        self._fitted, self._blocks = lru_cache(KEPT)(self._fit), lru_cache(1 << 14)(self._plan)

    def window_of(self, target: int) -> int:
        """Return the place of the window whose targets hold a layer."""
        return next(
            at for at, one in enumerate(self.windows) if one.window.targets <= target < one.window.stop
        )

    def blocks(self, name: str, target: int, ahead: int) -> tuple[str, ...]:
        """Return the blocks of features that a predictor uses, without the constant.

        Parameters
        ----------
        name : str
        target : int
            Place of the layer that is predicted.
        ahead : int
            Layers from the last known one to the target; for predictors that use no earlier layer too.

        Raises
        ------
        RoutestatError
            If there is no such predictor, or no layer so far before the target.
        """
        return self._blocks(name, target, ahead)

    def predict(
        self, name: str, target: int, ahead: int, known: Mapping[str, Sequence[int]]
    ) -> HistoryPrediction:
        """Predict a layer.

        Parameters
        ----------
        name : str
        target : int
            Place of the layer.
        ahead : int
        known : mapping of str to sequence of int
            Features by the name of their block (see `routestat.forecast.history.Block`); an empty sequence is a block
            whose features are known to be absent.

        Raises
        ------
        RoutestatError
            As `blocks`; also for a feature that its block does not have.
        """
        wanted = self.blocks(name, target, ahead)
        used = tuple(block for block in wanted if block in known)
        at = self.window_of(target)
        window, router = self.windows[at], self.routers[target]
        weights, offsets = self._fitted(at, name, target, used)
        rows = [0]
        for block in used:
            offset, size = offsets[block]
            members = known[block]
            if members and (min(members) < 0 or max(members) >= size):
                raise RoutestatError(f"{block}: expected features 0 … {size - 1}, got {list(members)}")
            rows += [offset + member for member in members]
        scores = weights[rows].sum(axis=0)
        chosen = window.settings[name, target]
        link = Link(chosen.power, chosen.softness, router.top_k)
        out = np.empty((1, router.n_experts))
        interpolate(scores[None], 0, link.low, link.step, _knots(link), out)
        missing = tuple(block for block in wanted if block not in known)
        return HistoryPrediction(read_only(out[0]), used, missing, window.n_tokens)

    def weights(self, name: str, target: int, used: tuple[str, ...]) -> Floats:
        """Return the weights ``[1 + feature, expert]`` of a predictor fitted to some blocks; the constant first."""
        return self._fitted(self.window_of(target), name, target, used)[0]

    def _fit(
        self, at: int, name: str, target: int, used: tuple[str, ...]
    ) -> tuple[Floats, dict[str, tuple[int, int]]]:
        window, router = self.windows[at], self.routers[target]
        gram = window.gram
        weights = ridge_weights(gram, used, router.name, window.settings[name, target].penalty)
        span = gram.span(router.name)
        chosen = gram.pairs[0].diagonal()[span].sum() / router.top_k
        # Tokens without the target's choice are counted as choosing none of its experts.
        share = chosen / gram.pairs[0, 0, 0]
        if not share:
            raise RoutestatError(f"layer {router.layer} holds no data: no token's choice there is known")
        offsets, offset = {}, 1
        for block in used:
            size = gram.sizes[gram.names.index(block)]
            offsets[block] = offset, size
            offset += size
        return read_only(weights / share), offsets

    def _plan(self, name: str, target: int, ahead: int) -> tuple[str, ...]:
        if name not in self.names:
            raise RoutestatError(f"expected one of {', '.join(self.names)}, got {name!r}")
        window = self.windows[self.window_of(target)].window
        spec = catalogue.specification(name)
        form = spec.form(self.states)
        plan = BoardPlan(horizons=(ahead,))
        for designed in plan_designs([spec], self.states, plan, self.routers, window, True):
            for model, regression in zip(designed.models, designed.design.regressions, strict=True):
                if model.target == target and (model.horizon == ahead or not form.layers):
                    return regression.blocks[1:]
        raise RoutestatError(
            f"{name} does not predict layer {self.routers[target].layer} {ahead} layers ahead"
        )


def kept_window(
    window: Window,
    gram: Gram,
    designs: Sequence[tuple[Designed, Chosen]],
    folds: Sequence[int],
    tokens: tuple[NDArray[np.integer], NDArray[np.integer]],
    routers: Sequence[Router],
) -> HistoryWindow:
    """Return the pairs of all documents and the means of what was chosen for the folds.

    Parameters
    ----------
    window : Window
    gram : Gram
        Of all folds.
    designs : sequence of (Designed, Chosen)
    folds : sequence of int
        Those that penalties and links were chosen for; without any, settings are the plain ones.
    tokens : int arrays ``[row]``, ``[row]``
        Ids of tokens, and their features; −1 without one. Empty where none is used.
    routers : sequence of Router
        Of the window.
    """
    ids, first = np.unique(tokens[0], return_index=True)
    features = tokens[1][first]
    known = (ids >= 0) & (features >= 0)
    settings = {}
    for designed, chosen in designs:
        for at, model in enumerate(designed.models):
            if (model.name, model.target) in settings:
                continue
            target = routers[designed.design.regressions[at].target]
            settings[model.name, model.target] = _setting(chosen, at, folds, target)
    pairs = np.rint(gram.pairs.sum(axis=0, dtype=np.float64)).astype(np.uint32)
    return HistoryWindow(
        window,
        gram.names,
        gram.sizes,
        read_only(pairs),
        read_only(ids[known].astype(np.int64)),
        read_only(features[known].astype(np.int64)),
        settings,
    )


def _setting(chosen: Chosen, at: int, folds: Sequence[int], target: Router) -> RidgeSetting:
    """Return the mean over folds of what was chosen for a model, on a log scale."""
    if not folds:
        plain = plain_link(target.n_experts, target.top_k)
        return RidgeSetting(PENALTIES[START], plain.power, plain.softness)
    links = [chosen.links[fold][at] for fold in folds]
    return RidgeSetting(
        float(np.exp(np.median(np.log(chosen.penalties[list(folds), at])))),
        float(np.exp(np.mean([np.log(link.power) for link in links]))),
        float(np.exp(np.mean([np.log(link.softness) for link in links]))),
    )


@lru_cache(KEPT)
def _knots(link: Link) -> Floats:
    return link.knots()
