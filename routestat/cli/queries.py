"""Predictions of a chain after observed choices: choices are read from text, predictions returned as records."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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

Record = dict[str, Any]


@dataclass(frozen=True)
class QueryOptions:
    """Options that all queries share."""

    ahead: int
    order: int | None
    top: int
    level: float
    seed: int


@dataclass(frozen=True)
class Choice:
    """One observed choice: its router, its experts and, in the state view, its state."""

    router: Router
    experts: tuple[int, ...]
    state: int | None

    def plain(self) -> Record:
        """Return the choice as a record."""
        return {"layer": self.router.layer, "experts": list(self.experts), "state": self.state}


@dataclass
class QueryAnswerer:
    """Predictions from one chain; steps of order 2 of a trace are fitted when a query first needs one."""

    run: OpenedRun
    options: QueryOptions
    tick: Tick | None = None
    routers: list[Router] = field(init=False)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        """Set the routers and the order of the chain."""
        chain = self.run.chain
        self.routers = [Router(*row) for row in zip(chain.layers, chain.n_experts, chain.top_k, strict=True)]
        if self.options.order in (0, 1) and chain.states == "subset":
            chain = replace(chain, orders=(self.options.order,) * len(chain.counts))
        self.chain = chain

    @property
    def is_state_view(self) -> bool:
        """Whether the chain has subsets as states."""
        return self.chain.states == "subset"

    def answer(self, layer: int, text: str) -> tuple[Record, str]:
        """Return the prediction as a record, and a sentence on its intervals.

        Raises
        ------
        RoutestatError
            If there is no such layer, history or target, or no token took the step.
        """
        gap = self.chain.gap_after(layer)
        known = self._known(gap, text)
        end = gap + self.options.ahead
        if end >= len(self.routers):
            raise RoutestatError(
                f"--ahead {self.options.ahead}: {len(self.routers) - 1 - gap} layers follow layer {layer}, "
                f"the chain ends at layer {self.chain.layers[-1]}"
            )
        for step in range(gap, end):
            if not self.chain.counts[step].any():
                raise RoutestatError(
                    f"no token has a choice in both layer {self.chain.layers[step]} and layer "
                    f"{self.chain.layers[step + 1]}: the step has no data"
                )
        if self.is_state_view:
            orders = self._orders(gap, len(known))
            last = tuple(choice.state for choice in known[-2:] if choice.state is not None)
            prediction, notes = self._predict(gap, last, orders)
            worth: float | None = self.chain.design_effects[gap]
            close = self._of_states(gap, prediction.order)
        else:
            prediction, notes, close = self._of_experts(gap, known)
            worth = None
        ignored = len(known) - prediction.order
        if not prediction.order:
            notes = ["Order 0: the choices have no effect here.", *notes]
        elif ignored > 0:
            notes = [f"The oldest {ignored} of {len(known)} choices have no effect here.", *notes]
        if self.options.ahead > 1 and self.is_state_view:
            orders = prediction.order, *self._orders(gap, len(known))[gap + 1 : end]
            steps = ", ".join(map(str, orders))
            notes = [
                *notes,
                f"Steps of order {steps}: dependence that does not pass through the layers between is not "
                "included; the report's chain section states how much that is.",
            ]
        return {
            "layer": layer,
            "after": {"experts": list(known[-1].experts), "state": known[-1].state},
            "history": [choice.plain() for choice in known],
            "next_layer": self.chain.layers[end],
            "ahead": self.options.ahead,
            "order": prediction.order,
            "n_tokens": prediction.n_tokens,
            "level": self.options.level,
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
            _choice(part, self.routers[place], self.is_state_view)
            for place, part in enumerate(parts, gap + 1 - len(parts))
        ]

    def _orders(self, gap: int, n_known: int) -> tuple[int, ...]:
        """Return the order of every gap for this query, and fit the steps of order 2 that it needs."""
        # A prediction must not depend on earlier queries, so the orders of the chain are not changed.
        wants = self.options.order == 2 or (
            self.options.order is None and self.run.trace is not None and n_known > 1
        )
        # With --order 2 all steps up to the target have order 2, otherwise the first step.
        reach = self.options.ahead if self.options.order == 2 else 1
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
            raise RoutestatError("order 2 has too many states here; use --order 1")
        self.chain = replace(self.chain, second=fitted)

    def _predict(
        self, gap: int, states: tuple[int, ...], orders: tuple[int, ...]
    ) -> tuple[Prediction, list[str]]:
        prediction = predict_ahead(
            replace(self.chain, orders=orders),
            self.chain.layers[gap],
            states,
            ahead=self.options.ahead,
            level=self.options.level,
            # A new generator, so that a prediction does not depend on earlier queries.
            rng=np.random.default_rng(self.options.seed),
        )
        return prediction, [] if prediction.n_tokens else [self._unseen(gap, states[-1], prediction.order)]

    def _unseen(self, gap: int, source: int, order: int) -> str:
        """Say what a prediction for unseen choices is based on."""
        table, rests = self.chain.counts[gap], self.chain.alpha in LEARNED
        if order == 2 and rests and table[source].any():
            return (
                "These were never observed together: the prediction backs off to order 1, which rests on the "
                f"{table[source].sum():,} tokens that chose the last of them."
            )
        if rests and (order == 2 or self.chain.alpha == "hierarchical"):
            return (
                "This was never observed: the prediction backs off to order 0, which rests on all "
                f"{table.sum():,} tokens, whatever they chose before."
            )
        return "This was never observed: the prediction is the prior's."

    def _of_states(self, gap: int, order: int) -> str:
        said = _order(order) if self.options.ahead == 1 else f"The first step is of order {order}."
        if self.chain.note:
            return f"{said} {self.chain.note}"
        return (
            f"{said} Intervals are those of as many independent tokens as the documents are worth "
            f"(design effect of the transition probabilities {self.chain.design_effects[gap]:.3g})."
        )

    def _of_experts(self, gap: int, known: Sequence[Choice]) -> tuple[Prediction, list[str], str]:
        options, factorised, layer = self.options, self.run.factorised, self.chain.layers[gap]
        plain = self.chain.predict(layer, known[-1].experts, options.level)
        notes = (
            []
            if plain.n_tokens
            else ["One of these experts was never observed: the prediction is the prior's."]
        )
        if options.order == 0 or (factorised is None and options.order == 2):
            raise RoutestatError(
                f"--order {options.order}: the expert view has order 1, and in a report also the orders of its "
                "factorised chain"
            )
        if factorised is None:
            if options.ahead > 1:
                raise RoutestatError(
                    "--ahead: experts are predicted one layer ahead; for more analyze the trace and name the report"
                )
            about = f"Probability that an expert is among the {self.chain.top_k[gap + 1]} chosen"
            return plain, notes, f"{about} (random one of the experts before). {TOO_NARROW}"
        sets = [choice.experts for choice in known]
        if options.order is not None:
            sets = sets[-options.order :]
        rng = np.random.default_rng(options.seed)
        found = factorised.predict(layer, sets, options.ahead, options.level, rng=rng)
        close = (
            f"Probability that an expert is among the {found.top_k} chosen (factorised chain of order {found.order}). "
            "Intervals show how much the probability depends on the documents left out."
        )
        prediction = Prediction(
            found.inclusion, found.low, found.high, plain.n_tokens, options.level, found.layer, found.order
        )
        return prediction, notes, close

    def _rows(self, prediction: Prediction, router: Router) -> list[Record]:
        best = np.argsort(-prediction.probability, kind="stable")[: self.options.top]
        sets = router.alphabet.unrank(best).tolist() if self.is_state_view else []
        rows = []
        for place, index in enumerate(best.tolist()):
            row: Record = (
                {"state": index, "experts": sets[place]} if self.is_state_view else {"expert": index}
            )
            limits = [float(prediction.low[index]), float(prediction.high[index])]
            row["probability"] = float(prediction.probability[index])
            # With a single fold of documents there is no interval.
            row["interval"] = [None if np.isnan(limit) else limit for limit in limits]
            rows.append(row)
        return rows


def _order(order: int) -> str:
    return f"This prediction is of order {order}" + (
        ": the distribution of the layer itself." if order == 0 else "."
    )


def _choice(text: str, router: Router, states: bool) -> Choice:
    """Read a choice from ``12`` or ``1,7``; a single number is a state in the state view."""
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
