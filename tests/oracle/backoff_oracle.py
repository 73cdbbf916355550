"""Back-off by its definition: tokens in lists, counts in dictionaries, one probability at a time."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from routestat.inference.smoothing.backoff_strength import BackoffParameters, fit_backoff, fit_strength

Context = tuple[int, ...]
Cells = dict[tuple[Context, int], float]
Names = tuple[str, ...]
Distribution = Callable[[Context, int], float]
Predicted = tuple[float, float, int, float]


def draws_of(count: int, weight: float) -> float:
    """Mean number of tables of a Chinese restaurant: customer k opens one with probability a / (a + k)."""
    return sum(weight / (weight + k) for k in range(count))


def draws_by_stirling(count: int, weight: float) -> float:
    """The same from the distribution of the number t of tables, proportional to |S(count, t)| weight**t."""
    stirling = [1]
    for k in range(count):
        stirling = [k * a + b for a, b in zip([*stirling, 0], [0, *stirling], strict=True)]
    distribution = [number * weight**t for t, number in enumerate(stirling)]
    return sum(t * p for t, p in enumerate(distribution)) / sum(distribution)


def left_out_log_probability(table: np.ndarray, base: np.ndarray, s: float, d: float) -> float:
    """Sum over tokens of ln p(token | all other tokens of its row), every row counted anew for every token."""
    total = 0.0
    for row in table:
        for target, count in enumerate(row):
            for _ in range(int(count)):
                rest = row.copy()
                rest[target] -= 1
                share = (s + d * np.count_nonzero(rest)) * base[target]
                total += math.log((max(rest[target] - d, 0.0) + share) / (rest.sum() + s))
    return total


@dataclass(frozen=True)
class Token:
    """One token; `known` holds what is known of its past, by name."""

    target: int
    group: int
    known: dict[str, int]

    def context(self, names: Names) -> Context | None:
        return tuple(self.known[name] for name in names) if set(names) <= set(self.known) else None


@dataclass(frozen=True)
class Rule:
    """What makes strengths of seen cells."""

    strength: Callable[..., float] = fit_strength
    backoff: Callable[..., BackoffParameters] = fit_backoff


def loss_of(predicted: list[Predicted], fitted: BackoffParameters) -> float:
    """Of tokens one by one, in nats: each from its cell, its context's tokens and targets, and its base."""
    s, d = fitted.strength, fitted.discount
    return -math.fsum(
        math.log((max(count - d, 0.0) + (s + d * distinct) * base) / (total + s))
        for count, total, distinct, base in predicted
    )


def doubled(predicted: list[Predicted], fitted: BackoffParameters, most: float) -> BackoffParameters:
    """The first of `fitted` and its doubles, redoubles, … that the next one does not beat, or is above `most`."""
    losses = [loss_of(predicted, fitted)]
    while True:
        fitted = BackoffParameters(2.0 * fitted.strength, fitted.discount)
        if fitted.strength > most:
            return BackoffParameters(fitted.strength / 2.0, fitted.discount)
        losses.append(loss_of(predicted, fitted))
        if losses[-1] >= losses[-2]:
            return BackoffParameters(fitted.strength / 2.0, fitted.discount)


def count_cells(tokens: list[Token], names: Names) -> Cells:
    """Tokens by context and target, in order; those of unknown context are left out."""
    found: Counter = Counter()
    for token in tokens:
        context = token.context(names)
        if context is not None:
            found[context, token.target] += 1
    return {cell: float(found[cell]) for cell in sorted(found)}


def total_of(cells: Cells, context: Context) -> float:
    return sum(count for (other, _), count in cells.items() if other == context)


@dataclass
class SlowBackoff:
    """The distributions of one sequence of contexts: strengths and weights from `fitting`, counts from any tokens.

    With `raised` the strengths are raised until the groups of `fitting`, each predicted without its own tokens, are
    predicted no better.
    """

    nested: list[Names]
    n_targets: int
    fitting: list[Token]
    rule: Rule = field(default_factory=Rule)
    raised: bool = False

    def __post_init__(self) -> None:
        self.cells = [count_cells(self.fitting, names) for names in self.nested]
        self.priors: list[float] = []
        for step, cells in enumerate(self.cells):
            self.priors.append(self._strength(cells, partial(self.plain_below, step)))
        self.lower: list[list[float]] = []
        self.fitted: list[BackoffParameters] = []
        for step, cells in enumerate(self.cells):
            draws = self.summed(step, self.draws(step, cells))
            self.lower.append(self._lower_strengths(step - 1, draws))
            base = partial(self.base, step, draws)
            candidates = [self._backoff(cells, base)]
            if self.raised:
                candidates.append(BackoffParameters(self._strength(cells, base)))
                predicted = self.predicted_without_their_group(step, base)
                longest = max(total_of(cells, context) for context, _ in cells)
                raised = (doubled(predicted, one, 1e4 * longest) for one in candidates)
                candidates = sorted(raised, key=partial(loss_of, predicted))
            self.fitted.append(candidates[0])

    def shorter(self, step: int, context: Context) -> Context:
        values = dict(zip(self.nested[step], context, strict=True))
        return tuple(values[name] for name in self.nested[step - 1])

    def plain_below(self, step: int, context: Context, target: int) -> float:
        """The distribution of one step less in which every token of `fitting` counts."""
        if step == 0:
            return 1.0 / self.n_targets
        context, cells, s = self.shorter(step, context), self.cells[step - 1], self.priors[step - 1]
        above = cells.get((context, target), 0.0) + s * self.plain_below(step - 1, context, target)
        return above / (total_of(cells, context) + s)

    def draws(self, step: int, cells: Cells) -> Cells:
        return {
            (context, target): draws_of(
                round(count), self.priors[step] * self.plain_below(step, context, target)
            )
            for (context, target), count in cells.items()
        }

    def summed(self, step: int, draws: Cells) -> Cells:
        """Draws by the context of one step less."""
        found: Cells = {}
        for (context, target), count in draws.items() if step else ():
            cell = self.shorter(step, context), target
            found[cell] = found.get(cell, 0.0) + count
        return dict(sorted(found.items()))

    def base(self, step: int, draws: Cells, context: Context, target: int) -> float:
        """The distribution of draws, already summed to one step less."""
        if step == 0:
            return 1.0 / self.n_targets
        return self._rest(step - 1, draws, self.lower[step], self.shorter(step, context), target)

    def distribution(self, step: int, counted: list[Token], context: Context) -> list[float]:
        """p(target | context) from the tokens counted, all targets."""
        cells, fitted = count_cells(counted, self.nested[step]), self.fitted[step]
        draws = self.summed(step, self.draws(step, cells))
        mine = {target: count for (other, target), count in cells.items() if other == context}
        spare = fitted.strength + fitted.discount * len(mine)
        return [
            (max(mine.get(z, 0.0) - fitted.discount, 0.0) + spare * self.base(step, draws, context, z))
            / (sum(mine.values()) + fitted.strength)
            for z in range(self.n_targets)
        ]

    def predicted_without_their_group(self, step: int, base: Distribution) -> list[Predicted]:
        """Every token of `fitting`, and what the other groups of `fitting` predict for it; the base is that of all."""
        known: Cells = {}
        predicted = []
        for left_out in sorted({token.group for token in self.fitting}):
            rest = count_cells([t for t in self.fitting if t.group != left_out], self.nested[step])
            for token in (t for t in self.fitting if t.group == left_out):
                context = token.context(self.nested[step])
                if context is None:
                    continue
                mine = [count for (other, _), count in rest.items() if other == context]
                cell = context, token.target
                known[cell] = known[cell] if cell in known else base(*cell)
                predicted.append((rest.get(cell, 0.0), sum(mine), len(mine), known[cell]))
        return predicted

    def _rest(self, step: int, draws: Cells, strengths: list[float], context: Context, target: int) -> float:
        base = 1.0 / self.n_targets
        if step:
            base = self._rest(
                step - 1, self.summed(step, draws), strengths, self.shorter(step, context), target
            )
        s = strengths[step]
        return (draws.get((context, target), 0.0) + s * base) / (total_of(draws, context) + s)

    def _lower_strengths(self, step: int, draws: Cells) -> list[float]:
        """Of steps 0 to `step`, each fitted to the draws on what lies below it."""
        if step < 0:
            return []
        below = self.summed(step, draws)
        strengths = self._lower_strengths(step - 1, below)

        def base(context: Context, target: int) -> float:
            if step == 0:
                return 1.0 / self.n_targets
            return self._rest(step - 1, below, strengths, self.shorter(step, context), target)

        return [*strengths, self._strength(draws, base)]

    def _strength(self, cells: Cells, base: Distribution) -> float:
        counts, bases, contexts = self._arrays(cells, base)
        return self.rule.strength(counts, bases, np.bincount(contexts, counts))

    def _backoff(self, cells: Cells, base: Distribution) -> BackoffParameters:
        return self.rule.backoff(*self._arrays(cells, base))

    @staticmethod
    def _arrays(cells: Cells, base: Distribution) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = {context: i for i, context in enumerate(sorted({context for context, _ in cells}))}
        return (
            np.array(list(cells.values())),
            np.array([base(*cell) for cell in cells]),
            np.array([place[context] for context, _ in cells], np.intp),
        )


def halves_of(tokens: list[Token]) -> dict[int, int]:
    """The half of every group that has tokens: every second one of them, in order."""
    return {group: i % 2 for i, group in enumerate(sorted({token.group for token in tokens}))}


def slow_fits(
    tokens: list[Token], nested: list[Names], n_targets: int, *, rule: Rule | None = None
) -> list[SlowBackoff]:
    """What predicts the groups of either half: fitted on the half that they are not in."""
    half = halves_of(tokens)
    return [
        SlowBackoff(
            nested, n_targets, [t for t in tokens if half[t.group] != side], rule or Rule(), raised=True
        )
        for side in (0, 1)
    ]


def slow_held_out(
    tokens: list[Token],
    nested: list[Names],
    n_targets: int,
    *,
    forward: bool = False,
    rule: Rule | None = None,
) -> dict[int, float]:
    """Bits of every group that has tokens; every token's distribution is built from the tokens of other groups.

    Strengths, and the weights of draws against repetitions, are those of `slow_fits`. Going forward only earlier
    groups are counted.
    """
    half = halves_of(tokens)
    used, fits = sorted(half), slow_fits(tokens, nested, n_targets, rule=rule)
    bits = {}
    for group in used:
        counted = [t for t in tokens if (t.group < group if forward else t.group != group)]
        bits[group] = 0.0
        for token in (t for t in tokens if t.group == group):
            step = max(i for i, names in enumerate(nested) if token.context(names) is not None)
            context = token.context(nested[step])
            assert context is not None
            bits[group] -= math.log2(fits[half[group]].distribution(step, counted, context)[token.target])
    return bits
