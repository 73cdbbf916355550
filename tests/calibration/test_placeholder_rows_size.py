"""How often rows of a clean trace are reported as not measured, and how many rows it takes to be found.

Clean traces repeat themselves in all the ways that models do: narrow and wide routers, short and long documents, texts
of runs, loops and copies, routing that dwells or collapses, token ids known and not. Fewer than 1 % may get a note.
Each kind of rows is planted in small and large numbers into plain texts and texts of runs; it counts as found if more
than half of its rows are. The default run has the short form; the long one makes the whole table.
"""

import math
from zlib import crc32

import numpy as np
import pytest

from routestat.traces.dummy_rows.row_features import features_of_raw_rows
from routestat.traces.dummy_rows.row_ranges import find_rows
from routestat.traces.dummy_rows.run_collector import RunCollector
from tests.calibration.repeating import LENGTHS, SHAPES, TEXTS, clean, planted

SHORT_SHAPES = ("8 choose 1, 2 layers", "8 choose 2, 1 layer", "64 choose 6, 8 layers")
POWER_SHAPES = ("8 choose 1, 1 layer", "8 choose 2, 2 layers", "64 choose 6, 8 layers")
#: Rows at a place.
KINDS = {
    "warm-up": (8, 16, 32, 64, 200, 1000),
    "padding right": (8, 16, 32, 64, 200),
    "padding left": (8, 16, 32, 64, 200),
    "padding right, own": (8, 16, 32, 64, 200),
    "zero tail": (8, 16, 32, 64, 200),
    "stuck": (8, 16, 32, 64, 200),
    "decode": (1, 8),
    "alike": (20, 200),
}
#: So many are found in 95 of 100 traces of the widest shape, with and without token ids.
FROM = {
    "warm-up": 64, "padding right": 16, "padding left": 16, "padding right, own": 16, "zero tail": 16, "stuck": 200,
    "decode": 1, "alike": 20,
}  # fmt: skip


def marked(trace):
    """Which rows are found ``[row]``."""
    reader = RunCollector(*trace.experts.shape[1:])
    reader.add(features_of_raw_rows(trace.experts, trace.document, trace.position, trace.decode, trace.token))
    found = np.zeros(len(trace.document), bool)
    for one in find_rows(reader.finished()):
        found |= (
            (trace.document == one["document"])
            & (trace.position >= one["first"])
            & (trace.position <= one["last"])
        )
    return found


def seeded(*names):
    return np.random.default_rng([crc32(repr(name).encode()) for name in names])


def accused(shape, text, lengths, known, runs):
    """Clean traces of this kind in which anything is found."""
    return sum(
        bool(marked(clean(rng, shape, text, lengths, known)).any())
        for rng in (seeded(shape, text, lengths, known, run) for run in range(runs))
    )


def power(kind, size, shape, known, runs):
    """The part of traces in which more than half of the planted rows are found, and rows found beyond them."""
    hits, beyond = 0, 0
    for run in range(runs):
        rng = seeded(kind, size, shape, known, run)
        trace = clean(rng, shape, ("plain", "runs")[run % 2], ("long", "mixed")[run // 2 % 2], known)
        trace, wanted = planted(rng, trace, kind, size)
        found = marked(trace)
        hits += 2 * np.count_nonzero(found & wanted) > np.count_nonzero(wanted)
        beyond += np.count_nonzero(found & ~wanted)
    return hits / runs, beyond / runs


def check_size(wrong, traces):
    """At most 1 %, give or take two errors."""
    assert wrong / traces <= 0.01 + 2 * math.sqrt(0.01 * 0.99 / traces), (wrong, traces)


def test_few_clean_traces_are_accused():
    wrong = sum(
        accused(shape, text, lengths, known, 1)
        for shape in SHORT_SHAPES
        for text in TEXTS
        for lengths in LENGTHS
        for known in (False, True)
    )
    check_size(wrong, len(SHORT_SHAPES) * len(TEXTS) * len(LENGTHS) * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_found(kind):
    shape = "64 choose 6, 8 layers"
    for known in (False, True):
        hits, beyond = power(kind, FROM[kind], shape, known, 4)
        assert hits == 1.0, (known, hits)
        assert beyond < 5.0


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_size(shape, found):
    runs, total = 12, 0
    for text in TEXTS:
        wrong = [
            (accused(shape, text, lengths, known, runs), lengths, known)
            for lengths in LENGTHS
            for known in (False, True)
        ]
        total += sum(times for times, *_ in wrong)
        where = ", ".join(
            f"{times} of {lengths}, token ids {'known' if known else 'unknown'}"
            for times, lengths, known in wrong
            if times
        )
        times = sum(times for times, *_ in wrong)
        found.append(
            f"clean, {shape}, {text}: {times} of {len(wrong) * runs} accused{f': {where}' if where else ''}"
        )
    check_size(total, len(TEXTS) * len(LENGTHS) * 2 * runs)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", POWER_SHAPES)
def test_power(kind, shape, found):
    runs = 20
    for size in KINDS[kind]:
        shown = []
        for known in (False, True):
            hits, beyond = power(kind, size, shape, known, runs)
            shown.append(f"{hits:.2f} (+{beyond:.1f} rows)")
            if shape == POWER_SHAPES[-1] and size >= FROM[kind]:
                assert hits >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / runs), (size, known, hits)
        found.append(f"{kind} of {size}, {shape}: {shown[0]} without token ids, {shown[1]} with them")
