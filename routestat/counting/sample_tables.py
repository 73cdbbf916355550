"""Tables of any two routers, counted from whole documents in memory, one pair at a time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.expected_within_documents import expected_of_margins
from routestat.counting.experts import ExpertTask, expert_rows
from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.document_tables import close_document, within_documents
from routestat.counting.states import StateTask
from routestat.counting.token_runs import Runs, find_runs
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router


@dataclass(frozen=True, eq=False)
class SampleTables:
    """Tables of the routers of `counts`, in its view and groups, from a sample that holds all of its tokens.

    Threads may count different pairs at the same time.

    Attributes
    ----------
    sample : Sample
    counts : Counts
    """

    sample: Sample
    counts: Counts
    _batch: Batch = field(init=False, repr=False)
    _runs: Runs = field(init=False, repr=False)
    _experts: dict[str, NDArray[np.unsignedinteger]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Cut the rows into documents, and list the experts of every token once for all pairs."""
        sample, counts = self.sample, self.counts
        rows = np.arange(len(sample), dtype=np.int32)
        # Positions that rise without a gap: a run ends with its document.
        runs = find_runs(sample.document, rows, 0, sample.units, counts.groups)
        wide = counts.states == "expert"
        experts = {r.name: expert_rows(sample.columns[r.name], r) for r in counts.routers if wide}
        object.__setattr__(self, "_batch", Batch(sample.document, rows, sample.columns))
        object.__setattr__(self, "_runs", runs)
        object.__setattr__(self, "_experts", experts)

    def table(self, source: Router, target: Router) -> NDArray[np.unsignedinteger]:
        """Return how often the choices of two routers met, ``[group, source, target]``.

        Parameters
        ----------
        source, target : Router
            The source lies before the target.
        """
        routers = self.counts.routers
        context = Context.layer(routers.index(target) - routers.index(source))
        if context in self.counts.contexts:
            return self.counts.table(context, target)
        make = StateTask.make if self.counts.states == "subset" else ExpertTask.make
        task = make(context, (source,), target, self.counts.groups, _zeros)
        # Buffers that are written to belong to this call alone.
        task.feed(self._batch, self._runs, dict(self._experts))
        return task.finished()

    def expected_within(self, source: Router, target: Router) -> NDArray[np.float64]:
        """Return the table if two adjacent routers were independent inside each document, as `count_within` does."""
        counts, runs = self.counts, self._runs
        if counts.documents.max(initial=0) <= 1:
            return expected_of_margins(counts.table(Context.layer(1), target))
        choices, sizes = [], []
        for router in (source, target):
            wide = counts.states == "expert"
            choices.append(
                self._experts[router.name] if wide else read_only(self.sample.columns[router.name][:, None])
            )
            sizes.append(router.n_experts if wide else router.alphabet.size)
        order = np.argsort(runs.starts)
        starts, groups = np.append(runs.starts[order], len(self.sample)), runs.groups[order]
        rows, columns = (np.zeros(size) for size in sizes)
        table = np.zeros((counts.groups, *sizes))
        left = within_documents(*choices, starts, groups, np.array(sizes), rows, columns, 0, table)
        if len(groups):
            close_document(rows, columns, left, table[groups[-1]])
        return table


def _zeros(shape: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Make an empty table; a cell never exceeds the tokens of its group, and a sample has fewer than 2**32."""
    return np.zeros(shape, np.uint32)


def tables_of_sample(sample: Sample, counts: Counts) -> SampleTables | None:
    """Return the tables of a sample; None where it does not hold every token of the counts."""
    whole = len(sample) == sample.n_tokens_in_all and sample.groups == counts.groups
    return SampleTables(sample, counts) if whole else None
