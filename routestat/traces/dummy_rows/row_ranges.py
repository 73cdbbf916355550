"""Ranges of rows that are no measurements, found from the runs of a trace."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.traces.dummy_rows.few_choices import phase_is_handful
from routestat.traces.dummy_rows.not_measured import KINDS, RANGE
from routestat.traces.dummy_rows.row_features import LayerLevels
from routestat.traces.dummy_rows.row_runs import RowRuns
from routestat.traces.dummy_rows.suspicious_runs import EDGE, LEAST_DOCUMENTS, PHASE, STUCK, ZEROS, suspicious
from routestat.traces.metadata import Router

# A layer with one choice is reported if so many of its rows, at least so many, would differ in other layers.
LEAST_DIFFERING, LEAST_ROWS = 10.0, 32


# A phase is not measured at all if this share of its rows are dummy rows.
MOST_OF_A_PHASE = 0.95


def find_rows(found: RowRuns) -> NDArray[np.void]:
    """Find the dummy rows, as ranges ``[range]`` of `RANGE`."""
    runs, kind = found.runs, suspicious(found)
    at = np.flatnonzero(kind != "")
    rows, first, last = runs["row"][at], runs["first"][at], runs["last"][at]
    n, document, decode = runs["n"][at], runs["document"][at], runs["phase"][at] == 1
    named = kind[at]
    both = bool((found.n_phase > 0).all())
    if both and phase_is_handful(found):
        whole, kept = found.segments[found.segments["phase"] == 1], ~decode
        document = np.append(document[kept], whole["document"])
        first, last = np.append(first[kept], whole["first"]), np.append(last[kept], whole["last"])
        rows, n = np.append(rows[kept], whole["row"]), np.append(n[kept], whole["n"])
        named = np.append(named[kept], np.full(len(whole), PHASE))
    elif both and MOST_OF_A_PHASE * found.n_phase[1] <= n[decode].sum() <= 2 * found.n_phase[1]:
        # Runs mostly of prompts that continue in the few rows of the answers are padding.
        named[decode & (named != ZEROS)] = PHASE
    order = np.argsort(rows, kind="stable")
    rows, n, named = rows[order], n[order], named[order]
    ranges = np.zeros(len(order), RANGE)
    ranges["document"], ranges["rows"] = document[order], n
    ranges["first"], ranges["last"] = first[order], last[order]
    ranges["place"] = _places(found, rows, n)
    opening = (ranges["place"] == 0) & (_block_starts(rows, n, _opens(found, rows)) == 0)
    # Rows that other documents begin with as well are padding in the first document, too.
    alone = np.count_nonzero((ranges["place"] == 0) & ~opening & (named == EDGE)) < LEAST_DOCUMENTS
    named[opening & np.isin(named, (EDGE, STUCK) if alone else STUCK)] = KINDS[0]
    ranges["kind"] = [KINDS.index(name) for name in named.tolist()]
    return ranges


def _opens(found: RowRuns, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of the document of each row."""
    first = found.runs["row"][found.runs["opens"]]
    return np.asarray(first[np.searchsorted(first, rows, side="right") - 1])


def _block_starts(
    rows: NDArray[np.int64], n: NDArray[np.int64], opens: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the first row of the block of adjacent ranges of one document that each range is in."""
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (rows[1:] != rows[:-1] + n[:-1]) | (opens[1:] != opens[:-1])
    return np.asarray(rows[np.flatnonzero(fresh)[np.cumsum(fresh) - 1]]) if len(rows) else rows


def _places(found: RowRuns, rows: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return whether ranges reach the start or the end of their documents, alone or with adjacent ones."""
    if not len(rows):
        return np.empty(0, np.int8)
    opens = _opens(found, rows)
    start = _block_starts(rows, n, opens)
    first = np.append(found.runs["row"][found.runs["opens"]], found.n_phase.sum())
    closes = first[np.searchsorted(first, rows, side="right")]
    # The end of a block is that of its last range.
    last = np.append(np.flatnonzero(start[1:] != start[:-1]), len(rows) - 1)
    ends = (rows + n)[last][np.searchsorted(last, np.arange(len(rows)))]
    return np.where(start == opens, 0, np.where(ends == closes, 1, 2)).astype(np.int8)


def constant_layers(levels: LayerLevels, routers: Sequence[Router]) -> tuple[int, ...]:
    """Return layers with one choice in all rows, if the others vary."""
    return measured_layers(
        levels, [router.layer for router in routers], [router.alphabet.size > 1 for router in routers]
    )


def measured_layers(
    levels: LayerLevels, layers: Sequence[int], has_choice: bool | Sequence[bool]
) -> tuple[int, ...]:
    """Do the same for layers by number; `has_choice` is whether they have more than one subset."""
    choice = [has_choice] * len(layers) if isinstance(has_choice, bool) else has_choice
    constant = [levels.constant(place) is not None for place in range(len(layers))]
    if all(constant) or not any(constant):
        return ()
    shares = [levels.most_frequent(place) for place, same in enumerate(constant) if not same]
    differing = levels.rows * (1.0 - max(shares))
    return tuple(
        layer
        for layer, some, same, rows, others in zip(
            layers, choice, constant, levels.rows, differing, strict=True
        )
        if some and same and rows >= LEAST_ROWS and others >= LEAST_DIFFERING
    )
