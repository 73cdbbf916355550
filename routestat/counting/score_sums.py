"""Sums of held-out predictions, per cell of documents: every score is a ratio of two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.predictors import score_rows

#: Columns of the sums before the shares of experts found: tokens, then each score times the tokens.
SUMS = ("tokens", "exact_set", "hit_rate", "top1_hit", "bits", "brier", "recall_at_k3", "recall_at_2k")
#: Bins of the reliability curve; bin i holds the probabilities from (i / BINS)² to ((i + 1) / BINS)².
BINS = 20
#: Meaning of a predictor's scores.
LINKS = {"rank": 0, "inclusion": 1, "log-weight": 2}
#: Columns that the compiled loops fill before the ranks.
_RAW = 5


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells that sums are kept by: the tokens of one group of documents, of one phase and one domain.

    Attributes
    ----------
    group : int array ``[cell]``
    phase, domain : tuple of str
        Of each cell; a document without a domain has "".
    n_groups : int
    """

    group: NDArray[np.int64]
    phase: tuple[str, ...]
    domain: tuple[str, ...]
    n_groups: int

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.group)

    @classmethod
    def of_groups(cls, n_groups: int) -> "Cells":
        """Return one cell for each group, of one phase and no domain."""
        return cls(np.arange(n_groups), ("prefill",) * n_groups, ("",) * n_groups, n_groups)

    def by_group(
        self, values: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Sum values of cells ``[cell, ...]`` over the cells of each group ``[group, ...]``, all or the chosen ones."""
        found = np.zeros((self.n_groups, *values.shape[1:]))
        which = slice(None) if chosen is None else chosen
        np.add.at(found, self.group[which], values[which])
        return found


@dataclass(frozen=True, eq=False)
class ScoreSums:
    """Sums of one predictor at one target.

    Attributes
    ----------
    sums : float array ``[cell, SUMS + extra experts]``
        After the columns `SUMS`: the share of the k experts among the first k, k + 1, …, 4k of the predicted order.
    calibration : float array ``[cell, bin, 3]``, or None
        Experts with a predicted probability of inclusion in the bin, the sum of these probabilities, and how many of
        the experts were chosen.
    """

    sums: NDArray[np.float64]
    calibration: NDArray[np.float64] | None = None


def raw_sums(cells: int, top_k: int, calibrate: bool) -> NDArray[np.float64]:
    """Return the zeros that the compiled loops add to: 5 columns, 4k ranks, and three columns a bin."""
    return np.zeros((cells, _RAW + 4 * top_k + (3 * BINS if calibrate else 0)))


def finished(raw: NDArray[np.float64], top_k: int, n_experts: int) -> ScoreSums:
    """Turn what the compiled loops summed into shares.

    Parameters
    ----------
    raw : float array ``[cell, ...]``
        As `raw_sums` makes it: tokens, exact sets, hits, bits, squared errors of all experts; by the rank of a chosen
        expert in the predicted order, how often it had it; then the bins.
    top_k, n_experts : int
    """
    tokens, ranks = raw[:, :1], raw[:, _RAW : _RAW + 4 * top_k]
    share = np.cumsum(ranks, axis=1) / top_k
    columns = [
        tokens,
        raw[:, 1:3],
        ranks[:, :1],
        raw[:, 3:4],
        raw[:, 4:5] / n_experts,
        share[:, min(top_k + 3, 4 * top_k) - 1, None],
        share[:, 2 * top_k - 1, None],
        share[:, top_k - 1 :],
    ]
    bins = raw[:, _RAW + 4 * top_k :]
    calibration = bins.reshape(len(raw), -1, 3) if bins.shape[1] else None
    return ScoreSums(np.concatenate(columns, axis=1), calibration)


def score_matrix(
    scores: NDArray[np.floating],
    target: NDArray[np.unsignedinteger],
    cell: NDArray[np.integer],
    link: str,
    raw: NDArray[np.float64],
) -> None:
    """Add the predictions of some tokens to sums as `raw_sums` makes them.

    Parameters
    ----------
    scores : float array ``[row, expert]``
    target : int array ``[row, k]``
        The chosen experts.
    cell : int array ``[row]``
    link : {"rank", "inclusion", "log-weight"}
        A rank gives neither bits nor probabilities.
    raw : float array ``[cell, ...]``
    """
    bins = (raw.shape[1] - _RAW - 4 * target.shape[1]) // 3
    score_rows(
        np.ascontiguousarray(scores, np.float64), target, np.asarray(cell, np.int64), LINKS[link], bins, raw
    )
