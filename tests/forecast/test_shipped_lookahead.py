"""The lookahead that is part of the project: what its README states, from the trace."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from routestat import Trace
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import take_sample
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.gate import lookahead_columns
from routestat.forecast.specification import BoardPlan
from tests.forecast.gate_traces import registered

TRACES = Path(__file__).parents[2] / "data" / "traces"
SHIPPED = TRACES / "tiny-mixtral-lookahead"


def stated(row):
    """The numbers of a row of the README's table, by layers ahead."""
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    cells = re.search(rf"^\| {row} \|(.*)\|$", text, re.MULTILINE)[1].split("|")
    return {n: float(cell) for n, cell in enumerate(cells, start=1)}


def read(trace, names):
    """The columns of every document, by the tokens it begins with."""
    batches = list(trace.batches(names))
    document = np.concatenate([batch.document for batch in batches])
    rows = np.stack([np.concatenate([batch.columns[name] for batch in batches]) for name in names], axis=1)
    starts = np.flatnonzero(np.diff(document, prepend=-1))
    return [rows[start:stop] for start, stop in pairwise([*starts, len(rows)])]


def test_it_opens_and_has_every_gate_of_eight_layers_ahead():
    trace = Trace.open(SHIPPED)
    found = lookahead_columns(trace.columns, trace.routers())
    assert sorted({one.horizon for one in found}) == list(range(1, 9))
    assert len(found) == len(trace.columns) == sum(32 - n for n in range(1, 9))
    domains = trace.documents.column("domain").to_pylist()
    counts = [domains.count(name) for name in ("prose", "french", "code", "metamath", "gsm8k")]
    assert counts == [
        int(n) for n in re.findall(r"(?:prose|French|code|Metamath|problems) (\d+)", _bullets())
    ]


def _bullets():
    text = (SHIPPED / "README.md").read_text(encoding="utf-8")
    return text[text.index("- Documents:") : text.index("all or every")]


def test_its_choices_are_those_of_the_trace_of_the_same_tokens():
    names = ["token", "L00", "L09", "L20", "L31"]
    known = {rows[:30, 0].tobytes(): rows for rows in read(Trace.open(TRACES / "tiny-mixtral"), names)}
    for rows in read(Trace.open(SHIPPED), names):
        np.testing.assert_array_equal(rows, known[rows[:30, 0].tobytes()][: len(rows)])


@pytest.mark.parametrize("horizon", [1, 8])
def test_the_gate_is_as_often_right_as_stated(horizon):
    trace = Trace.open(SHIPPED, verify=False)
    names = [
        one.column for one in lookahead_columns(trace.columns, trace.routers()) if one.horizon == horizon
    ]
    rows = board_rows(take_sample(trace, companions=names), trace.routers())
    board = make_board(
        rows, "expert", BoardPlan(horizons=(horizon,), calibrate=False), specs=registered("gate")
    )
    (gate,) = mean_board(board, horizon)
    assert gate.estimate("recall_at_k").value == pytest.approx(stated("recall@2")[horizon], abs=5.1e-4)
    assert gate.estimate("exact_set").value == pytest.approx(stated("exact pair")[horizon], abs=5.1e-4)
