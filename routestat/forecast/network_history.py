"""The features of tokens as the network reads them: those of the head together, those of each layer apart."""

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.forecast.history import Block, make_history, token_codes
from routestat.forecast.network_model import Batch

#: Features of a token's id, at most: frequent ids have one of their own.
TOKEN_WIDTH = 8192
#: Whose ids are features: of the token itself and of those before it.
TOKEN_IDS = 4


class NetworkHistory:
    """The features of all rows that have any choice.

    Parameters
    ----------
    rows : BoardRows
        Targets are all routers but the first.

    Attributes
    ----------
    features : int
        Of the head and of all layers but the last together.
    known : bool array ``[row]``
        Whether a row has the choice of a target.
    """

    def __init__(self, rows: BoardRows) -> None:
        self._rows, self._targets = rows, rows.routers[1:]
        history = make_history(rows, rows.routers)
        names = {router.name for router in rows.routers}
        self._head = [block for block in history.blocks[1:] if block.name not in names]
        self._head += _token_ids(rows, history.rows) if rows.has_token_ids else []
        self._layers = [block for block in history.blocks if block.name in names][:-1]
        sizes = [block.size for block in (*self._head, *self._layers)]
        self._offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        self.features = sum(sizes)
        self._place = np.full(len(rows), -1)
        self._place[history.rows] = np.arange(len(history.rows))
        self.known = np.any([rows.known(target) for target in self._targets], axis=0)
        self._head_slots = float(sum((b.members >= 0).mean() * b.members.shape[1] for b in self._head))

    def batch(self, chosen: NDArray[np.integer], start: NDArray[np.floating]) -> Batch:
        """Return some rows that have any choice, with the log weights that they start from."""
        place = self._place[chosen]
        slots = max(block.members.shape[1] for block in self._layers)
        layers = np.full((len(chosen), len(self._layers), slots), self.features, np.int32)
        for at, block in enumerate(self._layers):
            found = self._numbered(block, len(self._head) + at, place)
            layers[:, at, : found.shape[1]] = found
        head = [self._numbered(block, at, place) for at, block in enumerate(self._head)]
        return Batch(np.concatenate(head, axis=1), layers, start, self._chosen(chosen))

    def multiply_adds(self, target: int, width: int) -> float:
        """Return the multiply-adds of a token for a target, with its share of the head."""
        router, block = self._targets[target], self._layers[target]
        shared = self._head_slots / len(self._targets) + block.members.shape[1]
        return width * (shared + width + 2 * router.n_experts)

    def _numbered(self, block: Block, at: int, place: NDArray[np.integer]) -> NDArray[np.int32]:
        members = block.members[place].astype(np.int32)
        return np.where(members < 0, self.features, members + self._offsets[at]).astype(np.int32)

    def _chosen(self, rows: NDArray[np.integer]) -> NDArray[np.int16]:
        found = np.full((len(rows), len(self._targets), max(r.top_k for r in self._targets)), -1, np.int16)
        for at, target in enumerate(self._targets):
            experts = self._rows.experts(target)[rows]
            known = experts[:, 0] != missing_of(target)
            found[known, at, : target.top_k] = experts[known]
        return found


def _token_ids(rows: BoardRows, chosen: NDArray[np.integer]) -> list[Block]:
    """Return the ids of some tokens and of those before them, each as a block."""
    codes, size = token_codes(rows.token, TOKEN_WIDTH)
    found = []
    for lag in range(TOKEN_IDS):
        found.append(Block(f"token id {lag} before", size, codes[chosen, None]))
        codes = np.where(rows.follows, np.roll(codes, 1), np.int16(-1))
    return found
