"""Windows of 3 to 8 layers that more tokens take than the chain explains."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, at_most
from routestat.counting.windows import (
    LONGEST,
    SHORTEST,
    WindowCounts,
    count_windows,
    take_any,
    window_rows,
)
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.markov.window_tests import WindowTests, window_tests
from routestat.progress import Tick, silent
from routestat.structure.longest_windows import distinct, not_inside_others
from routestat.study.memory import Memory
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import Router

#: Share of the independent units that choose the windows; the others test them.
CHOOSING = 1 / 3
#: Found are windows with a q-value up to this.
LEVEL = 0.05
#: Windows on the page.
MOST_SHOWN = 50
#: Rows of whole documents at most: in the expert view a token takes many windows.
_MOST_ROWS = {"subset": 500_000, "expert": 50_000}


@dataclass(frozen=True)
class WindowFindings:
    """Frequent windows of layers against the chain of the chosen order.

    Attributes
    ----------
    states : {"subset", "expert"}
        The view: a window is one state per layer, or one expert per layer.
    routers : tuple of Router
    orders : tuple of int
        Of the chain, per gap: how many layers before a layer depends on.
    counts : WindowCounts
        Every window that was tested.
    tests : WindowTests
    found : bool array ``[window]``
        More frequent than the chain explains, q ≤ `LEVEL`.
    listed : int array
        The windows found that are not inside a longer one that was found, most tokens beyond expectation first.
    shown : int array
        Those of `listed` that share less than half of their layers with one shown before, `MOST_SHOWN` at most.
    share : Estimate
        Of the tokens that take at least one window that was found.
    note : str
        The part of the trace that was used; empty if all of it.
    reason : str
        Why no window was tested; empty if some were.
    """

    states: str
    routers: tuple[Router, ...]
    orders: tuple[int, ...]
    counts: WindowCounts
    tests: WindowTests
    found: NDArray[np.bool_]
    listed: NDArray[np.int64]
    shown: NDArray[np.int64]
    share: Estimate
    note: str = ""
    reason: str = ""

    @property
    def n_tested(self) -> int:
        """How many windows have a p-value."""
        return int(np.count_nonzero(~np.isnan(self.tests.log10_p)))


def find_windows(
    counts: Counts,
    sample: Sample,
    memory: Memory | None,
    plan: StructurePlan,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> WindowFindings | None:
    """Test frequent windows of layers against the chain.

    Parameters
    ----------
    counts : Counts
        Of which the view and the routers are used.
    sample : Sample
        Whole documents.
    memory : Memory, optional
        With the order of every gap; 1 without it, and where it has none.
    plan : StructurePlan
        Not used.
    rng : numpy.random.Generator
        Which documents choose the windows.
    tick : callable(what, done, total)
    threads : int, optional
        Not used: windows are searched in one thread.
    """
    used = at_most(sample, _MOST_ROWS[counts.states])
    orders = _orders(counts.routers, memory)
    rows = window_rows(used, counts.states, _choosing(used, rng))
    layers = len(counts.routers)
    tick("testing windows", 0, layers)
    found = count_windows(rows, orders, progress=partial(tick, "testing windows"))
    tests = window_tests(
        found.tokens,
        found.expected,
        found.square,
        found.variance,
        found.ratio_square,
        found.groups,
        found.group_tokens,
    )
    with np.errstate(invalid="ignore"):
        more = (tests.log10_q <= np.log10(LEVEL)) & (tests.z > 0)
    place = np.flatnonzero(more)
    longest = place[not_inside_others(found.start[place], found.choices[place])]
    beyond = (found.tokens - found.expected)[longest]
    listed = longest[np.argsort(-beyond, kind="stable")]
    shown = listed[distinct(found.start[listed], found.choices[listed], MOST_SHOWN)]
    on = take_any(rows, found.start[place], found.choices[place])
    testing = rows.group[rows.split :]
    share = ratio(np.bincount(testing, on), np.bincount(testing)) if len(testing) else _nothing()
    # The search ends before its last threshold where more windows would be too many.
    tick("testing windows", layers, layers)
    return WindowFindings(
        counts.states,
        counts.routers,
        orders,
        found,
        tests,
        more,
        listed,
        shown,
        share,
        used.note,
        _reason(found, tests, layers),
    )


def _orders(routers: tuple[Router, ...], memory: Memory | None) -> tuple[int, ...]:
    """Return the order of the chain in every gap; at most as many layers as there are before it."""
    layers = memory.layers if memory is not None else ()
    chosen = {item.target.name: item.over_layers.chosen for item in layers}
    orders = []
    for place, router in enumerate(routers[1:], start=1):
        order = chosen.get(router.name)
        orders.append(min(place, 1 if order is None else order))
    return tuple(orders)


def _choosing(sample: Sample, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the groups that choose the windows ``[group]``."""
    groups = np.unique(sample.group)
    chosen = np.zeros(int(groups.max(initial=0)) + 1, bool)
    chosen[rng.permutation(groups)[: round(CHOOSING * len(groups))]] = True
    return chosen


def _nothing() -> Estimate:
    return ratio(np.zeros(1), np.zeros(1))


def _reason(found: WindowCounts, tests: WindowTests, layers: int) -> str:
    if layers < SHORTEST:
        return f"{layers} layer{'' if layers == 1 else 's'}: a window has {SHORTEST} to {LONGEST}"
    if tests.reason:
        return f"the documents that test windows: {tests.reason}"
    if len(found):
        return ""
    return (
        f"no window that the chain does not determine has {found.least_tokens:,} tokens of "
        f"{found.least_documents} documents or more among those that choose windows"
    )
