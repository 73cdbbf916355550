"""An average over tokens with the same id, weighted by how alike they were routed so far.

For a layer, the probability that expert e is chosen is ::

    (Σ_s w_s [e chosen by s] + c D(e)) / (Σ_s w_s + c)

where D is the prediction of `routestat.forecast.token_cache`, and the candidates s are tokens of other folds with the
same id, those with the most equal ids before first, and the latest earlier ones of the same document. log w_s is the
sum of

* `PER_ID` for each id before that is equal, up to the first that differs;
* `previous` times the share of experts that the tokens before have in common, over all layers;
* `OWN` for a token of the same document, less `AGE` for each that follows it;
* slope · Σ KEPT^age (share of experts in common − `NEUTRAL`) over the layers so far, where age 0 is the nearest.

Slope, `previous` and c are chosen for each fold on its partner, fitted without either.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.kernels.similar_tokens import average_same_id
from routestat.counting.token_contexts import LEVELS, earlier_ids, token_contexts
from routestat.forecast.packed_choices import packed_choices
from routestat.forecast.specification import BoardPlan
from routestat.forecast.token_cache import CacheTables, choose_settings
from routestat.inference.base.tables import Floats
from routestat.progress import in_threads
from routestat.traces.metadata import Router

PER_ID, OWN, AGE, KEPT, NEUTRAL = 0.65, 2.5, 0.03, 0.9, 0.75
#: Ids before that are compared; neighbours on either side and earlier rows of the document that are candidates.
LAGS, NEIGHBOURS, EARLIER = 6, 48, 48
#: Rows of a job.
BLOCK = 512


#: Constants that are chosen, with their candidates; the first is where the search begins.
TRIED = {"slope": (3.0, 2.0, 4.5), "strength": (40.0, 13.0, 120.0), "previous": (4.0, 2.0, 8.0)}


class SameId:
    """Averages over tokens with the same id, for the rows of a board.

    Parameters
    ----------
    rows : BoardRows
    plan : BoardPlan
    """

    tried = TRIED
    trial_rows = 160
    note = ""

    def __init__(self, rows: BoardRows, plan: BoardPlan) -> None:
        self._rows, self._threads = rows, plan.threads
        contexts = token_contexts(rows)
        self._chosen, self._latest = choose_settings(rows, contexts, plan), contexts.before[:, 0]
        tables = [partial(CacheTables, rows, router, contexts, plan.alpha) for router in rows.routers]
        self._tables = in_threads(tables, self._threads)
        self._packed, self._slots, self._offsets = packed_choices(rows)
        self._earlier = earlier_ids(rows, LAGS)
        order = np.lexsort((*self._earlier.T[::-1], rows.token))
        self._sorted = order[rows.token[order] >= 0]
        self._place = np.zeros(len(rows), np.int64)
        self._order = self._sorted

    def cost(self, target: Router) -> tuple[int, float]:
        """Return the stored numbers and the multiply-adds per token of a target."""
        tokens = (2 * NEIGHBOURS + EARLIER) * 2 * target.top_k
        table = self._tables[self._rows.routers.index(target)].n_counts
        return table + len(self._sorted) * target.top_k, float(tokens + 2 * LEVELS * target.n_experts)

    @contextmanager
    def without(self, out: Sequence[int], fold: int) -> Iterator[None]:
        """Use no rows of some folds but the earlier ones of a row's own document; settings are those of `fold`."""
        allowed = ~np.isin(self._rows.fold[self._sorted], out)
        self._order = self._sorted[allowed]
        self._place[self._sorted] = np.cumsum(allowed) - allowed
        self._settings = self._chosen.settings[fold]
        with ExitStack() as stack:
            for table in self._tables:
                stack.enter_context(table.without(out))
            yield

    def prepared(self, rows: NDArray[np.int64]) -> Callable[[Mapping[str, float]], NDArray[np.float32]]:
        """Return what gives the averages ``[row, expert of any router]`` of some rows with some constants."""
        prior = np.empty((len(rows), self._offsets[-1]), np.float32)
        in_threads(
            [partial(self._fill, place, rows, prior) for place in range(len(self._tables))], self._threads
        )
        return partial(self._averages, rows, prior)

    def _fill(self, place: int, rows: NDArray[np.int64], prior: NDArray[np.float32]) -> None:
        own = slice(self._offsets[place], self._offsets[place + 1])
        prior[:, own] = self._tables[place].given(rows, self._settings)

    def _averages(
        self, rows: NDArray[np.int64], prior: NDArray[np.float32], constants: Mapping[str, float]
    ) -> NDArray[np.float32]:
        named = [constants[name] for name in ("previous", "slope", "strength")]
        settings = np.array([PER_ID, named[0], OWN, AGE, named[1], KEPT, NEUTRAL, named[2]])
        out = np.empty_like(prior)
        jobs = [
            partial(
                self._average, rows[at : at + BLOCK], settings, prior[at : at + BLOCK], out[at : at + BLOCK]
            )
            for at in range(0, len(rows), BLOCK)
        ]
        in_threads(jobs, self._threads)
        return out

    def _average(
        self,
        rows: NDArray[np.int64],
        settings: Floats,
        prior: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> None:
        choices = self._packed, self._slots, self._offsets
        ids = self._rows.token, self._earlier, self._rows.follows
        links = self._order, self._place, self._latest
        most = np.array([NEIGHBOURS, EARLIER])
        average_same_id(rows, *choices, *ids, *links, most, settings, prior, out)
