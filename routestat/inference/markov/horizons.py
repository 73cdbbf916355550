"""Figures with their delete-group replicates: estimates without their leading bias, bands, and sums of figures.

Figures that come from the same documents share their groups, so the error of a mean or a slope of figures is that of
the groups' moves added up, never that of figures taken as independent.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import ScoreTest, few_groups, score_test
from routestat.inference.base.estimate import Estimates
from routestat.inference.base.jackknife import jackknife_each, jackknife_sum
from routestat.inference.base.tables import Floats, Integers, read_only, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.markov.homogeneity import LARGE_BIAS
from routestat.inference.markov.horizon_table import HorizonTable, measure_table
from routestat.inference.markov.implied_steps import ImpliedScores, ImpliedSteps, followed_by, one_step
from routestat.progress import Progress, thread_pool

# Wide tables: groups are merged until all of them have about so many cells, but into no fewer than LEAST.
CELLS, LEAST = 2_500_000, 32


@dataclass(frozen=True, slots=True, eq=False)
class MergedGroups:
    """Groups with tokens, merged where wide tables would have too many cells; see `merge_groups`.

    Attributes
    ----------
    order
        Groups, merged group after merged group.
    starts
        Where in `order` each merged group starts.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    def of_table(self, table: NDArray[np.integer]) -> NDArray[np.integer]:
        """Sum counts `[group, ...]` to counts `[merged group, ...]`."""
        if len(self.starts) == len(self.order):
            return table if len(self.order) == len(table) else table[self.order]
        return np.add.reduceat(table[self.order], self.starts, axis=0, dtype=np.int64)


def merge_groups(tables: Sequence[NDArray[np.integer]]) -> MergedGroups:
    """Merge the groups of these tables `[group, source, target]` that hold tokens in any of them.

    Merged groups are groups too; fewer of them make errors slightly less precise and cost less. There are as many as
    have `CELLS` cells together, but at least `LEAST`.
    """
    used = [np.flatnonzero(table.any(axis=(1, 2))) for table in tables]
    groups = np.unique(np.concatenate(used)) if used else np.empty(0, np.intp)
    widest = max((table[0].size for table in tables if len(table)), default=1)
    n = min(len(groups), max(LEAST, CELLS // max(1, widest)))
    if not n:
        return MergedGroups(groups, groups)
    # Neighbouring groups may hold neighbouring documents: every n-th is merged.
    parts = [groups[first::n] for first in range(n)]
    return MergedGroups(np.concatenate(parts), np.cumsum([0, *map(len, parts[:-1])]))


#: Counts ``[group, source, target]`` by the places of the two layers, source first.
Direct = Mapping[tuple[int, int], ArrayLike] | Callable[[int, int], ArrayLike]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Horizons:
    """The dependence of layers several steps apart; matrices `[start, horizon]`, NaN beyond the last layer.

    Attributes
    ----------
    horizons
        Steps between the layers, 1 … N: the names of the columns. Rows are the places of the first layers.
    direct_bits
        I(X_l; X_l+n), counted.
    chain_bits
        I under the joint distribution r_l P_l … P_l+n-1 that a chain of order 1 implies.
    difference_bits
        `direct_bits` less `chain_bits`, from the same replicates: above zero where there is memory beyond the chain.
    discrepancy_bits
        sum of p(x) KL(P counted(.|x) || P implied(.|x)): bits per token that the chain loses at this horizon.
    p_clustered, log10_p_clustered, nu
        Clustered test that the chain explains the n-step table (see `chapman.implied_scores`), and its degrees of
        freedom. NaN at horizon 1, where there is nothing to explain: the last two figures are zero there.
    n_tokens
        With both layers known, `[start, horizon]`.
    mean_direct_bits, mean_chain_bits, mean_difference_bits, mean_discrepancy_bits
        Means over the start layers, `[horizon]`; start layers share their documents, and the error allows for it.
    p_combined, log10_p_combined
        All start layers of a horizon at once, `[horizon]`: scores side by side, not p-values put together.
    p_all, log10_p_all
        All start layers and horizons at once.
    n_groups, n_replicates
        Groups with tokens, and the merged groups of jackknife and test: fewer where tables are wide.
    level
        Of the intervals.
    reasons
        Why values are NaN, or what they leave out, by (start, horizon).
    scarce
        Cautions on the information of tables with few tokens per cell, by (start, horizon).
    reason, note
        Why the whole has no intervals, tests or horizons; cautions about what was computed; or None.
    sparse
        The caution among them that bits too, and not only tests, are unreliable for want of tokens; or None.
    """

    horizons: tuple[int, ...]
    direct_bits: Estimates
    chain_bits: Estimates
    difference_bits: Estimates
    discrepancy_bits: Estimates
    p_clustered: Floats
    log10_p_clustered: Floats
    nu: Floats
    n_tokens: Integers
    mean_direct_bits: Estimates
    mean_chain_bits: Estimates
    mean_difference_bits: Estimates
    mean_discrepancy_bits: Estimates
    p_combined: Floats
    log10_p_combined: Floats
    p_all: float
    log10_p_all: float
    n_groups: int
    n_replicates: int
    level: float
    reasons: dict[tuple[int, int], str]
    scarce: dict[tuple[int, int], str]
    reason: str | None = None
    note: str | None = None
    sparse: str | None = None


def horizons(
    steps: Sequence[ArrayLike],
    direct: Direct,
    *,
    farthest: int = 8,
    level: float = 0.95,
    progress: Progress = lambda done, total: None,
    threads: int | None = 1,
) -> Horizons:
    """Compare the table of layers n steps apart with the one that the chain of order 1 implies.

    The implied distribution of X_l+n given X_l is the product of the one-step matrices. Both sides take the
    distribution r_l of the source from the n-step table itself, so that the target's distribution agrees too wherever
    no choice is missing, and the difference of the informations is one of dependence alone. All estimates are centred
    by the delete-group jackknife, whose replicates leave a group out of the n-step table and of every step at once. A
    discrepancy of 0 is the end of the range, so that its interval is no test: use `p_clustered`. With many tokens any
    chain is rejected: read the bits beside the p-value.

    Parameters
    ----------
    steps
        Whole counts `[group, source, target]` of neighbouring layers, one per gap, in order of depth; the same groups
        of whole documents in all. Groups are taken as independent; tokens within a group need not be.
    direct
        The same for layers two or more apart, by their places: a mapping from (i, j), or a function of i and j. It is
        called once for each pair, in order of i, then j, and no table is kept, so that a function can save memory.
    farthest
        The largest n; the depth where that is less.
    level
        Of confidence.
    progress
        Called with (tables done, tables in all).
    threads
        Tables measured at a time, beside the chain that is followed; None: as many as there are cores.

    Returns
    -------
    Horizons
        The work grows with groups * states**3; for wide tables groups are merged (see `merge_groups`).

    Raises
    ------
    RoutestatError
        For tables that are not such counts, do not chain up or have other groups, a pair that is missing, or no
        sensible `farthest` or `level`.

    References
    ----------
    Anderson & Goodman (1957), Statistical inference about Markov chains. Ann. Math. Stat. 28.
    """
    if farthest < 2 or not 0 < level < 1:
        raise RoutestatError(
            f"expected farthest of 2 or more and a level between 0 and 1, got {farthest} and {level}"
        )
    tables = _checked(steps)
    table_of = direct if callable(direct) else lambda i, j: direct[i, j]
    furthest = min(farthest, len(tables))
    merged = merge_groups(tables)
    found = _Findings(len(tables), furthest, len(merged.starts))
    ready: dict[int, ImpliedSteps] = {}
    total, done = sum(min(furthest, len(tables) - l) for l in range(len(tables))), 0
    waiting: deque[tuple[int, int, Future[HorizonTable]]] = deque()
    at_once = threads or os.cpu_count() or 1
    with thread_pool(at_once) as pool:
        for start in range(len(tables)):
            implied: ImpliedSteps | None = None
            for n in range(1, min(furthest, len(tables) - start) + 1):
                end = start + n
                progress(done, total)
                if end - 1 not in ready:
                    ready[end - 1] = one_step(merged.of_table(tables[end - 1]))
                implied = ready[end - 1] if implied is None else followed_by(implied, ready[end - 1])
                shape = tables[start].shape[:2] + tables[end - 1].shape[2:]
                ends = tables[start] if n == 1 else _table(table_of, start, end, shape)
                waiting.append((start, n, pool.submit(measure_table, n, merged.of_table(ends), implied)))
                # Few tables wait, as each is large; they are added in order, whichever is done first.
                while len(waiting) > at_once:
                    found.add(*waiting.popleft())
                done += 1
            ready.pop(start)
        while waiting:
            found.add(*waiting.popleft())
    progress(total, total)
    return found.result(level, len(merged.order))


def _checked(steps: Sequence[ArrayLike]) -> list[NDArray[np.integer]]:
    tables = [whole_counts(step, "steps") for step in steps]
    for place, table in enumerate(tables):
        before = tables[max(place - 1, 0)].shape
        fits = table.ndim == 3 and (not place or (table.shape[0], table.shape[1]) == (before[0], before[2]))
        if not fits:
            raise RoutestatError(
                "steps: expected [group, source, target] of the same groups, each as long as the one before is wide, "
                f"got {table.shape} at place {place}; count neighbouring layers alike"
            )
    return tables


def _table(
    table_of: Callable[[int, int], ArrayLike], start: int, end: int, shape: tuple[int, ...]
) -> NDArray[np.integer]:
    try:
        table = whole_counts(table_of(start, end), "direct")
    except KeyError:
        raise RoutestatError(
            f"direct: expected the table of the layers at places {start} and {end}, got none; count every pair that far"
        ) from None
    if table.shape != shape:
        raise RoutestatError(
            f"direct: expected {shape} for the layers at places {start} and {end}, got {table.shape}; "
            "count the same groups as the steps"
        )
    return table


class _Findings:
    """Estimates, replicates and tests, table by table."""

    def __init__(self, starts: int, furthest: int, n_merged: int) -> None:
        shape = (starts, furthest)
        self.whole = np.full((4, *shape), math.nan)
        self.left_out = np.full((4, *shape, n_merged), math.nan)
        self.size = np.zeros((*shape, n_merged))
        self.tests = np.full((3, *shape), math.nan)
        self.sums = [ImpliedScores(np.zeros((n_merged, n_merged)), 0.0) for _ in range(furthest)]
        self.scored = np.zeros(furthest, np.int64)
        self.reasons: dict[tuple[int, int], str] = {}
        self.scarce: dict[tuple[int, int], str] = {}
        self.tested: list[tuple[ScoreTest, float]] = []

    def add(self, start: int, n: int, measured: Future[HorizonTable]) -> None:
        at, one = (start, n - 1), measured.result()
        self.size[at], self.whole[:, *at], self.left_out[:, *at] = one.size, one.whole, one.left_out
        if one.scarce:
            self.scarce[start, n] = one.scarce
        if one.reason:
            self.reasons[start, n] = one.reason
        if one.scores is not None and one.test is not None:
            sums, scores, test = self.sums[n - 1], one.scores, one.test
            self.sums[n - 1] = ImpliedScores(sums.gram + scores.gram, sums.bias + scores.bias)
            self.scored[n - 1] += 1
            self.tests[:, *at] = test.p, test.log10_p, test.nu
            self.tested.append((test, scores.bias))

    def result(self, level: float, groups: int) -> Horizons:
        steps, n_merged = self.whole.shape[2], self.size.shape[2]
        each = [
            jackknife_each(f, left, self.size, level)
            for f, left in zip(self.whole, self.left_out, strict=True)
        ]
        means = [self._means(figure, level) for figure in range(4)]
        nan = math.nan
        combined_p, every = np.full((2, steps), nan), (nan, nan)
        if steps > 1:
            together = ImpliedScores(
                np.sum([s.gram for s in self.sums], axis=0), sum(s.bias for s in self.sums)
            )
            # Without any table the scores would be zero, and the chain would seem certain.
            filled = [n for n in range(1, steps) if self.scored[n]]
            for n in filled:
                test = score_test(self.sums[n].gram, self.sums[n].bias)
                combined_p[:, n] = test.p, test.log10_p
                self.tested.append((test, self.sums[n].bias))
            if filled:
                whole = score_test(together.gram, together.bias)
                every = whole.p, whole.log10_p
                self.tested.append((whole, together.bias))
        sparse = _sparse(each[0], each[2])
        notes = [text for text in (few_groups(groups), self._rough(), sparse) if text]
        return Horizons(
            horizons=tuple(range(1, steps + 1)),
            direct_bits=each[0], chain_bits=each[1], difference_bits=each[2], discrepancy_bits=each[3],
            p_clustered=read_only(self.tests[0]), log10_p_clustered=read_only(self.tests[1]),
            nu=read_only(self.tests[2]), n_tokens=read_only(self.size.sum(axis=2).astype(np.int64)),
            mean_direct_bits=means[0], mean_chain_bits=means[1], mean_difference_bits=means[2],
            mean_discrepancy_bits=means[3], p_combined=read_only(combined_p[0]),
            log10_p_combined=read_only(combined_p[1]), p_all=every[0], log10_p_all=every[1],
            n_groups=groups, n_replicates=n_merged, level=level, reasons=self.reasons,
            scarce=self.scarce, reason=_reason(steps, groups), note="; ".join(notes) or None, sparse=sparse,
        )  # fmt: skip

    def _rough(self) -> str | None:
        """Return a caution where the bias removed by `implied_scores` exceeds the test's standard deviation."""
        rough = sum(bias * math.sqrt(test.nu / 2.0) > test.trace for test, bias in self.tested)
        return (
            "few tokens for the states: the bias of estimated transitions exceeds the standard deviation in "
            f"{rough} of {len(self.tested)} tests, whose p may be too small"
            if rough
            else None
        )

    def _means(self, figure: int, level: float) -> Estimates:
        columns = []
        for n in range(self.whole.shape[2]):
            known = np.isfinite(self.whole[figure, :, n])
            whole, left_out = self.whole[figure, known, n], self.left_out[figure, known, n]
            weights = np.full(len(whole), 1.0 / max(1, len(whole)))
            columns.append(jackknife_sum(whole, left_out, self.size[known, n], weights, level))
        return Estimates.stack(columns)


def _sparse(*figures: Estimates) -> str | None:
    """Return a caution where the jackknife's correction is so large that the remaining bias may dominate."""
    off = [abs(band.plugin - band.value)[np.isfinite(band.value)] for band in figures]
    most = max((float(each.max()) for each in off if each.size), default=0.0)
    if most <= LARGE_BIAS:
        return None
    return (
        f"plug-in information was off by up to {most:.2g} bits: with so few tokens for the states the jackknife "
        "leaves a part of that"
    )


def _reason(steps: int, groups: int) -> str | None:
    if steps < 2:
        return f"{steps + 1 if steps else 0} layers: no two of them are more than one step apart"
    if groups == 0:
        return "no tokens"
    return too_few(np.ones(groups))
