"""The rows that predictors are fitted to and scored on: whole documents in memory, as choices of experts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.joined_samples import common_routers, joined_sample
from routestat.counting.kernels.experts import cross_experts, single_experts
from routestat.counting.kernels.runs import lagged_features
from routestat.counting.score_sums import Cells
from routestat.counting.token_runs import Runs
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router
from routestat.traces.validation import PHASES

#: Folds of documents that are held out together.
FOLDS = 10
#: A router, and the number of tokens back at which its choice is read.
Source = tuple[Router, int]


def missing_of(router: Router) -> int:
    """Return the value that marks a missing expert of this router."""
    return int(np.iinfo(router.alphabet.expert_dtype).max)


@dataclass(frozen=True, eq=False)
class BoardRows:
    """Tokens of whole documents, the groups and folds they are held out in, and the cells they are scored in.

    Attributes
    ----------
    sample : Sample
        The rows as they were read.
    routers : tuple of Router
        In order of depth.
    cells : Cells
    cell : int array ``[row]``
    group : int array ``[row]``
    folds : int array ``[group]``
        Groups that hold tokens are assigned to the folds in turn; empty ones have fold 0.
    held_out : int array ``[row]``
        What is left out together where single units are left out instead of folds: the group, unless the test set as a
        whole is left out.
    scored_folds : tuple of int
        Folds whose rows are scored; all if empty. The others only serve to fit.
    """

    sample: Sample
    routers: tuple[Router, ...]
    cells: Cells
    cell: NDArray[np.int64]
    group: NDArray[np.int64]
    folds: NDArray[np.int64]
    held_out: NDArray[np.int64]
    scored_folds: tuple[int, ...] = ()
    _experts: dict[str, NDArray[np.unsignedinteger]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.sample)

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Each row's fold."""
        return self.folds[self.group]

    @cached_property
    def fold_of_cell(self) -> NDArray[np.int64]:
        """Each cell's fold."""
        return self.folds[self.cells.group]

    @property
    def n_folds(self) -> int:
        """How many folds there are; with fewer than two nothing can be held out."""
        return int(self.folds.max(initial=-1)) + 1 if len(self) else 0

    @cached_property
    def scored(self) -> NDArray[np.bool_]:
        """Whether each row is scored ``[row]``."""
        if not self.scored_folds:
            return np.ones(len(self), bool)
        return np.isin(self.fold, self.scored_folds)

    @property
    def tested_folds(self) -> tuple[int, ...]:
        """The folds for which a model without them is needed."""
        return self.scored_folds or tuple(range(self.n_folds))

    @property
    def token(self) -> NDArray[np.int32]:
        """Token ids ``[row]``, −1 unknown."""
        return self.sample.token

    @property
    def follows(self) -> NDArray[np.bool_]:
        """Whether the row before is the token before ``[row]``."""
        return self.sample.follows

    @cached_property
    def has_token_ids(self) -> bool:
        """Whether any token id is known."""
        return bool((self.token >= 0).any())

    def experts(self, router: Router, column: str = "") -> NDArray[np.unsignedinteger]:
        """Return the experts ``[row, k]`` of a router, ascending; a missing choice holds `missing_of` the router.

        Parameters
        ----------
        router : Router
        column : str
            A recorded companion with choices of this router, such as ``L00.ahead1``; its own choices by default.
        """
        name = column or router.name
        if name not in self._experts:
            self._experts[name] = expert_rows(self.sample.columns[name], router)
        return self._experts[name]

    def known(self, router: Router, column: str = "") -> NDArray[np.bool_]:
        """Whether the choice of a router is known ``[row]``."""
        return np.asarray(self.experts(router, column)[:, 0] != missing_of(router))

    @cached_property
    def runs(self) -> Runs:
        """Runs of consecutive tokens, sorted by fold, so that a fold's tables stay in the cache."""
        starts = np.flatnonzero(~self.follows)
        stops = np.append(starts[1:], len(self))
        fresh = np.ones(len(starts), bool)
        if len(starts):
            fresh[1:] = self.sample.document[starts[1:]] != self.sample.document[starts[:-1]]
        order = np.argsort(self.fold[starts], kind="stable")
        return Runs(starts[order], stops[order], self.group[starts][order], fresh[order])

    def features(self, sources: Sequence[Source]) -> NDArray[np.int32]:
        """Return the features ``[row, slot]`` of sources, −1 where there is none.

        Features are the experts of all sources, numbered consecutively.
        """
        out = np.empty((len(self), sum(router.top_k for router, _ in sources)), np.int32)
        slot = offset = 0
        starts, stops = self.runs.starts, self.runs.stops
        for router, lag in sources:
            lagged_features(self.experts(router), starts, stops, lag, missing_of(router), offset, slot, out)
            slot, offset = slot + router.top_k, offset + router.n_experts
        return out

    def loads(self, target: Router) -> NDArray[np.uint32]:
        """Count how often each expert was chosen, per fold ``[fold, j]``."""
        found = np.zeros((self.n_folds, target.n_experts), np.uint32)
        runs = self.runs
        single_experts(
            self.experts(target), runs.starts, runs.stops, self.folds[runs.groups], missing_of(target), found
        )
        return found

    def pairs(self, source: Source, target: Router) -> NDArray[np.uint32]:
        """Count how often an expert of a source met one of the target, per fold ``[fold, i, j]``."""
        router, lag = source
        found = np.zeros((self.n_folds, router.n_experts, target.n_experts), np.uint32)
        runs, slots = self.runs, ((0,) * router.top_k, (0,) * target.top_k)
        missing = np.array([missing_of(router), missing_of(target)])
        where = (runs.starts, runs.stops, self.folds[runs.groups], lag)
        both = self.experts(router), self.experts(target)
        cross_experts(*both, *where, missing, slots, target.n_experts, found.reshape(len(found), -1))
        return found


def board_rows(sample: Sample, routers: Sequence[Router], folds: int = FOLDS) -> BoardRows:
    """Prepare a sample of whole documents for predictors.

    Parameters
    ----------
    sample : Sample
    routers : sequence of Router
        Which of the sample's are predicted, in order of depth.
    folds : int
        At most; no more than there are groups with tokens.
    """
    group = sample.group
    used = np.unique(group)
    assigned = np.zeros(sample.groups, np.int64)
    assigned[used] = np.arange(len(used)) % max(1, min(folds, len(used)))
    cells, cell = _cells(sample, group)
    return BoardRows(sample, tuple(routers), cells, cell, group, assigned, group)


def joined_rows(
    test: Sample, train: Sample, routers: Sequence[Router] | None = None, folds: int = FOLDS
) -> BoardRows:
    """Prepare two samples so that predictors are fitted to one and scored on the other.

    The test set is fold 0, which alone is scored, and one unit where single units are left out; the groups of the
    training set are assigned to the other folds in turn. A model without fold 0 has then seen no choice of the test
    set, nor has whatever is chosen on a fold that is left out of it. Which token ids have a feature of their own is
    decided by how frequent they are in both sets together.

    Parameters
    ----------
    test, train : Sample
        Of one model.
    routers : sequence of Router, optional
        Which both have; all of those by default.
    folds : int
        At most, with that of the test set.

    Raises
    ------
    RoutestatError
        If the samples are of two models, if there is nothing to score, or if the training set has fewer than two
        groups of documents, so that nothing can be chosen on documents that are left out.
    """
    routers, _ = common_routers(test, train, routers)
    if not len(test):
        raise RoutestatError(
            "expected tokens to score in the test set, got none; choose another trace or layers"
        )
    sample = joined_sample(test, train, routers)
    group = sample.group
    n_test = int(group[: len(test)].max()) + 1
    n_train = sample.groups - n_test
    if n_train < 2:
        several = "one" if n_train else "none"
        raise RoutestatError(
            f"expected two or more groups of documents to train on, got {several}; record more documents"
        )
    assigned = np.zeros(sample.groups, np.int64)
    assigned[n_test:] = 1 + np.arange(n_train) % min(folds - 1, n_train)
    held_out = np.maximum(group - n_test + 1, 0)
    cells, cell = _cells(sample, group)
    return BoardRows(sample, tuple(routers), cells, cell, group, assigned, held_out, (0,))


def _cells(sample: Sample, group: NDArray[np.int64]) -> tuple[Cells, NDArray[np.int64]]:
    names, domain = _domain_of_rows(sample.document, sample.domains)
    phase = sample.known_phase
    key = (group * len(PHASES) + phase) * max(len(names), 1) + domain
    found, cell = np.unique(key, return_inverse=True)
    rest = found // max(len(names), 1)
    words = tuple(names[at] for at in (found % max(len(names), 1)).tolist()) if names else ("",) * len(found)
    phases = tuple(PHASES[at] for at in (rest % len(PHASES)).tolist())
    return Cells(rest // len(PHASES), phases, words, sample.groups), cell


def _domain_of_rows(
    document: NDArray[np.int32], domains: Mapping[int, str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the domains, and each row's place among them."""
    numbers, of_row = np.unique(document, return_inverse=True)
    words = [domains.get(int(number), "") for number in numbers]
    names = sorted(set(words))
    place = np.array([names.index(word) for word in words], np.int64)
    return names, place[of_row] if len(place) else np.zeros(0, np.int64)
