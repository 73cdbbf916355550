"""From counts to the fitted chain."""

from collections.abc import Sequence

from routestat.counting.context import Context
from routestat.counting.counts import Counts, count
from routestat.inference.markov.chain import Chain, fit_chain
from routestat.inference.markov.second_order import MOST_CELLS, SecondOrderStep, fit_second_order
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.study.decomposition import Tick
from routestat.traces.store import Trace


def chain_of(
    counts: Counts,
    alpha: str | float,
    second: Sequence[SecondOrderStep | None] = (),
    orders: Sequence[int] = (),
) -> Chain:
    """The chain through all counted routers.

    Parameters
    ----------
    counts : Counts
        With the contexts nothing and layer −1.
    alpha : str or float
    second : sequence of SecondOrder or None
        One per gap, from `second_orders`; none for order 1 throughout.
    orders : sequence of int
        One per gap; order 1 unless told otherwise.
    """
    return fit_chain(counts, alpha=alpha, second=second, orders=orders)


def second_orders(
    trace: Trace,
    counts: Counts,
    alpha: str | float,
    wanted: Sequence[bool],
    strengths: Sequence[BackoffParameters | None] = (),
    tick: Tick = lambda what, done, total: None,
) -> tuple[SecondOrderStep | None, ...]:
    """Count and fit steps of order 2, one entry per gap; None where not wanted, or of too many states.

    Parameters
    ----------
    trace : Trace
        Read once more.
    counts : Counts
        Of the state view.
    alpha : str or float
    wanted : sequence of bool
        One per gap; the first has no layer two before.
    strengths : sequence of Strength or None
        One per gap, as held-out documents have told them; those of greatest evidence unless given.
    """
    routers = counts.routers
    sizes = [router.alphabet.size for router in routers]
    able = [
        want and gap > 0 and sizes[gap - 1] * sizes[gap] * sizes[gap + 1] <= MOST_CELLS
        for gap, want in enumerate(wanted)
    ]
    if counts.states != "subset" or not any(able):
        return (None,) * len(wanted)
    chosen = None if len(routers) == len(trace.meta.routers) else [router.layer for router in routers]
    tables = count(
        trace,
        chosen,
        contexts=[Context.layer(2, 1)],
        groups=1,
        states="subset",
        progress=lambda done, total: tick("counting two layers back", done, total),
    )
    fitted: list[SecondOrderStep | None] = []
    for gap, do in enumerate(able):
        tick("fitting order 2", gap, len(able))
        table = tables.table(Context.layer(2, 1), routers[gap + 1])[0] if do else None
        told = strengths[gap] if strengths else None
        fitted.append(None if table is None else fit_second_order(table, alpha, told))
    tick("fitting order 2", len(able), len(able))
    return tuple(fitted)
