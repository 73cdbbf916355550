"""Predictions of a report's ridges: from the choices of a token, those of the previous token, and token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.cli.answers import expert_rows, fetch_rows
from routestat.cli.choices import NO_PREVIOUS, Choice, Given, Record, read_history
from routestat.cli.predictor_choice import ChosenPredictor
from routestat.cli.queries import QueryOptions
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.history import previous
from routestat.forecast.history_predictor import HistoryPredictors
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities, log_probability
from routestat.inference.conditional_bernoulli.sampling import best_subsets
from routestat.inference.markov.chain import Prediction
from routestat.traces.metadata import Router

_CLOSE = (
    "Probabilities are of the conditional Bernoulli distribution whose strength was fitted on held-out documents; a "
    "ridge has no intervals."
)
_TOKEN, _BEFORE, _FIRST = "token id", previous("token id"), "no previous token"


@dataclass(frozen=True)
class RidgeAnswerer:
    """Predictions of one ridge."""

    chosen: ChosenPredictor
    history: HistoryPredictors
    options: QueryOptions

    @property
    def is_state_view(self) -> bool:
        """Whether states are listed beside experts."""
        return self.history.states == "subset"

    def answer(self, layer: int, text: str, given: Given) -> tuple[Record, str]:
        """Return the prediction as a record, and a sentence on its probabilities.

        Parameters
        ----------
        layer : int
        text : str
            Choices up to that layer; ``-`` for an unknown one.
        given : Given

        Raises
        ------
        RoutestatError
            If there is no such layer, choice, target or token id.
        """
        routers, ahead, name = self.history.routers, self.options.ahead, self.chosen.name
        place = self._place(layer)
        target = place + ahead
        if target >= len(routers):
            raise RoutestatError(
                f"--ahead {ahead}: {len(routers) - 1 - place} layers follow layer {layer}, the last is layer "
                f"{routers[-1].layer}"
            )
        read = read_history(text, routers[: place + 1], self.is_state_view, gaps=True)
        known = {choice.router.name: choice.experts for choice in read if choice is not None}
        notes = self._add(known, given, self.history.window_of(target))
        found = self.history.predict(name, target, ahead, known)
        router, choices = routers[target], [choice for choice in read if choice is not None]
        inclusion = inclusion_probabilities(found.log_weights, router.top_k)
        experts = self._prediction(inclusion, router, found.n_tokens, len(choices))
        rows = expert_rows(experts, self.options.top)
        record: Record = {
            "layer": layer,
            "after": _last(read),
            "history": [choice.plain() for choice in choices],
            "next_layer": router.layer,
            "ahead": ahead,
            "predictor": name,
            "order": None,
            "n_tokens": found.n_tokens,
            "level": self.options.level,
            "design_effect": None,
            "used": list(found.used),
            "not_known": list(found.missing),
            "notes": [*([self.chosen.why] if self.chosen.why else []), *notes, *_incomplete(found.missing)],
            "predictions": self._states(found.log_weights, router) if self.is_state_view else rows,
        }
        if self.options.experts or not self.is_state_view:
            record |= {"experts": rows, "fetch": fetch_rows(inclusion, router.top_k)}
        return record, _CLOSE

    def _place(self, layer: int) -> int:
        layers = [router.layer for router in self.history.routers]
        if layers.count(layer) != 1:
            raise RoutestatError(
                f"layer {layer}: expected one of {', '.join(map(str, layers))}, each with one router"
            )
        return layers.index(layer)

    def _add(self, known: dict[str, tuple[int, ...]], given: Given, at: int) -> list[str]:
        """Add the previous token and token ids to what is known, and return notes on them."""
        window, routers = self.history.windows[at], self.history.routers
        notes = []
        if given.previous == NO_PREVIOUS:
            if given.previous_token is not None:
                raise RoutestatError(
                    "--previous none: a first token has no --previous-token; leave one of them out"
                )
            # None of the features of a previous token: that is known too.
            known |= {_FIRST: (0,), _BEFORE: ()} | {previous(router.name): () for router in routers}
        elif given.previous is not None:
            parts = given.previous.split("/")
            if len(parts) > len(routers):
                raise RoutestatError(f"--previous: {len(parts)} choices, but there are {len(routers)} layers")
            read = read_history(given.previous, routers[: len(parts)], self.is_state_view, gaps=True)
            known |= {previous(one.router.name): one.experts for one in read if one is not None}
            if any(one is not None for one in read):
                known[_FIRST] = ()
        for option, block, token in (
            ("--token", _TOKEN, given.token),
            ("--previous-token", _BEFORE, given.previous_token),
        ):
            if token is None:
                continue
            if token < 0:
                raise RoutestatError(f"{option}: expected a token id of 0 or more, got {token}")
            if _TOKEN not in window.names:
                raise RoutestatError(f"{option}: the trace of this report has no token ids; leave it out")
            feature = window.token_feature(token)
            if feature is None:
                notes.append(f"The trace has no token {token}: {option} has no effect here.")
            else:
                known[block] = (feature,)
        ids = given.token is not None or given.previous_token is not None
        if ids and not catalogue.specification(self.chosen.name).form(self.history.states).tokens:
            notes.append(f"{self.chosen.name} does not use token ids.")
        return notes

    def _prediction(self, values: Floats, router: Router, n_tokens: int, order: int) -> Prediction:
        unknown = read_only(np.full(len(values), np.nan))
        return Prediction(values, unknown, unknown, n_tokens, self.options.level, router.layer, order)

    def _states(self, log_weights: Floats, router: Router) -> list[Record]:
        top = min(self.options.top, router.alphabet.size)
        subsets = best_subsets(log_weights, router.top_k, top)
        shares = np.exp(log_probability(subsets, log_weights, router.top_k))
        states = router.alphabet.rank(subsets).tolist()
        return [
            {"state": state, "experts": experts, "probability": share, "interval": [None, None]}
            for state, experts, share in zip(states, subsets.tolist(), shares.tolist(), strict=True)
        ]


def _last(read: Sequence[Choice | None]) -> Record | None:
    last = read[-1]
    return None if last is None else {"experts": list(last.experts), "state": last.state}


def _incomplete(missing: Sequence[str]) -> list[str]:
    """Say what a prediction lacks."""
    if not missing:
        return []
    layers = [name for name in missing if " " not in name]
    before = [name for name in missing if name.startswith(previous("")) and name != _BEFORE]
    words = [
        *([f"{len(layers)} earlier layer{'s' if len(layers) > 1 else ''}"] if layers else []),
        *([f"{len(before)} layer{'s' if len(before) > 1 else ''} of the previous token"] if before else []),
        *(["the token id"] if _TOKEN in missing else []),
        *(["the previous token's id"] if _BEFORE in missing else []),
    ]
    if not words:
        return []
    return [
        f"Not known: {', '.join(words)}. The ridge is fitted to what is known; its strength was fitted with all of it."
    ]
