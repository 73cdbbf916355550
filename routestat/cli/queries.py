"""Predictions of a chain after observed choices: choices are read from text, predictions returned as records."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from routestat.cli.answers import expert_rows, fetch_rows, state_rows
from routestat.cli.choices import Choice, Record, read_history
from routestat.cli.open_run import OpenedRun
from routestat.counting.context import Context
from routestat.counting.further_tables import count_further_tables
from routestat.errors import RoutestatError
from routestat.inference.markov.chain import Chain, Prediction
from routestat.inference.markov.direct_steps import DirectStep, fit_direct_step
from routestat.inference.markov.prediction import predict_ahead
from routestat.inference.smoothing.design_effect import LEARNED, TOO_NARROW
from routestat.progress import Tick, silent
from routestat.study.chain import second_orders
from routestat.traces.metadata import Router


@dataclass(frozen=True)
class QueryOptions:
    """Options that all queries share; `experts`: whether single experts are predicted in the state view too."""

    ahead: int
    order: int | None
    top: int
    level: float
    seed: int
    experts: bool = False


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
        # Only the steps themselves have orders 0 and 2.
        self.chain = chain if self.options.order in (None, 1) else replace(chain, direct={})

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
            prediction, experts, notes, close = self._of_states(gap, known)
            rows = state_rows(prediction, self.routers[end], self.options.top)
        else:
            prediction, notes, close = self._of_experts(gap, known)
            experts, rows = prediction, expert_rows(prediction, self.options.top)
        ignored = len(known) - prediction.order
        if not prediction.order:
            notes = ["Order 0: the choices have no effect here.", *notes]
        elif ignored > 0:
            notes = [f"The oldest {ignored} of {len(known)} choices have no effect here.", *notes]
        record = {
            "layer": layer,
            "after": {"experts": list(known[-1].experts), "state": known[-1].state},
            "history": [choice.plain() for choice in known],
            "next_layer": self.chain.layers[end],
            "ahead": self.options.ahead,
            "order": prediction.order,
            "n_tokens": prediction.n_tokens,
            "level": self.options.level,
            "design_effect": prediction.design_effect if self.is_state_view else None,
            "notes": list(notes),
            "predictions": rows,
        }
        if experts is not None:
            record["experts"] = expert_rows(experts, self.options.top)
            record["fetch"] = fetch_rows(experts.probability, self.routers[end].top_k)
        return record, close

    def _known(self, gap: int, text: str) -> list[Choice]:
        read = read_history(text, self.routers[: gap + 1], self.is_state_view)
        return [choice for choice in read if choice is not None]

    def _of_states(
        self, gap: int, known: Sequence[Choice]
    ) -> tuple[Prediction, Prediction | None, list[str], str]:
        """Return the prediction of states, that of experts if requested, notes, and what the intervals are."""
        end = gap + self.options.ahead
        self._count_direct(end - gap)
        direct = (gap, end) in self.chain.direct
        orders = self.chain.orders if direct else self._orders(gap, len(known))
        states = tuple(choice.state for choice in known[-2:] if choice.state is not None)
        ask = partial(
            predict_ahead,
            replace(self.chain, orders=orders),
            self.chain.layers[gap],
            states,
            ahead=self.options.ahead,
            level=self.options.level,
            most=self.options.top,
        )
        # A new generator each time, so that a prediction does not depend on earlier queries.
        prediction = ask(rng=np.random.default_rng(self.options.seed))
        experts = None
        if self.options.experts:
            events = self.routers[end].alphabet.membership
            experts = ask(rng=np.random.default_rng(self.options.seed), events=events)
        notes = [] if prediction.n_tokens else [self._unseen((gap, end), states[-1], prediction.order)]
        if self.options.ahead > 1:
            steps = ", ".join(map(str, (prediction.order, *orders[gap + 1 : end])))
            first, last = self.chain.layers[gap], self.chain.layers[end]
            notes.append(
                f"From the table of layers {first} and {last} (order 1): steps are not multiplied."
                if direct
                else f"Steps of order {steps} are multiplied: dependence that does not pass through the layers between "
                "is not included; the report's chain section states how much that is."
            )
        return prediction, experts, notes, self._close(prediction)

    def _count_direct(self, ahead: int) -> None:
        """Count the transitions so many layers ahead, if this is a trace and they are wanted."""
        trace, counts, gaps = self.run.trace, self.run.counts, len(self.chain.counts)
        pairs = [(start, start + ahead) for start in range(gaps - ahead + 1)]
        wanted = ahead > 1 and self.options.order in (None, 1)
        if not wanted or trace is None or counts is None or pairs[0] in self.chain.direct:
            return
        tables = count_further_tables(
            trace,
            counts,
            [(Context.layer(ahead), counts.routers[end]) for _, end in pairs],
            progress=partial(self.tick or silent, "counting layers further on"),
        )
        steps: dict[tuple[int, int], DirectStep] = {
            pair: fit_direct_step(table, self.chain.alpha) for pair, table in zip(pairs, tables, strict=True)
        }
        self.chain = replace(self.chain, direct=steps)

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

    def _unseen(self, places: tuple[int, int], source: int, order: int) -> str:
        """Say what a prediction for unseen choices is based on."""
        step, rests = self.chain.direct.get(places), self.chain.alpha in LEARNED
        table = self.chain.counts[places[0]] if step is None else step.counts
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

    def _close(self, prediction: Prediction) -> str:
        said = _order(prediction.order)
        if self.options.ahead > 1 and not prediction.direct:
            said = f"The first step is of order {prediction.order}."
        if self.chain.note:
            return f"{said} {self.chain.note}"
        return (
            f"{said} Intervals are those of as many independent tokens as the documents are worth "
            f"(design effect of the transition probabilities {prediction.design_effect:.3g})."
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


def _order(order: int) -> str:
    return f"This prediction is of order {order}" + (
        ": the distribution of the layer itself." if order == 0 else "."
    )
