"""A ridge that is corrected by its own errors for tokens with a similar history, for traces without token ids.

With r the prediction of a ridge on everything before (see `routestat.forecast.left_out_ridges`), expert e of a layer
has ::

    r(e) + Σ_s w_s ([e chosen by s] − r_s(e)) / (Σ_s w_s + c),    log w_s = γ (B_s + p A_s − NEUTRAL − p MIDDLE)

B is the mean share of experts in common over the layers so far, with weights that fall by `KEPT` per layer; A is that
of the tokens before, over all layers alike. Weights below exp(`LEAST`) count as none. Candidates are tokens of other
folds, and the latest earlier ones of the same document; γ, p and c are chosen for each fold on its partner.

The errors of candidates are those on documents that their ridge was not fitted to, as are the errors to be corrected:
for a pair of folds that are each other's partners, the ridge has seen neither, and the ridges of candidates in turn
neither that pair nor their own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.similar_tokens import correct_by_history
from routestat.forecast.left_out_ridges import LeftOutRidges
from routestat.forecast.packed_choices import packed_choices
from routestat.forecast.ridge_search import partners
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.tables import Floats
from routestat.progress import in_threads
from routestat.traces.metadata import Router

#: Constants that are chosen, with their candidates; the first is where the search begins.
TRIED = {"gamma": (16.0, 12.0, 21.0), "strength": (0.3, 0.1, 1.0), "previous": (0.25, 0.12, 0.5)}
KEPT, NEUTRAL, MIDDLE, LEAST = 0.85, 0.75, 0.5, -4.0
#: Folds that are needed: two pairs, and one to fit to.
LEAST_FOLDS = 5
#: Candidates from other folds, at most, and so many that they times rows and layers are no more than this.
CANDIDATES, WORK = 32_768, 5e10
#: Earlier tokens of the document that are candidates.
EARLIER = 1024
# Knuth's multiplicative constant.
_HASH = np.uint64(2654435761)


class SameHistory:
    """Corrected ridges, for the rows of a board with `LEAST_FOLDS` or more.

    Parameters
    ----------
    rows : BoardRows
    plan : BoardPlan
    """

    tried = TRIED
    trial_rows = 48

    def __init__(self, rows: BoardRows, plan: BoardPlan) -> None:
        self._rows, self._threads = rows, plan.threads
        of = partners(rows.n_folds)
        self._pair = [frozenset((fold, of[fold])) for fold in range(rows.n_folds)]
        own = {self._pair[fold] for fold in rows.tested_folds}
        outs = {pair | other for pair in own for other in self._pair}
        self._ridges = LeftOutRidges(rows, sorted(outs, key=sorted), self._threads)
        self._packed, self._slots, self._offsets = packed_choices(rows)
        self._used: frozenset[int] = frozenset()
        n_layers = len(rows.routers)
        self._most = min(CANDIDATES, int(WORK / max(len(rows), 1) / n_layers))
        self.note = self._note()

    def cost(self, target: Router) -> tuple[int, float]:
        """Return the stored numbers and the multiply-adds per token of a target."""
        many, share = min(self._most, len(self._rows)), target.top_k / target.n_experts
        weights = self._ridges.n_weights // max(1, len(self._rows.routers) - 1)
        features = 2 * self._slots[-1]
        # Two sums for each candidate, and one for each that has an expert in common.
        work = many * (2.0 + target.top_k * share) + float(features * target.n_experts)
        return weights + many * (target.n_experts + target.top_k), work

    @contextmanager
    def without(self, out: Sequence[int], fold: int) -> Iterator[None]:
        """Use no rows of a fold and its partner but the earlier ones of a row's own document."""
        pair = self._pair[fold]
        if self._used != pair:
            self._used, self._candidates = pair, self._chosen(pair)
            self._successive = np.zeros(len(self._candidates), np.bool_)
            self._successive[1:] = self._rows.follows[self._candidates[1:]] & (np.diff(self._candidates) == 1)
            self._listed, self._bounds = self._lists()
            self._errors = self._left(pair)
        yield

    def prepared(self, rows: NDArray[np.int64]) -> Callable[[Mapping[str, float]], NDArray[np.float32]]:
        """Return what gives the predictions ``[row, expert of any router]`` of some rows, ascending."""
        pieces = self._pieces(rows)
        prior = self._ridges.predict(np.concatenate(pieces), self._used)
        return partial(self._corrected, rows, pieces, prior)

    def _chosen(self, pair: frozenset[int]) -> NDArray[np.int64]:
        """Return the candidates for a pair of folds: whole documents, the last of them cut."""
        allowed = np.flatnonzero(~np.isin(self._rows.fold, sorted(pair)))
        if len(allowed) <= self._most:
            return allowed
        document = self._rows.sample.document[allowed]
        order = np.argsort(
            document.astype(np.uint64) * _HASH >> np.uint64(8) & np.uint64(0xFFFFFF), kind="stable"
        )
        return np.sort(allowed[order[: self._most]])

    def _lists(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Return the candidates that chose each expert, numbered over all routers."""
        listed, numbers = [], np.zeros(int(self._offsets[-1]) + 1, np.int64)
        for place in range(len(self._slots) - 1):
            experts = self._packed[self._candidates, self._slots[place] : self._slots[place + 1]]
            known = np.flatnonzero(experts[:, 0] >= 0)
            flat = experts[known].ravel()
            order = np.argsort(flat, kind="stable")
            listed.append(np.repeat(known, experts.shape[1])[order].astype(np.uint16))
            first, last = self._offsets[place] + 1, self._offsets[place + 1] + 1
            numbers[first:last] = np.bincount(flat, minlength=last - first)
        return np.concatenate(listed), np.cumsum(numbers)

    def _left(self, pair: frozenset[int]) -> NDArray[np.float32]:
        """Return the errors ``[candidate, expert of any router]`` of ridges without the pair and the candidate's."""
        errors = np.empty((len(self._candidates), int(self._offsets[-1])), np.float32)
        fold = self._rows.fold[self._candidates]
        for out in dict.fromkeys(self._pair[f] for f in range(self._rows.n_folds) if f not in pair):
            own = np.flatnonzero(np.isin(fold, sorted(out - pair)))
            errors[own] = -self._ridges.predict(self._candidates[own], pair | out)
        for place in range(len(self._slots) - 1):
            experts = self._packed[self._candidates, self._slots[place] : self._slots[place + 1]]
            known = np.flatnonzero(experts[:, 0] >= 0)
            errors[known[:, None], self._offsets[place] + experts[known]] += 1.0
        return errors

    def _pieces(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return stretches of documents: the rows, and enough before them."""
        document = self._rows.sample.document
        begins = np.flatnonzero(np.append(True, document[1:] != document[:-1]))
        of = np.searchsorted(begins, rows, side="right") - 1
        found = []
        for one in np.unique(of):
            own = rows[of == one]
            found.append(np.arange(max(begins[one], own[0] - EARLIER - 1), own[-1] + 1))
        return found

    def _corrected(
        self,
        rows: NDArray[np.int64],
        pieces: Sequence[NDArray[np.int64]],
        prior: NDArray[np.float32],
        constants: Mapping[str, float],
    ) -> NDArray[np.float32]:
        named = [constants[name] for name in ("gamma", "previous", "strength")]
        settings = np.array([*named, KEPT, NEUTRAL, MIDDLE, LEAST])
        edges = np.cumsum([0, *map(len, pieces)])
        needed, out = np.isin(np.concatenate(pieces), rows), np.empty_like(prior)
        jobs = [
            partial(
                self._correct,
                piece,
                needed[at : at + len(piece)],
                settings,
                prior[at : at + len(piece)],
                out[at : at + len(piece)],
            )
            for piece, at in zip(pieces, edges[:-1].tolist(), strict=True)
        ]
        in_threads(jobs, self._threads)
        return out[needed]

    def _correct(
        self,
        piece: NDArray[np.int64],
        needed: NDArray[np.bool_],
        settings: Floats,
        prior: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> None:
        choices = self._packed, self._slots, self._offsets, self._rows.follows
        from_folds = self._candidates, self._successive, self._listed, self._bounds, self._errors
        correct_by_history(piece, needed, *choices, *from_folds, EARLIER, settings, prior, out)

    def _note(self) -> str:
        least = min(len(self._rows) - int(np.isin(self._rows.fold, sorted(p)).sum()) for p in set(self._pair))
        return (
            f"similar tokens are sought among {self._most:,} of {least:,} tokens"
            if least > self._most
            else ""
        )
