"""The A/A check of one trace: rejection rates of its tests in cases without an effect, made of its documents."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.recombined_documents import MOST_ROWS, MOST_UNITS, units_of
from routestat.inference.base.clustered_score_test import FEW_GROUPS
from routestat.inference.level_checks.half_splits import HalfSplits, half_splits, p_histogram
from routestat.inference.level_checks.level_check import (
    FEWEST_DRAWS,
    LevelCheck,
    level_check,
    loads_check,
    trust,
)
from routestat.inference.level_checks.null_p_values import PValues, independence_p_values, order_p_values
from routestat.progress import Tick, in_threads, silent

#: Made documents, of two documents each, below which no clustered test has a p-value.
FEWEST_MADE = 6
#: Draws of each family over all its layers.
INDEPENDENCE_DRAWS, ORDER_DRAWS = 240, 102
# Cells and tokens that all draws of one family may visit: wide tables get fewer draws, down to `FEWEST_DRAWS`.
MOST_WORK = 500_000_000
# Cells of one draw's tables of all groups: wide tables get fewer groups, down to `FEW_GROUPS`.
MOST_CELLS = 8_000_000
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class LevelChecks:
    """The A/A check of one trace.

    Attributes
    ----------
    halves : HalfSplits
        Loads of random halves, layer by layer.
    families : tuple of LevelCheck
        The tests of loads, independence and order.
    """

    halves: HalfSplits
    families: tuple[LevelCheck, ...]

    def answer(self) -> str:
        """Return whether the p-values can be trusted."""
        return trust(self.families)

    def sentences(self) -> list[str]:
        """Return the answer, and the rates behind it."""
        said = [self.answer()]
        said += [check.reading() for check in self.families if check.reason is None]
        if self.halves.reason is None:
            said.append(
                f"Shares of the experts vary {self.halves.pooled_design_effect:.3g} times as much between documents "
                "as with independent tokens (the design effect of the loads)."
            )
        return said

    def reading(self) -> str:
        """Return the sentences as one text."""
        return " ".join(self.sentences())


def check_levels(
    counts: Counts,
    sample: Sample,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> LevelChecks:
    """Check the tests of loads, independence and order on cases made of these documents.

    Parameters
    ----------
    counts : Counts
        With the context nothing.
    sample : Sample
        Whole documents of it.
    rng : numpy.random.Generator
    tick : callable(what, done, total)
    threads : int, optional
    """
    what, routers = "checking the tests on data without an effect", counts.routers
    tick(what, 0, 1)
    n_units = int(units_of(sample).max(initial=-1)) + 1
    sample = replace(sample, groups=min(sample.groups, max(FEW_GROUPS, MOST_CELLS // _size(counts) ** 2)))
    own = iter(rng.spawn(6))
    jobs: dict[str, list[Callable[[], PValues]]] = {"independence": [], "order": []}
    reasons = _reasons(counts, n_units)
    if "independence" not in reasons:
        ends = _first_middle_last(range(1, len(routers)))
        draws = _share(INDEPENDENCE_DRAWS, counts, sample, len(ends))
        jobs["independence"] = [
            partial(
                independence_p_values, sample, routers[at - 1], routers[at], next(own), draws, counts.states
            )
            for at in ends
        ]
    if "order" not in reasons:
        ends = _first_middle_last(range(2, len(routers)))
        draws = _share(ORDER_DRAWS, counts, sample, len(ends))
        jobs["order"] = [
            partial(order_p_values, sample, routers[at - 2], routers[at - 1], routers[at], next(own), draws)
            for at in ends
        ]
    # Side by side, the splits and all of both families; each job has its own random numbers.
    every: list[Callable[[], Any]] = [partial(_halves, counts, rng)]
    every += [job for own in jobs.values() for job in own]
    halves, *rest = in_threads(every, threads, tick, what)
    results = iter(rest)
    found = {family: [next(results) for _ in own] for family, own in jobs.items()}
    checks = [loads_check(halves)]
    for family, parts in found.items():
        if family in reasons:
            checks.append(_unchecked(family, n_units, reasons[family]))
        else:
            checks.append(level_check(family, parts, n_units, LEVEL))
    tick(what, 1, 1)
    return LevelChecks(halves, tuple(checks))


def _halves(counts: Counts, rng: np.random.Generator) -> HalfSplits:
    loads = [counts.table(Context(), router) for router in counts.routers]
    if counts.states == "subset":
        return half_splits(loads, rng, level=LEVEL)
    tokens = [load.sum(axis=1) // router.top_k for load, router in zip(loads, counts.routers, strict=True)]
    return half_splits(loads, rng, np.array(tokens), level=LEVEL)


def _reasons(counts: Counts, n_units: int) -> dict[str, str]:
    """Why a family cannot be checked."""
    layers, reasons = len(counts.routers), {}
    least = 2 * FEWEST_MADE
    few = f"{least} clusters of documents or more are needed to exchange layers, got {n_units}"
    for family, needed in (("independence", 2), ("order", 3)):
        if layers < needed:
            reasons[family] = f"{layers} layer{'' if layers == 1 else 's'}, and the test takes {needed}"
        elif family == "order" and counts.states == "expert":
            reasons[family] = (
                "the expert view has no such test, as its layers have too many subsets for strata"
            )
        elif n_units < 2 * FEWEST_MADE:
            reasons[family] = few
    return reasons


def _unchecked(family: str, n_units: int, reason: str) -> LevelCheck:
    nothing = p_histogram(np.empty(0))
    return LevelCheck(
        family=family, n_units=n_units, n_draws=0, level=LEVEL, p_histogram=nothing, reason=reason
    )


def _first_middle_last(places: range) -> list[int]:
    return list(dict.fromkeys((places[0], places[len(places) // 2], places[-1])))


def _size(counts: Counts) -> int:
    """Rows of the widest table."""
    wide = counts.states == "expert"
    return max(router.n_experts if wide else router.alphabet.size for router in counts.routers)


def _share(draws: int, counts: Counts, sample: Sample, layers: int) -> int:
    """Draws of one of so many layers: fewer where tables are wide, but enough in all to estimate a rate."""
    per_token = max(router.top_k for router in counts.routers) ** 2 if counts.states == "expert" else 1
    made, rows = min(sample.n_documents, MOST_UNITS) // 2, min(len(sample) // 2, MOST_ROWS)
    work = min(made, sample.groups) * _size(counts) ** 2 + rows * per_token
    return -(-max(FEWEST_DRAWS, min(draws, MOST_WORK // max(work, 1))) // layers)
