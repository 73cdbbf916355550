"""What a predictor is: its name, its words, what it looks at, and the form in which either view fits it.

A form says what is fitted; the engine of its type (see `routestat.forecast.board.engines`) fits it fold by fold and
scores it on the documents of the fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast.fold_tables import FoldTables
from routestat.forecast.prediction_keeper import PredictionKeeper
from routestat.inference.base.tables import Floats
from routestat.traces.metadata import Router

#: What predictors may look at; those that look at nothing but the `TRIVIAL` ones are the baselines.
INPUTS = {
    "load": "how often the layer's experts are chosen",
    "previous": "the previous token's choice in the same layer",
    "token id": "the token's own id",
    "layers": "earlier layers of the same token",
    "previous layers": "the previous token's choices in other layers",
    "gate": "the recorded choice of the layer's own gate, applied to an earlier hidden state",
}
TRIVIAL = frozenset({"load", "previous", "token id"})


@dataclass(frozen=True, slots=True)
class BoardPlan:
    """How a board is made.

    Attributes
    ----------
    alpha : float or str
        Dirichlet prior of tables, as for `routestat.inference.smoothing.prior.resolve_alpha`.
    horizons : tuple of int
        Layers ahead; predictors that can look further ahead than one layer are fitted for each of them.
    further : tuple of str
        Names of the predictors that are fitted for more than one layer ahead; all that can be if empty.
    brief : bool
        Whether only the predictors of a report are fitted (`PredictorSpec.brief`), ridges with the plain penalty.
    calibrate : bool
        Whether to collect reliability curves and Brier scores.
    network : bool
        Whether to train the small network.
    similar : bool
        Whether to predict from similar tokens, and from earlier tokens with the same id.
    timed : bool
        Whether scores say how many seconds fits took; these differ from run to run.
    seed : int
    threads : int, optional
    kept : PredictionKeeper, optional
        Engines add the predictions that they score to it.
    """

    alpha: str | float = "empirical-bayes"
    horizons: tuple[int, ...] = (1,)
    further: tuple[str, ...] = ()
    brief: bool = False
    calibrate: bool = True
    network: bool = False
    similar: bool = False
    timed: bool = True
    seed: int = 0
    threads: int | None = None
    kept: PredictionKeeper | None = None

    def horizons_of(self, spec: "PredictorSpec") -> tuple[int, ...]:
        """Return the layers ahead that a predictor which uses earlier layers is fitted for."""
        if not spec.ahead:
            return (1,)
        if self.further and spec.name not in self.further:
            return tuple(horizon for horizon in self.horizons if horizon == 1)
        return self.horizons

    def keep(
        self,
        specs: "Sequence[PredictorSpec]",
        horizon: int,
        target: Router,
        rows: NDArray[np.integer],
        scores: NDArray[np.floating],
        link: str,
        *,
        order: NDArray[np.floating] | None = None,
        place: NDArray[np.integer] | None = None,
    ) -> None:
        """Add predictions of some predictors to what is kept, if anything is; see `PredictionKeeper.add`."""
        if self.kept is not None:
            for spec in specs:
                self.kept.add(spec.name, horizon, target, rows, scores, link, order=order, place=place)


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """A predictor without data: `score(tokens[cell], target)` gives its expected sums."""

    score: Callable[[NDArray[np.number], Router], Floats]


@dataclass(frozen=True, slots=True)
class ContextForm:
    """Back-off through nested contexts of states; the memory page shows the log loss of the same fit.

    Attributes
    ----------
    columns : tuple of str
        The variables, in the order in which back-off adds them: ``layer-1``, ``token-1``, ``token id`` …
    """

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinearForm:
    """A predictor that is linear in the experts of its sources, from tables of experts per fold of documents.

    Attributes
    ----------
    contexts : tuple of Context
        The tables that it reads. A target without one of their sources is not predicted.
    fit : callable(tables)
    further : callable(tables, ahead), optional
        The same from the table of the layer `ahead` layers before alone.
    """

    contexts: tuple[Context, ...]
    fit: Callable[[FoldTables], LinearPredictor]
    further: Callable[[FoldTables, int], LinearPredictor] | None = None


@dataclass(frozen=True, slots=True)
class TemperedModel:
    """A predictor whose log weights are tempered parts; see `routestat.forecast.tempered`.

    Attributes
    ----------
    context : Context
        Its sources.
    kind : str
        One of `routestat.forecast.tempered.KINDS`.
    fallback : str
        The predictor that answers for tokens that lack a source; popularity where that one is not fitted either.
    """

    context: Context
    kind: str
    fallback: str = "popularity"

    @property
    def n_layers(self) -> int:
        """How many layers back it looks if it looks at nothing else; otherwise 0."""
        n = len(self.context.sources)
        return n if self.context.sources == tuple((-back, 0) for back in range(n, 0, -1)) else 0

    def sources(self, routers: Sequence[Router], place: int) -> tuple[tuple[Router, int], ...]:
        """Return the pairs (router, lag in tokens), the nearest first, earlier tokens before earlier layers.

        Layers before the first are left out. Where that leaves no layer of a context with layers, there are none.
        """
        order = sorted(self.context.sources, key=lambda source: (source[1] == 0, -source[1], -source[0]))
        known = [(routers[place + layer], -token) for layer, token in order if place + layer >= 0]
        layers = [source for source in order if source[0]]
        return tuple(known) if not layers or any(place + layer >= 0 for layer, _ in layers) else ()


@dataclass(frozen=True, slots=True)
class RidgeForm:
    """Ridge regression on the experts of a history; see `routestat.forecast.history_ridge`.

    Attributes
    ----------
    layers : int
        How many of the nearest earlier layers of the token; 0 for none, −1 for all.
    previous : bool
        Whether all layers of the previous token too.
    tokens : bool
        Whether the ids of the token and of the previous one too.
    """

    layers: int
    previous: bool = False
    tokens: bool = False


@dataclass(frozen=True, slots=True)
class TokenForm:
    """The distribution of the layer's experts given the token id, backed off to the layer's load (expert view)."""


@dataclass(frozen=True, slots=True)
class TokenCacheForm:
    """Ids of the latest tokens, with what followed them in the document; see `routestat.forecast.token_cache`."""


@dataclass(frozen=True, slots=True)
class SimilarTokensForm:
    """An average over tokens that were routed alike so far; see `routestat.forecast.similar_tokens`."""


@dataclass(frozen=True, slots=True)
class GateForm:
    """The recorded choice of the target's gate, applied n layers early (columns such as ``L00.ahead1``)."""


@dataclass(frozen=True, slots=True)
class NetworkForm:
    """The small network, trained on request; see `routestat.forecast.network`."""


#: Any of the forms.
Form = (
    ClosedForm
    | ContextForm
    | LinearForm
    | TemperedModel
    | RidgeForm
    | TokenForm
    | TokenCacheForm
    | SimilarTokensForm
    | GateForm
    | NetworkForm
)


@dataclass(frozen=True, slots=True)
class PredictorSpec:
    """One registered predictor.

    Attributes
    ----------
    name : str
        As results.json, the tables and the page name it.
    words : str
        What it predicts from, for readers.
    family : str
        Predictors that are fitted alike and look at different things; the terminal shows the best of each.
    inputs : tuple of str
        Keys of `INPUTS`.
    states, experts : form, optional
        In the state view, in the expert view.
    memory : bool
        Whether the expert view's log losses by context are those of this predictor.
    ahead : bool
        Whether it is also fitted for targets more than one layer ahead.
    brief : bool
        Whether a report on everything has it too: it is new beside the others there, and costs seconds.
    """

    name: str
    words: str
    family: str
    inputs: tuple[str, ...]
    states: Form | None = None
    experts: Form | None = None
    memory: bool = False
    ahead: bool = False
    brief: bool = True

    @property
    def baseline(self) -> bool:
        """Whether it looks at no routing of other layers: any useful predictor has to be better."""
        return set(self.inputs) <= TRIVIAL

    @property
    def context(self) -> Context | None:
        """The context of its expert view; None where it has no single one."""
        if isinstance(self.experts, TemperedModel):
            return self.experts.context
        if isinstance(self.experts, LinearForm) and len(self.experts.contexts) == 1:
            return self.experts.contexts[0]
        return None

    def form(self, view: str) -> Any:
        """Return the form in a view, "subset" or "expert"; None if it has none there."""
        return self.states if view == "subset" else self.experts
