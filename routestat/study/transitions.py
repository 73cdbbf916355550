"""The table of one transition, cell by cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.tables import Floats, adjusted_residuals, conditional, joint, lift
from routestat.study.layer_pairs import LayerPair


@dataclass(frozen=True)
class TransitionTable:
    """Probabilities and residuals of a transition; NaN in empty rows and columns.

    Attributes
    ----------
    counts : int array ``[source, target]``
    row_tokens : int array ``[source]``
        Tokens with this source.
    source_shares : float array ``[source]``
        P(source).
    joint, conditional, lift : float array ``[source, target]``
        P(source, target); P(target | source); P(source, target) / (P(source) P(target)).
    residuals : float array ``[source, target]``
        Adjusted residuals, which take tokens as independent; NaN in the expert view.
    z, log10_q : float array ``[source, target]``, optional
        Clustered tests of the cells, where there are any.
    """

    counts: NDArray[np.int64]
    row_tokens: NDArray[np.int64]
    source_shares: Floats
    joint: Floats
    conditional: Floats
    lift: Floats
    residuals: Floats
    z: Floats | None
    log10_q: Floats | None


def transition_table(pair: LayerPair, states: str) -> TransitionTable | None:
    """Compute all cells of a transition; None without tokens.

    Parameters
    ----------
    pair : LayerPair
    states : {"subset", "expert"}
    """
    counts = pair.table
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    if not counts.any():
        return None
    used = np.ix_(rows > 0, columns > 0)

    def spread(values: Floats, cells: tuple[NDArray[np.int64], ...] = used) -> Floats:
        full = np.full(counts.shape, np.nan)
        full[cells] = values
        return full

    z = log10_q = None
    if pair.cells is not None and not pair.cells.reason:
        tested = np.ix_(pair.cells.rows, pair.cells.columns)
        z, log10_q = spread(pair.cells.z, tested), spread(pair.cells.log10_q, tested)
    unknown = np.full((np.count_nonzero(rows), np.count_nonzero(columns)), np.nan)
    return TransitionTable(
        counts=counts,
        row_tokens=rows if states == "subset" else rows // pair.target.top_k,
        source_shares=rows / rows.sum(),
        joint=spread(joint(counts)),
        conditional=spread(conditional(counts)),
        lift=spread(lift(counts)),
        residuals=spread(adjusted_residuals(counts) if states == "subset" else unknown),
        z=z,
        log10_q=log10_q,
    )
