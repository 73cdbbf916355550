import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.base.tables import (
    adjusted_residuals,
    conditional,
    contingency,
    expected,
    joint,
    lift,
    residuals,
)

# Two sources, two targets, ten tokens, and an empty row and column between them.
#      a  -  b
#  A   4  0  1     row share .5
#  -   0  0  0
#  B   2  0  3     row share .5      column shares .6 and .4, so 3, 2 are expected in each row
TABLE = [[4, 0, 1], [0, 0, 0], [2, 0, 3]]


def test_contingency_drops_what_is_empty_and_says_what_was_kept() -> None:
    kept = contingency(TABLE)
    assert kept.total.tolist() == [[4, 1], [2, 3]]
    assert (kept.rows.tolist(), kept.columns.tolist(), kept.groups.tolist()) == ([0, 2], [0, 2], [])
    assert kept.tables is None


def test_contingency_drops_groups_without_tokens() -> None:
    grouped = np.zeros((3, 3, 3), dtype=np.uint32)
    grouped[0], grouped[2, 2, 2] = TABLE, 5
    kept = contingency(grouped)
    assert kept.groups.tolist() == [0, 2]
    assert kept.tables is not None
    assert kept.tables.tolist() == [[[4, 1], [2, 3]], [[0, 0], [0, 5]]]
    assert kept.total.tolist() == [[4, 1], [2, 8]]


def test_normalisations_counted_by_hand() -> None:
    assert joint(TABLE).tolist() == [[0.4, 0.1], [0.2, 0.3]]
    assert conditional(TABLE).tolist() == [[0.8, 0.2], [0.4, 0.6]]
    assert expected(TABLE).tolist() == [[3, 2], [3, 2]]
    np.testing.assert_allclose(lift(TABLE), [[4 / 3, 1 / 2], [2 / 3, 3 / 2]], rtol=1e-15)
    np.testing.assert_allclose(
        residuals(TABLE), [[1 / 3**0.5, -1 / 2**0.5], [-1 / 3**0.5, 1 / 2**0.5]], rtol=1e-15
    )
    # sqrt(3 * .5 * .4) and sqrt(2 * .5 * .6) are the same, as they must be in a 2 x 2 table.
    np.testing.assert_allclose(adjusted_residuals(TABLE), np.array([[1, -1], [-1, 1]]) / 0.6**0.5, rtol=1e-14)


def test_grouped_tables_are_summed_before_they_are_normalised() -> None:
    assert joint(np.stack([TABLE, TABLE])).tolist() == joint(TABLE).tolist()


def test_adjusted_residuals_are_undefined_in_a_single_row() -> None:
    assert np.isnan(adjusted_residuals([[1, 2, 3]])).all()
    assert residuals([[1, 2, 3]]).tolist() == [[0, 0, 0]]


def test_a_table_without_tokens_has_no_cells() -> None:
    for normalise in (joint, conditional, expected, lift, residuals):
        assert normalise(np.zeros((3, 4), dtype=int)).shape == (0, 0)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([[1.5, 2]], "fractions"),
        ([[-1, 2]], "got -1"),
        ([[np.nan, 2]], "NaN"),
        ([[np.inf, 2]], "infinity"),
        ([1, 2], "1 axes"),
        (np.zeros((2, 2, 2, 2), dtype=int), "4 axes"),
        ([["a", "b"]], "dtype"),
        ([[1, 2], [3]], "ragged"),
        ([[2.0**60]], "2\\*\\*53"),
        (np.full((12, 2, 2), 2**62), "overflow"),
        ([[1j]], "dtype"),
    ],
)
def test_bad_tables_are_refused_in_one_line(bad: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says) as caught:
        contingency(bad)
    assert "\n" not in str(caught.value)


def test_results_are_closed_for_writing_and_the_input_is_not_touched() -> None:
    given = np.array([[4, 1], [2, 3]])
    grouped = np.stack([given, given])
    for result in (joint(given), expected(given), contingency(given).total):
        with pytest.raises(ValueError, match="read-only"):
            result[0, 0] = 7
    kept = contingency(grouped).tables
    assert kept is not None
    assert not kept.flags.writeable
    assert given.flags.writeable
    assert grouped.flags.writeable


def test_whole_floats_count_as_counts() -> None:
    assert contingency(np.array([[4.0, 1.0], [2.0, 3.0]])).total.tolist() == [[4, 1], [2, 3]]
