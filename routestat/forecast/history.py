"""What was chosen before a token's layer, as one-hot features in named blocks.

The order of the blocks is the order in which predictors use them: the constant, token ids, the previous token's
layers, then the layers of the token itself. Targets are the last of these, so that one table of pairs of features has
everything that a regression needs. Another block is one more function that returns its members.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.traces.metadata import Router

#: Ids of at least this many tokens have a feature of their own; others share hashed ones.
FREQUENT = 8
# Knuth's multiplicative constant.
_HASH = np.uint64(2654435761)


@dataclass(frozen=True, eq=False)
class Block:
    """Features of which a token has a fixed number or none.

    Attributes
    ----------
    name : str
        ``constant``, ``token id``, ``previous token id``, ``no previous token``, a router's name, or
        ``previous`` and a router's name.
    size : int
        Number of features.
    members : int array ``[row, slot]``
        Numbers of the features of a row within the block; −1 where it has none.
    """

    name: str
    size: int
    members: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class History:
    """The features of tokens, fold by fold.

    Attributes
    ----------
    blocks : tuple of Block
    rows : int array ``[row]``
        Where these rows are among those of the board.
    bounds : int array ``[1 + fold]``
        Rows of fold f are ``bounds[f] … bounds[f + 1] − 1``.
    """

    blocks: tuple[Block, ...]
    rows: NDArray[np.int64]
    bounds: NDArray[np.int64]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First feature of each block, and the end of the last."""
        return tuple(accumulate((block.size for block in self.blocks), initial=0))

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return len(self.bounds) - 1

    @cached_property
    def places(self) -> dict[str, int]:
        """Return the place of each block by its name."""
        return {block.name: at for at, block in enumerate(self.blocks)}

    @cached_property
    def known(self) -> NDArray[np.int64]:
        """Rows of a fold that have a block ``[block, fold]``."""
        has = [np.cumsum(block.members[:, 0] >= 0) for block in self.blocks]
        return np.array([np.diff(np.append(0, rows)[self.bounds]) for rows in has])

    def block(self, name: str) -> Block:
        """Return a block by its name."""
        return self.blocks[self.places[name]]

    def take(self, chosen: NDArray[np.integer]) -> "History":
        """Return some of the rows, in ascending order."""
        bounds = np.searchsorted(chosen, self.bounds)
        blocks = tuple(replace(block, members=block.members[chosen]) for block in self.blocks)
        return History(blocks, self.rows[chosen], bounds)


def previous(name: str) -> str:
    """Return the name of the block of the previous token's choice of a router, or of its id."""
    return f"previous {name}"


def make_history(rows: BoardRows, routers: Sequence[Router], token_width: int = 0) -> History:
    """Collect the features of all rows with a known choice of any of some routers.

    Parameters
    ----------
    rows : BoardRows
    routers : sequence of Router
        Consecutive ones of the board, in order of depth.
    token_width : int
        At most so many features for token ids and as many for previous ones; 0 for none.
    """
    known = np.zeros(len(rows), bool)
    for router in routers:
        known |= rows.known(router)
    order = np.argsort(rows.fold, kind="stable")
    order = order[known[order]]
    bounds = np.searchsorted(rows.fold[order], np.arange(rows.n_folds + 1))
    blocks = [Block("constant", 1, np.zeros((len(order), 1), np.int16))]
    # A previous token without any known choice counts as none.
    usable = rows.follows & np.concatenate([[False], known[:-1]])
    before = np.where(usable, np.arange(len(rows)) - 1, -1)[order]
    if token_width:
        codes, size = token_codes(rows.token, token_width)
        blocks.append(Block("token id", size, codes[order, None]))
        blocks.append(Block(previous("token id"), size, _lagged(codes[:, None], before)))
    blocks.append(Block("no previous token", 1, np.where(before < 0, 0, -1).astype(np.int16)[:, None]))
    blocks += [Block(previous(r.name), r.n_experts, _lagged(_members(rows, r), before)) for r in routers]
    blocks += [Block(r.name, r.n_experts, _members(rows, r)[order]) for r in routers]
    return History(tuple(blocks), order, bounds)


def token_codes(token: NDArray[np.integer], width: int) -> tuple[NDArray[np.int16], int]:
    """Return numbers of token ids ``[row]`` for one-hot features, −1 where the id is not known.

    The most frequent ids, of `FREQUENT` tokens or more, have a feature of their own; the others share those that
    are left, by a hash of the id: a quarter of the `width` at most.

    Returns
    -------
    codes : int array ``[row]``
    size : int
        Number of features, no more than `width`.
    """
    ids, inverse, counts = np.unique(token, return_inverse=True, return_counts=True)
    usable = ids >= 0
    rare = int((usable & (counts < FREQUENT)).sum())
    own = min(int((usable & (counts >= FREQUENT)).sum()), width)
    if rare or own < int(usable.sum()):
        shared = max(1, min(width // 4, int(usable.sum()) - own))
        own = min(own, width - shared)
    else:
        shared = 0
    place = np.empty(len(ids), np.int64)
    order = np.argsort(np.where(usable, -counts, 1), kind="stable")
    place[order] = np.arange(len(ids))
    hashed = own + ((ids.astype(np.uint64) * _HASH >> np.uint64(8)) % np.uint64(max(shared, 1))).astype(
        np.int64
    )
    code = np.where(usable, np.where(place < own, place, hashed), -1)
    return code[inverse].astype(np.int16), max(own + shared, 1)


def _members(rows: BoardRows, router: Router) -> NDArray[np.int16]:
    experts = rows.experts(router).astype(np.int16)
    experts[rows.experts(router) == missing_of(router)] = -1
    return experts


def _lagged(members: NDArray[np.int16], before: NDArray[np.int64]) -> NDArray[np.int16]:
    found = members[np.maximum(before, 0)]
    found[before < 0] = -1
    return found


def sampled(history: History, rows: int) -> History:
    """Return about so many rows, evenly spread over every fold."""
    share = min(1.0, rows / max(len(history.rows), 1))
    # Multiples of the golden ratio are spread evenly and in phase with no length of documents.
    place = np.arange(len(history.rows)) * ((5**0.5 - 1) / 2) % 1.0
    return history.take(np.flatnonzero(place < share))


def known_share(history: History, name: str, out: Iterable[int]) -> float:
    """Return the share of the rows outside some folds that have a block."""
    kept = np.setdiff1d(np.arange(history.n_folds), list(out))
    rows = int(np.diff(history.bounds)[kept].sum())
    return int(history.known[history.places[name], kept].sum()) / rows if rows else 0.0
