"""How many tokens a table needs before its information is given, with an interval or at all."""

import numpy as np
import pytest

from routestat.inference.information.scarcity import UNCOVERED, scarcity


def table(per_cell, k=10):
    return np.full((k, k), per_cell)


@pytest.mark.parametrize(
    ("per_cell", "effect", "caution", "covered"),
    [
        (30, 1.0, False, True),
        (29, 1.0, True, True),
        (10, 1.0, True, True),
        (9, 1.0, True, False),
        # Sixty tokens a cell that are worth twelve: dependence is taken out of the estimate.
        (60, 5.0, False, True),
        # Worth eight: too few for an interval.
        (64, 8.0, True, False),
        (12, 0.5, True, True),
        (40, float("nan"), False, True),
    ],
)
def test_tokens_count_for_what_they_are_worth(per_cell, effect, caution, covered):
    said = scarcity(table(per_cell), design_effect=effect)
    assert (bool(said.caution), said.covered) == (caution, covered)
    assert said.reason == ("" if covered else UNCOVERED)


def test_the_caution_says_how_many_there_are_and_what_they_are_worth():
    said = scarcity(table(64), design_effect=8.0).caution
    assert said.startswith("only 64 counts per cell of the table, worth 8 independent ones: below 30")
    assert "worth" not in scarcity(table(20)).caution


def test_empty_rows_and_columns_hold_no_cells():
    counts = np.zeros((100, 100), int)
    counts[:5, :4] = 30
    assert not scarcity(counts).caution
    assert not scarcity(np.zeros((3, 3), int)).caution


def test_the_expert_view_withholds_by_its_own_estimate():
    said = scarcity(table(2), slots=36)
    assert said.covered
    assert "the plug-in and the parts" in said.caution
