"""The table of pairs of a history's features per fold of documents, and ridge regression from it alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from scipy import linalg

from routestat.counting.kernels.one_hot import add_pairs
from routestat.errors import RoutestatError
from routestat.forecast.history import History
from routestat.inference.base.tables import Floats
from routestat.progress import in_threads


@dataclass(frozen=True, eq=False)
class Gram:
    """How many tokens have each pair of features.

    Attributes
    ----------
    names : tuple of str
        Of the blocks of features, in order; the first is the constant.
    sizes : tuple of int
        Features of each.
    pairs : float array ``[fold, feature, feature]``
        Symmetric whole numbers; single precision holds them as long as a fold has fewer than 2²⁴ tokens.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    pairs: Floats

    @property
    def offsets(self) -> tuple[int, ...]:
        """First feature of each block, and the end of the last."""
        return tuple(accumulate(self.sizes, initial=0))

    def span(self, name: str) -> slice:
        """Return the features of a block.

        Raises
        ------
        RoutestatError
            For a name that no block has.
        """
        if name not in self.names:
            raise RoutestatError(f"features: expected one of {', '.join(self.names)}, got {name!r}")
        at = self.names.index(name)
        return slice(self.offsets[at], self.offsets[at + 1])

    def whole(self) -> "Gram":
        """Return the table of all folds together as a single one, in double precision."""
        return Gram(self.names, self.sizes, self.pairs.sum(axis=0, dtype=np.float64)[None])


def count_gram(history: History, threads: int | None = None) -> Gram:
    """Count every pair of features in every fold.

    Pairs of two blocks of the previous token are those of the same blocks of the token itself, without the tokens that
    no other follows: they are not counted again.
    """
    n = history.offsets[-1]
    largest = int(np.diff(history.bounds).max(initial=0))
    pairs = np.zeros((history.n_folds, n, n), np.float32 if largest < 1 << 24 else np.float64)
    again, ends = _repeated(history), _ends(history)
    jobs = [
        partial(_count_rows, history, ends, again, pairs[fold], fold, at)
        for fold in range(history.n_folds)
        for at in range(len(history.blocks))
    ]
    in_threads(jobs, threads)
    in_threads([partial(_copy_repeated, history, again, pairs[fold]) for fold in range(history.n_folds)], threads)
    return Gram(tuple(b.name for b in history.blocks), tuple(b.size for b in history.blocks), pairs)


def _repeated(history: History) -> dict[int, int]:
    """Return the block of the token itself for each block of the previous token."""
    return {
        at: history.place(block.name.removeprefix("previous "))
        for at, block in enumerate(history.blocks)
        if block.name.startswith("previous ")
    }


def _ends(history: History) -> History:
    """Return the rows that are no row's previous token."""
    start = history.blocks[history.place("no previous token")].members[:, 0] == 0
    followed = np.zeros(int(history.rows.max(initial=0)) + 2, bool)
    followed[history.rows[~start] - 1] = True
    return history.take(np.flatnonzero(~followed[history.rows]))


def _count_rows(history: History, ends: History, again: dict[int, int], pairs: Floats, fold: int, at: int) -> None:
    """Count one block with itself and those after it: the rows of the table that are its features."""
    offsets = history.offsets
    start, stop = history.bounds[fold : fold + 2].tolist()
    first, last = ends.bounds[fold : fold + 2].tolist()
    mine = history.blocks[at]
    for to in range(at, len(history.blocks)):
        both = again.get(at, -1), again.get(to, -1)
        if min(both) < 0:
            add_pairs(mine.members, history.blocks[to].members, start, stop, offsets[at], offsets[to], pairs)
        else:
            # What is not followed by a token; subtracted later from the pairs of the blocks themselves.
            one, two = (ends.blocks[place].members for place in both)
            add_pairs(one, two, first, last, offsets[at], offsets[to], pairs)


def _copy_repeated(history: History, again: dict[int, int], pairs: Floats) -> None:
    offsets, n = history.offsets, len(pairs)
    spans = [slice(offsets[at], offsets[at + 1]) for at in range(len(history.blocks))]
    for at, to in ((a, b) for a in again for b in again if b >= a):
        one, two = sorted((again[at], again[to]))
        whole = pairs[spans[one], spans[two]]
        pairs[spans[at], spans[to]] = (whole if one == again[at] else whole.T) - pairs[spans[at], spans[to]]
    for start in range(0, n, 256):
        stop = min(start + 256, n)
        pairs[stop:, start:stop] = pairs[start:stop, stop:].T
        square = pairs[start:stop, start:stop]
        square[:] = np.triu(square) + np.triu(square, 1).T


def ridge_weights(gram: Gram, features: Sequence[str], target: str, penalty: float) -> Floats:
    """Fit a target block to any other blocks by ridge regression; the constant is not penalised.

    Parameters
    ----------
    gram : Gram
        All its folds together are fitted.
    features : sequence of str
        Names of blocks after the constant, which is always used. A history that lacks a layer leaves it out here.
    target : str
    penalty : float
        Above zero, in tokens.

    Returns
    -------
    float array ``[1 + feature, expert]``
        The constant first, then the features of the blocks in the order given.

    Raises
    ------
    RoutestatError
        For an unknown block, one that is used twice, or a penalty that is not above zero.
    """
    check_penalty(penalty)
    if target in features or len(set(features)) < len(features):
        raise RoutestatError(f"features: expected each block once and not the target {target!r}, got {features}")
    spans = [gram.span(name) for name in (gram.names[0], *features)]
    index = np.concatenate([np.arange(span.start, span.stop) for span in spans])
    total = gram.pairs.sum(axis=0, dtype=np.float64)
    system = total[np.ix_(index, index)]
    system.reshape(-1)[len(index) + 1 :: len(index) + 1] += penalty
    if system[0, 0] == 0.0:
        raise RoutestatError("ridge: expected a token or more, got none; record more documents")
    return np.asarray(linalg.solve(system, total[index, gram.span(target)], assume_a="pos"))


def check_penalty(penalty: float) -> None:
    """Raise a RoutestatError unless a penalty is a number above zero."""
    if not 0.0 < penalty < float("inf"):
        raise RoutestatError(f"ridge: expected a penalty above 0, got {penalty:g}; 60 tokens is a good start")


