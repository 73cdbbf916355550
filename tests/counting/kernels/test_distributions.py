"""Where numbers begin, and the cells of documents of entries, by hand and against a slow count."""

from collections import Counter

import numpy as np
import pytest

from routestat.counting.kernels.distributions import cells_of_entries, starts_of


def test_starts_by_hand() -> None:
    # Neither 0 nor 3 occurs.
    assert starts_of(np.array([1, 1, 2, 4], np.int32), 5).tolist() == [0, 0, 2, 3, 3, 4]
    assert starts_of(np.empty(0, np.int32), 2).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_cells_of_entries_are_counted(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # An entry is of one group, whose cells are neighbours.
    group = np.sort(rng.integers(0, 4, 200))
    cell = (3 * group + np.sort(rng.integers(0, 3, 200))).astype(np.int32)
    order = np.argsort(cell, kind="stable")
    group, cell = group[order], cell[order]
    entry = (5 * group + rng.integers(-1, 4, 200)).astype(np.int32)
    entry[entry % 5 == 4] = -1
    starts, cells, rows = cells_of_entries(entry, cell, 21)
    slow = Counter(zip(entry.tolist(), cell.tolist(), strict=True))
    found = {(e, int(cells[t])): int(rows[t]) for e in range(21) for t in range(starts[e], starts[e + 1])}
    assert found == {key: n for key, n in slow.items() if key[0] >= 0}
