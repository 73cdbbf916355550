"""Tokens with labels: by hand, and every meeting's choices against counting one by one."""

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.counting.labelled_tokens import count_choices, meetings_of
from routestat.traces import synthetic


def test_meetings_by_hand():
    # Strata 1 0 1 1 0, groups 0 1 1 0 1, labels 0 1 1 0 0; the fourth row does not take part.
    found = meetings_of(
        np.array([1, 0, 1, 1, 0]),
        np.array([0, 1, 1, 0, 1]),
        2,
        np.array([0, 1, 1, 0, 0]),
        known=np.array([True, True, True, False, True]),
    )
    assert found.row.tolist() == [4, 1, 0, 2]
    assert found.stratum.tolist() == [0, 0, 1, 1]
    assert found.group.tolist() == [1, 1, 0, 1]
    assert found.labels[0].tolist() == [0, 1, 0, 1]
    assert (found.first.tolist(), found.start.tolist(), found.sizes) == ([0, 1, 2, 3, 4], [0, 2, 4], (2,))


def test_no_rows():
    nothing = np.zeros(0, int)
    found = meetings_of(nothing, nothing, 3, nothing)
    assert (len(found), found.first.tolist(), found.start.tolist()) == (0, [0], [0])


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_choices_of_every_meeting(view):
    made = synthetic.independent(
        rng=np.random.default_rng(3), n_experts=5, top_k=2, layers=1, documents=12, mean_length=30
    )
    made = synthetic.with_missing(made, 0.1, np.random.default_rng(4))
    sample = take_sample(synthetic.to_trace(made))
    rng = np.random.default_rng(5)
    stratum, label = rng.integers(0, 4, len(sample)), rng.integers(0, 3, len(sample))
    meetings = meetings_of(stratum, sample.group, sample.groups, label)
    of = count_choices(sample, sample.routers[0], view, meetings)
    for at in range(len(meetings)):
        rows = np.flatnonzero(
            (stratum == meetings.stratum[at])
            & (sample.group == meetings.group[at])
            & (label == meetings.labels[0][at])
        )
        states = made.states[rows, 0]
        states = states[states != made.alphabet.missing]
        values = states if view == "subset" else made.alphabet.unrank(states).ravel()
        cells = slice(of.first[at], of.first[at + 1])
        counted = np.bincount(of.chosen[cells], of.count[cells], of.n_choices)
        np.testing.assert_array_equal(counted, np.bincount(values, minlength=of.n_choices))
    table = of.table(meetings.labels[0], 3)
    assert table.sum() == of.slots * (made.states != made.alphabet.missing).sum()
    assert of.membership.sum() == of.n_choices * (2 if view == "subset" else 1)
