"""What a predictor is: its name and words, and how it predicts in either view.

A predictor takes one of four forms. In both views it may need no table at all (`ClosedForm`). In the state view it
reads count tables (`TablePredictor`). In the expert view it is linear in the experts of its sources: its weights come
from count tables (`LinearForm`), or from the second moments of the experts of its sources (`TemperedModel`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.predictor_scores import LinearPredictor
from routestat.forecast.fold_tables import FoldTables
from routestat.forecast.scores import score_table
from routestat.inference.base.tables import Floats
from routestat.traces.metadata import Router

#: Held-out sums ``[group, SUMS]`` of one target from its tables ``[group, context…, target]`` and the prior `alpha`.
TableScore = Callable[[Sequence[NDArray[np.integer]], Router, str | float], Floats]


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """A predictor without data: `score(tokens[group], target)` gives its expected sums ``[group, SUMS]``."""

    score: Callable[[NDArray[np.number], Router], Floats]


@dataclass(frozen=True, slots=True)
class TablePredictor:
    """A predictor of the state view.

    Attributes
    ----------
    contexts : tuple of Context
        The tables that it reads. A target without one of their sources is not predicted.
    score : callable(tables, target, alpha)
    """

    contexts: tuple[Context, ...]
    score: TableScore


def given(context: Context) -> TablePredictor:
    """Return the predictor P(target | context) with Dirichlet rows."""

    def score(tables: Sequence[NDArray[np.integer]], target: Router, alpha: str | float) -> Floats:
        (table,) = tables
        rows = table.reshape(len(table), -1, table.shape[-1])
        return score_table(rows, target.alphabet.membership, target.top_k, alpha)

    return TablePredictor((context,), score)


@dataclass(frozen=True, slots=True)
class LinearForm:
    """A predictor of the expert view, from tables of experts per fold of documents.

    Attributes
    ----------
    contexts : tuple of Context
        The tables that it reads. A target without one of their sources is not predicted.
    fit : callable(tables)
    """

    contexts: tuple[Context, ...]
    fit: Callable[[FoldTables], LinearPredictor]


@dataclass(frozen=True, slots=True)
class TemperedModel:
    """A predictor of the expert view whose log weights are tempered parts; see `routestat.forecast.tempered`.

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
    baseline : bool
        Whether any useful predictor has to be better.
    states : ClosedForm or TablePredictor, optional
        In the state view.
    experts : ClosedForm, LinearForm or TemperedModel, optional
        In the expert view.
    memory : bool
        Whether the expert view's log losses by context are those of this predictor.
    """

    name: str
    words: str
    family: str
    baseline: bool = False
    states: ClosedForm | TablePredictor | None = None
    experts: ClosedForm | LinearForm | TemperedModel | None = None
    memory: bool = False

    @property
    def context(self) -> Context | None:
        """The context of its expert view; None where it has no single one."""
        if isinstance(self.experts, TemperedModel):
            return self.experts.context
        if isinstance(self.experts, LinearForm) and len(self.experts.contexts) == 1:
            return self.experts.contexts[0]
        return None


def nearest_layer(contexts: Sequence[Context], counts: Counts, target: Router) -> Router | None:
    """Return the nearest earlier layer of the same token that the contexts hold, if any."""
    back = [-layer for context in contexts for layer, token in context.sources if layer and not token]
    return counts.source(target, min(back)) if back else None
