"""tables/transition-*.csv: the cells of a transition in which tokens are, or should be."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.report.records.plain import subset_words
from routestat.study.layer_pairs import LayerPair
from routestat.study.transitions import TransitionTable, transition_table

#: A cell without tokens is listed where their absence is found at this level, corrected for all cells of the table.
FOUND = 0.05


def transition_columns(pair: LayerPair, states: str) -> dict[str, NDArray[Any]] | None:
    """Return the listed cells of a transition column by column ``[cell]``, None where it has no tokens.

    Listed are the cells with tokens, and those whose tokens are significantly missing (`FOUND`). The others of a used
    source and target have count 0, and so joint, conditional and lift 0.
    """
    found = transition_table(pair, states)
    if found is None:
        return None
    i, j = np.nonzero(_listed(found))
    columns: dict[str, NDArray[Any]] = {"source": i, "target": j}
    if states == "subset":
        for name, router, own in (("source", pair.source, i), ("target", pair.target, j)):
            columns[f"{name}_experts"] = np.array(subset_words(router))[own]
    tests = {"z_clustered": found.z, "log10_q_clustered": found.log10_q}
    return columns | {
        "count": found.counts[i, j],
        "row_tokens": found.row_tokens[i],
        "joint": found.joint[i, j],
        "conditional": found.conditional[i, j],
        "lift": found.lift[i, j],
        "adjusted_residual_iid": found.residuals[i, j],
        **{name: values[i, j] for name, values in tests.items() if values is not None},
    }


def _listed(found: TransitionTable) -> NDArray[np.bool_]:
    listed = found.counts > 0
    # Comparisons with NaN, where a cell was not tested, are false.
    return listed if found.log10_q is None else listed | (found.log10_q <= math.log10(FOUND))
