"""The table of pairs of a history's features per fold of documents, and ridge regression from it alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from routestat.counting.kernels.one_hot import add_common_bits, add_pairs, pack
from routestat.errors import RoutestatError
from routestat.forecast.history import Block, History
from routestat.inference.base.tables import Floats
from routestat.progress import in_threads

#: Features from which ridges are fitted in single precision, as long as what that rounds away is below `ROUNDED`
#: tokens, which is far below any penalty: predictions change by about 10⁻⁴ at most.
WIDE, ROUNDED = 1024, 0.5
# Whole numbers below this are exact in single precision.
_EXACT = 1 << 24
#: Pairs of features for each pair of slots below which bits are counted, and the words that one step of it takes.
_BITS, _WORDS = 100, 32


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

    @cached_property
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

    @cached_property
    def total(self) -> Floats:
        """The pairs of all folds together, in the precision of the fits; see `WIDE`."""
        whole = self.pairs.sum(axis=0, dtype=np.float64)
        rounded = float(whole.diagonal()[1:].max(initial=0.0)) * len(whole) ** 0.5 / _EXACT
        narrow = len(whole) > WIDE and rounded < ROUNDED and whole[0, 0] < _EXACT
        return whole.astype(np.float32) if narrow else whole

    def without(self, out: Sequence[int]) -> "PairsWithout":
        """Return the pairs of all folds but some."""
        return PairsWithout(self, tuple(out))

    def whole(self) -> "Gram":
        """Return the table of all folds together as a single one, in double precision."""
        return Gram(self.names, self.sizes, self.pairs.sum(axis=0, dtype=np.float64)[None])


@dataclass(frozen=True, eq=False)
class PairsWithout:
    """Pairs of all folds of a table but some, part by part as they are needed.

    Attributes
    ----------
    gram : Gram
    out : tuple of int
    """

    gram: Gram
    out: tuple[int, ...]

    @property
    def tokens(self) -> float:
        """How many tokens the folds have."""
        return float(self.block(slice(0, 1), slice(0, 1))[0, 0])

    def block(self, rows: slice | NDArray[np.int64], columns: slice | NDArray[np.int64]) -> Floats:
        """Return the pairs of some features with some others, stored by columns, as LAPACK needs them."""
        # The table is symmetric: rows of it are columns.
        index = (
            (columns, rows)
            if isinstance(rows, slice) and isinstance(columns, slice)
            else _cross(columns, rows)
        )
        found = np.array(self.gram.total[index], order="C")
        for fold in self.out:
            found -= self.gram.pairs[fold][index]
        return found.T


def _cross(
    rows: slice | NDArray[np.int64], columns: slice | NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, two = (np.arange(x.start, x.stop) if isinstance(x, slice) else x for x in (rows, columns))
    return one[:, None], two[None, :]


def count_gram(history: History, threads: int | None = None) -> Gram:
    """Count every pair of features in every fold.

    Pairs of two blocks of the previous token are those of the same blocks of the token itself, without the tokens that
    no other follows: they are not counted again.
    """
    n = history.offsets[-1]
    largest = int(np.diff(history.bounds).max(initial=0))
    pairs = np.zeros((history.n_folds, n, n), np.float32 if largest < _EXACT else np.float64)
    again, ends = _repeated(history), _ends(history)
    in_threads(
        [partial(_count_fold, history, ends, again, pairs[fold], fold) for fold in range(len(pairs))], threads
    )
    return Gram(tuple(b.name for b in history.blocks), tuple(b.size for b in history.blocks), pairs)


def _repeated(history: History) -> dict[int, int]:
    """Return the block of the token itself for each block of the previous token."""
    return {
        at: history.places[block.name.removeprefix("previous ")]
        for at, block in enumerate(history.blocks)
        if block.name.startswith("previous ")
    }


def _ends(history: History) -> History:
    """Return the rows that are no row's previous token."""
    start = history.block("no previous token").members[:, 0] == 0
    followed = np.zeros(int(history.rows.max(initial=0)) + 2, bool)
    followed[history.rows[~start] - 1] = True
    return history.take(np.flatnonzero(~followed[history.rows]))


def _count_fold(history: History, ends: History, again: dict[int, int], pairs: Floats, fold: int) -> None:
    """Count every block with itself and those after it, then fill in the rest."""
    offsets = history.offsets
    start, stop = history.bounds[fold : fold + 2].tolist()
    first, last = ends.bounds[fold : fold + 2].tolist()
    bits = [_bits(block, start, stop) if _dense(block, block) else None for block in history.blocks]
    for at, mine in enumerate(history.blocks):
        for to in range(at, len(history.blocks)):
            other = history.blocks[to]
            if at in again and to in again:
                # What no token follows; subtracted later from the pairs of the blocks themselves.
                one, two = (ends.blocks[again[place]].members for place in (at, to))
                add_pairs(one, two, first, last, offsets[at], offsets[to], pairs)
                continue
            left, right = bits[at], bits[to]
            if left is not None and right is not None:
                add_common_bits(left, right, offsets[at], offsets[to], pairs)
            else:
                add_pairs(mine.members, other.members, start, stop, offsets[at], offsets[to], pairs)
    _copy_repeated(history, again, pairs)


def _dense(one: Block, two: Block) -> bool:
    """Whether comparing all tokens of all features, 64 at a time, is faster than counting token by token."""
    return one.size * two.size < _BITS * (one.members.shape[1] * two.members.shape[1] + 1)


def _bits(block: Block, start: int, stop: int) -> NDArray[np.uint64]:
    words = -(-(stop - start) // 64)
    bits = np.zeros((block.size, words + -words % _WORDS), np.uint64)
    pack(block.members, start, stop, bits)
    return bits


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
        raise RoutestatError(
            f"features: expected each block once and not the target {target!r}, got {features}"
        )
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
