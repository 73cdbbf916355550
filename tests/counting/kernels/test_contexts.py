"""Entries of contexts in halves of the groups, and their places in a shorter context, by hand."""

import numpy as np

from routestat.counting.kernels.contexts import entries_of_halves, places_in_shorter


def test_halves_and_places_by_hand() -> None:
    # Entries (cell, group, tokens, part): (0, 0, 5, 0), (0, 1, 1, 1), (1, 1, 2, 1), (2, 0, 4, 2), (2, 2, 3, 3). Groups
    # 0 and 2 are half 0. Cells 0 and 1 are of context 0, cell 2 of context 1.
    cell, group, count, part = np.array(
        [[0, 0, 1, 2, 2], [0, 1, 1, 0, 2], [5, 1, 2, 4, 3], [0, 1, 1, 2, 3]], np.int32
    )
    half, of_part = np.array([0, 1, 0]), np.array([0, 0, 1, 1], np.int32)
    place, entries, parts, numbers, tokens, context, in_cell = entries_of_halves(
        half, cell, group, count, part, of_part, 3
    )
    assert place.tolist() == [0, 0, 1, 1, 2]
    assert (entries.tolist(), parts.tolist()) == ([3, 2], [3, 1])
    # The number among all entries, the cell, the group and the part.
    assert numbers[0, :, :3].tolist() == [[0, 3, 4], [0, 2, 2], [0, 0, 2], [0, 1, 2]]
    assert numbers[1, :, :2].tolist() == [[1, 2], [0, 1], [1, 1], [0, 0]]
    assert (tokens[0, :3].tolist(), tokens[1, :2].tolist()) == ([5, 4, 3], [1, 2])
    assert (context[0, :3].tolist(), context[1, :1].tolist()) == ([0, 1, 1], [0])
    assert in_cell.tolist() == [[5, 0, 7], [1, 2, 0]]
    # A shorter context joins cells 0 and 2: its entries are (0, 0), (0, 1), (0, 2), (1, 1).
    shorter_cell, shorter_place = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], np.int32)
    of_cell, of_half = places_in_shorter(
        np.array([0, 1, 3, 0, 2], np.int32), shorter_cell, shorter_place, cell, group, place, half, 3
    )
    assert of_cell.tolist() == [0, 1, 0]
    assert (of_half[0, :3].tolist(), of_half[1, :2].tolist()) == ([0, 0, 1], [0, 1])
