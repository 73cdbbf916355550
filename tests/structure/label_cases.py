"""Samples of planted specialists, and tokens with labels at random."""

import numpy as np

from routestat.counting.document_sample import Sample, take_sample
from routestat.counting.labelled_tokens import MeetingChoices, Meetings, meetings_of
from routestat.traces import synthetic
from routestat.traces.token_texts import TokenTexts

#: A text for each class of `synthetic.specialists`.
TEXTS = ("a", " b", "1", ".", "+")
CLASSES = ("Latin word part", "Latin word start", "digits", "punctuation", "symbols")


def planted(seed: int, **how) -> tuple[synthetic.Synthetic, Sample, TokenTexts]:
    """A trace of planted specialists, its sample and the texts of its ids."""
    shape = dict(n_experts=8, top_k=2, layers=2, documents=60, mean_length=80) | how
    made = synthetic.specialists(
        rng=np.random.default_rng(seed), **({"topical": 1.0, "lexical": 1.0} | shape)
    )
    classes = made.truth.planted["class_of_id"]
    texts = TokenTexts({one: TEXTS[kind] for one, kind in enumerate(classes.tolist())}, source="texts")
    return made, take_sample(synthetic.to_trace(made)), texts


def labelled(rng: np.random.Generator, n: int = 400, groups: int = 9, choices: int = 5, slots: int = 1):
    """Random tokens: stratum, label, group [token] and distinct choices [token, slot] that depend on both."""
    stratum, label, group = rng.integers(0, 6, n), rng.integers(0, 3, n), rng.integers(0, groups, n)
    weights = rng.random((6, 3, choices)) ** 3
    noise = rng.gumbel(size=(n, choices)) + np.log(weights[stratum, label])
    return stratum, label, group, np.argsort(-noise, axis=1)[:, :slots]


def counted(stratum, label, group, chosen, groups: int, choices: int) -> tuple[MeetingChoices, Meetings]:
    """Meetings and choices of such tokens, counted slowly."""
    meetings = meetings_of(stratum, group, groups, label)
    slots = chosen.shape[1]
    cells, counts, first = [], [], [0]
    for at in range(len(meetings)):
        rows = meetings.row[meetings.first[at] : meetings.first[at + 1]]
        values, times = np.unique(chosen[rows], return_counts=True)
        cells += values.tolist()
        counts += times.tolist()
        first.append(len(cells))
    members = np.arange(choices)[:, None]
    arrays = [np.array(cells, np.int32), np.array(counts, np.int32), np.array(first, np.int64)]
    arrays.append(members.astype(np.int32))
    for array in arrays:
        array.flags.writeable = False
    return MeetingChoices(*arrays, choices, choices, slots), meetings
