"""The counts that a posterior of the chain rests on, checked: of the same groups, and chained up."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.tables import whole_counts


def chain_counts(
    first: ArrayLike, tables: Sequence[ArrayLike], triples: Sequence[Strata], states: str = "subset"
) -> tuple[NDArray[np.integer], tuple[NDArray[np.integer], ...]]:
    """The first layer's counts `[group, target]` and the tables `[group, source, target]`, as whole numbers.

    Parameters
    ----------
    first, tables, triples
        As in `full_bayes`.
    states
        "subset", or the view that is refused.

    Raises
    ------
    RoutestatError
        For the expert view, fewer than two layers, arrays that do not chain up, no tokens.
    """
    if states != "subset" or any(strata.slots != (1, 1) for strata in triples):
        raise RoutestatError(
            "full Bayes needs the state view: the k·k cells of a token are no independent draws"
        )
    if not tables:
        raise RoutestatError("full Bayes wants two layers or more, got one; choose more layers")
    if len(triples) != len(tables) - 1:
        raise RoutestatError(
            "full Bayes wants a table per gap and a triple per three layers, got "
            f"{len(tables)} tables and {len(triples)} triples"
        )
    start, *counts = (whole_counts(item, "counts") for item in (first, *tables))
    if start.ndim != 2 or any(table.ndim != 3 for table in counts):
        raise RoutestatError("full Bayes wants counts [group, target] and tables [group, source, target]")
    _chained_up(start, counts, triples)
    scored = any(strata.n_tokens for strata in triples) if triples else counts[0].any()
    if not scored or not start.any():
        few = min(len(counts) + 1, 3)
        raise RoutestatError(
            f"full Bayes wants tokens with a choice at {few} layers in a row, got none; choose other layers"
        )
    return start, tuple(counts)


def _chained_up(
    start: NDArray[np.integer], counts: Sequence[NDArray[np.integer]], triples: Sequence[Strata]
) -> None:
    widths = [start.shape[1], *(table.shape[2] for table in counts)]
    groups = {len(start), *(len(table) for table in counts), *(strata.n_groups for strata in triples)}
    sources = [table.shape[1] for table in counts]
    ends = [(strata.n_source, strata.n_target) for strata in triples]
    if (
        len(groups) > 1
        or sources != widths[:-1]
        or ends != list(zip(widths[:-2], widths[2:], strict=True))
        or any(strata.n_strata > width for strata, width in zip(triples, widths[1:-1], strict=True))
    ):
        raise RoutestatError(
            "full Bayes wants tables of the same groups, each as long as the one before is wide"
        )


def part_used(tables: Sequence[NDArray[np.integer]], triples: Sequence[Strata]) -> str:
    """What part of the tokens the triples hold, in words; empty if all."""
    if not triples:
        return ""
    kept, most = [strata.n_tokens for strata in triples], max(int(table.sum()) for table in tables)
    low, high = min(kept), max(kept)
    if low == most:
        return ""
    tokens = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return (
        f"on {tokens} of {most:,} tokens: those with a known choice at three layers in a row, where a trace is "
        "large in as many documents as fit into memory"
    )
