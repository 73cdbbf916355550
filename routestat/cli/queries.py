"""QueryAnswerer of a fitted chain to what was observed: from words to choices, and from choices to what comes next."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from routestat.cli.open_run import OpenedRun
from routestat.errors import RoutestatError
from routestat.inference.markov.chain import Chain, Prediction
from routestat.inference.markov.prediction import predict_ahead
from routestat.inference.smoothing.design_effect import LEARNED, TOO_NARROW
from routestat.progress import Tick, silent
from routestat.study.chain import second_orders
from routestat.traces.metadata import Router

# QueryAnswerer that a stream keeps ready.
KEPT = 1 << 14
Record = dict[str, Any]


@dataclass(frozen=True)
class QueryOptions:
    """The options that all queries share."""

    ahead: int
    order: int | None
    top: int
    level: float
    seed: int


@dataclass(frozen=True)
class Choice:
    """One observed choice: its layer, its experts, and its state where there are states."""

    router: Router
    experts: tuple[int, ...]
    state: int | None

    def plain(self) -> Record:
        return {"layer": self.router.layer, "experts": list(self.experts), "state": self.state}


@dataclass
class QueryAnswerer:
    """QueryAnswerer from one run; steps of order 2 of a trace are fitted when a query first wants one."""

    run: OpenedRun
    asked: QueryOptions
    tick: Tick | None = None
    routers: list[Router] = field(init=False)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        chain = self.run.chain
        self.routers = [Router(*row) for row in zip(chain.layers, chain.n_experts, chain.top_k, strict=True)]
        if self.asked.order in (0, 1) and chain.states == "subset":
            chain = replace(chain, orders=(self.asked.order,) * len(chain.counts))
        self.chain = chain
        self._foreseen = lru_cache(KEPT)(self._foresee)

    @property
    def states(self) -> bool:
        return self.chain.states == "subset"

    def answer(self, layer: int, text: str) -> tuple[Record, str]:
        """What is written to JSON, and what is to be said of its intervals.

        Raises
        ------
        RoutestatError
            If the layer, the history or the target cannot be, or no token ever took the step.
        """
        gap = self.chain.gap_after(layer)
        known = self._known(gap, text)
        end = gap + self.asked.ahead
        if end >= len(self.routers):
            raise RoutestatError(
                f"--ahead {self.asked.ahead}: {len(self.routers) - 1 - gap} layers follow layer {layer}, "
                f"the chain ends at layer {self.chain.layers[-1]}"
            )
        for step in range(gap, end):
            if not self.chain.counts[step].any():
                raise RoutestatError(
                    f"no token has a choice in both layer {self.chain.layers[step]} and layer "
                    f"{self.chain.layers[step + 1]}: nothing is known of that step"
                )
        if self.states:
            orders = self._orders(gap, len(known))
            last = tuple(choice.state for choice in known[-2:] if choice.state is not None)
            prediction, notes = self._foreseen(gap, last, orders)
            worth: float | None = self.chain.design_effects[gap]
            close = self._of_states(gap, prediction.order)
        else:
            prediction, notes, close = self._of_experts(gap, known)
            worth = None
        ignored = len(known) - prediction.order
        if not prediction.order:
            notes = ["Of order 0: the choices change nothing here.", *notes]
        elif ignored > 0:
            notes = [f"The oldest {ignored} of {len(known)} choices change nothing here.", *notes]
        if self.asked.ahead > 1 and self.states:
            orders = prediction.order, *self._orders(gap, len(known))[gap + 1 : end]
            steps = ", ".join(map(str, orders))
            notes = [
                *notes,
                f"Steps of order {steps}: what does not pass through the layers between is not in the answer; the "
                "report's chain page says how much that is.",
            ]
        return {
            "layer": layer,
            "after": {"experts": list(known[-1].experts), "state": known[-1].state},
            "history": [choice.plain() for choice in known],
            "next_layer": self.chain.layers[end],
            "ahead": self.asked.ahead,
            "order": prediction.order,
            "n_tokens": prediction.n_tokens,
            "level": self.asked.level,
            "design_effect": worth,
            "notes": list(notes),
            "predictions": self._rows(prediction, self.routers[end]),
        }, close

    def _known(self, gap: int, text: str) -> list[Choice]:
        parts = text.split("/")
        if len(parts) > gap + 1:
            raise RoutestatError(
                f"{len(parts)} choices up to layer {self.chain.layers[gap]} reach before the first layer, "
                f"{self.chain.layers[0]}"
            )
        return [
            _choice(part, self.routers[place], self.states)
            for place, part in enumerate(parts, gap + 1 - len(parts))
        ]

    def _orders(self, gap: int, n_known: int) -> tuple[int, ...]:
        """The order of every gap for this query; steps of order 2 that it asks for are there afterwards."""
        # A query's answer must not depend on those before it, so that the chain's own orders are left alone.
        wants = self.asked.order == 2 or (
            self.asked.order is None and self.run.trace is not None and n_known > 1
        )
        # With --order 2 all steps up to the target have it, else the one that the history stands before.
        reach = self.asked.ahead if self.asked.order == 2 else 1
        gaps = [step for step in range(gap, gap + reach) if step > 0] if wants else []
        if any(self.chain.second[step] is None for step in gaps):
            self._fit(gaps)
        return tuple(2 if step in gaps else own for step, own in enumerate(self.chain.orders))

    def _fit(self, gaps: Sequence[int]) -> None:
        trace, counts = self.run.trace, self.run.counts
        if trace is None or counts is None:
            raise RoutestatError(
                f"--order 2: this report keeps no order 2 for the step to layer {self.chain.layers[gaps[0] + 1]}; "
                "analyze with --order 2, or name the trace"
            )
        every = range(len(self.chain.counts)) if self.tick is None else gaps
        wanted = [step in every for step in range(len(self.chain.counts))]
        fitted = second_orders(trace, counts, self.chain.alpha, wanted, tick=self.tick or silent)
        if any(fitted[step] is None for step in gaps):
            raise RoutestatError("order 2 has too many states here; ask with --order 1")
        self.chain = replace(self.chain, second=fitted)

    def _foresee(
        self, gap: int, states: tuple[int, ...], orders: tuple[int, ...]
    ) -> tuple[Prediction, list[str]]:
        prediction = predict_ahead(
            replace(self.chain, orders=orders),
            self.chain.layers[gap],
            states,
            ahead=self.asked.ahead,
            level=self.asked.level,
            # The same for every query, so that its answer does not depend on those before it.
            rng=np.random.default_rng(self.asked.seed),
        )
        return prediction, [] if prediction.n_tokens else [self._unseen(gap, states[-1], prediction.order)]

    def _unseen(self, gap: int, source: int, order: int) -> str:
        """What answers where the choices were never seen."""
        table, rests = self.chain.counts[gap], self.chain.alpha in LEARNED
        if order == 2 and rests and table[source].any():
            return (
                "These were never seen together: the back-off to order 1 answers, which rests on the "
                f"{table[source].sum():,} tokens that chose the last of them."
            )
        if rests and (order == 2 or self.chain.alpha == "hierarchical"):
            return (
                "This was never seen: the back-off to order 0 answers, which rests on all "
                f"{table.sum():,} tokens, whatever they chose before."
            )
        return "This was never seen: this is the prior's answer."

    def _of_states(self, gap: int, order: int) -> str:
        said = _order(order) if self.asked.ahead == 1 else f"The first step is of order {order}."
        if self.chain.note:
            return f"{said} {self.chain.note}"
        return (
            f"{said} Intervals are those of as many independent tokens as the documents are worth "
            f"(design effect of the transition probabilities {self.chain.design_effects[gap]:.3g})."
        )

    def _of_experts(self, gap: int, known: Sequence[Choice]) -> tuple[Prediction, list[str], str]:
        asked, factorised, layer = self.asked, self.run.factorised, self.chain.layers[gap]
        plain = self.chain.predict(layer, known[-1].experts, asked.level)
        notes = [] if plain.n_tokens else ["One of these experts was never seen: this is the prior's answer."]
        if asked.order == 0 or (factorised is None and asked.order == 2):
            raise RoutestatError(
                f"--order {asked.order}: the expert view has order 1, and in a report also what its factorised "
                "chain was fitted for"
            )
        if factorised is None:
            if asked.ahead > 1:
                raise RoutestatError(
                    "--ahead: experts are foretold one layer on; for more analyze the trace and name the report"
                )
            about = f"Probability that an expert is among the {self.chain.top_k[gap + 1]} chosen"
            return plain, notes, f"{about} (random one of the experts before). {TOO_NARROW}"
        sets = [choice.experts for choice in known]
        if asked.order is not None:
            sets = sets[-asked.order :]
        rng = np.random.default_rng(asked.seed)
        found = factorised.predict(layer, sets, asked.ahead, asked.level, rng=rng)
        close = (
            f"Probability that an expert is among the {found.top_k} chosen (factorised chain of order {found.order}). "
            "Intervals say how far leaving out documents moves it."
        )
        prediction = Prediction(
            found.inclusion, found.low, found.high, plain.n_tokens, asked.level, found.layer, found.order
        )
        return prediction, notes, close

    def _rows(self, prediction: Prediction, router: Router) -> list[Record]:
        best = np.argsort(-prediction.probability, kind="stable")[: self.asked.top]
        sets = router.alphabet.unrank(best).tolist() if self.states else []
        rows = []
        for place, index in enumerate(best.tolist()):
            row: Record = {"state": index, "experts": sets[place]} if self.states else {"expert": index}
            limits = [float(prediction.low[index]), float(prediction.high[index])]
            row["probability"] = float(prediction.probability[index])
            # One fold of documents has nothing to be left out of.
            row["interval"] = [None if np.isnan(limit) else limit for limit in limits]
            rows.append(row)
        return rows


def _order(order: int) -> str:
    return f"The answer is of order {order}" + (": the layer's own law." if order == 0 else ".")


def _choice(text: str, router: Router, states: bool) -> Choice:
    """State and experts of ``12`` or ``1,7``; a single number is a state where states are counted."""
    try:
        numbers = [int(part) for part in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if not numbers:
        raise RoutestatError(f"a choice is a state such as 12, or experts such as 1,7; got {text.strip()!r}")
    alphabet = router.alphabet
    if len(numbers) == 1 and (states or router.top_k > 1):
        if not 0 <= numbers[0] < alphabet.size:
            raise RoutestatError(
                f"state {numbers[0]}: layer {router.layer} has states 0 … {alphabet.size - 1}"
            )
        return Choice(router, tuple(alphabet.unrank(numbers[0]).tolist()), numbers[0])
    try:
        experts = tuple(alphabet.sorted_rows(numbers).tolist())
        return Choice(router, experts, int(alphabet.rank(numbers)) if alphabet.is_ranked else None)
    except RoutestatError as error:
        raise RoutestatError(f"layer {router.layer}: {error}") from None
