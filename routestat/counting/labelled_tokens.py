"""Tokens with labels: the domain of their document, their id, the class of their text, and what was chosen for them.

Labels are the same in every layer, so tokens are ordered once; each layer then needs one pass over its choices.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.labels import add_cells, meeting_cells
from routestat.traces.metadata import Router

Integers = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Meetings:
    """Tokens of a sample, ordered by a stratum and a group, and divided by further labels.

    A meeting is the tokens of one stratum, one group and one value of every label.

    Attributes
    ----------
    row : int array ``[entry]``
        Places in the sample, by meeting.
    first : int array ``[meeting + 1]``
        Where the entries of each meeting begin.
    start : int array ``[stratum + 1]``
        Where the meetings of each stratum begin.
    stratum, group : int array ``[meeting]``
    labels : tuple of int array ``[meeting]``
    sizes : tuple of int
        How many values every label has.
    n_groups : int
    """

    row: Integers
    first: Integers
    start: Integers
    stratum: Integers
    group: Integers
    labels: tuple[Integers, ...]
    sizes: tuple[int, ...]
    n_groups: int

    def __len__(self) -> int:
        """Return the number of meetings."""
        return len(self.group)


def meetings_of(
    stratum: Integers,
    group: Integers,
    n_groups: int,
    *labels: Integers,
    known: NDArray[np.bool_] | None = None,
) -> Meetings:
    """Order tokens by stratum and group.

    Parameters
    ----------
    stratum, group : int array ``[row]``
        Zero or more where known.
    n_groups : int
    labels : int array ``[row]``
        Further labels, zero or more where known.
    known : bool array ``[row]``, optional
        Which rows take part; all by default.
    """
    row = np.arange(len(stratum)) if known is None else np.flatnonzero(known)
    columns = [np.asarray(column)[row].astype(np.int64) for column in (stratum, group, *labels)]
    n_strata = int(columns[0].max(initial=-1)) + 1
    sizes = [int(column.max(initial=-1)) + 1 for column in columns[2:]]
    key = columns[0]
    for column, size in zip(columns[1:], [n_groups, *sizes], strict=True):
        key = key * size + column
    order = np.argsort(key, kind="stable")
    key = key[order]
    begins = np.concatenate([np.ones(min(len(key), 1), bool), key[1:] != key[:-1]])
    first = np.append(np.flatnonzero(begins), len(key))
    at = [read_only(column[order][first[:-1]].astype(np.int32)) for column in columns]
    return Meetings(
        read_only(row[order].astype(np.int32)),
        read_only(first.astype(np.int64)),
        read_only(np.searchsorted(at[0], np.arange(n_strata + 1)).astype(np.int64)),
        at[0],
        at[1],
        tuple(at[2:]),
        tuple(sizes),
        n_groups,
    )


@dataclass(frozen=True, eq=False)
class MeetingChoices:
    """What one router chose in every meeting: only cells with tokens.

    Attributes
    ----------
    chosen, count : int array ``[cell]``
        A state, or an expert in the expert view, and how many tokens of the meeting have it.
    first : int array ``[meeting + 1]``
        Where the cells of each meeting begin.
    members : int array ``[choice, place]``
        The experts of every choice.
    n_choices, n_experts : int
    slots : int
        Cells that a token counts in: 1 in the state view, k in the expert view.
    """

    chosen: Integers
    count: Integers
    first: Integers
    members: Integers
    n_choices: int
    n_experts: int
    slots: int

    def table(self, place: Integers, n_places: int) -> NDArray[np.int32]:
        """Return counts ``[place, choice]``, where `place` ``[meeting]`` is where a meeting's tokens go."""
        found = np.zeros((n_places, self.n_choices), np.int32)
        add_cells(self.chosen, self.count, self.first, read_only(np.asarray(place, np.int64)), found)
        return found

    @property
    def membership(self) -> NDArray[np.float64]:
        """One where a choice includes an expert ``[choice, expert]``."""
        found = np.zeros((self.n_choices, self.n_experts))
        found[np.arange(self.n_choices)[:, None], self.members] = 1.0
        return found


def count_choices(sample: Sample, router: Router, states: str, meetings: Meetings) -> MeetingChoices:
    """Count what one router chose in every meeting.

    Parameters
    ----------
    sample : Sample
    router : Router
    states : {"subset", "expert"}
        The view.
    meetings : Meetings
        Of the rows of the sample.
    """
    column = sample.columns[router.name]
    choices: Integers
    members: Integers
    if states == "expert":
        choices, n_choices = expert_rows(column, router), router.n_experts
        members = np.arange(n_choices)[:, None]
    else:
        choices, n_choices = column[:, None], router.alphabet.size
        members = router.alphabet.unrank(np.arange(n_choices, dtype=router.alphabet.dtype))
    most = choices.shape[1] * len(meetings.row)
    chosen, count = np.empty(most, np.int32), np.empty(most, np.int32)
    first = np.empty(len(meetings) + 1, np.int64)
    values = read_only(np.ascontiguousarray(choices, np.int32))
    n = meeting_cells(values, meetings.row, meetings.first, n_choices, chosen, count, first)
    return MeetingChoices(
        read_only(chosen[:n].copy()),
        read_only(count[:n].copy()),
        read_only(first),
        read_only(np.ascontiguousarray(members, np.int32)),
        n_choices,
        router.n_experts,
        choices.shape[1],
    )
