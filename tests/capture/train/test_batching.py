"""Every pass over the text has all rows, cut at other places."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.train import recipe
from capture.train.batching import RowSampler


def test_every_pass_shows_every_row_once_and_cuts_the_text_elsewhere():
    rows = RowSampler(np.arange(3, 1003, dtype=np.uint16), 10, 7, seed=1)
    # 99 rows in a pass: the first 14 steps and one row more.
    seen = np.concatenate([rows.of_step(step) for step in range(15)])
    assert (seen[:, 0] == recipe.START_ID).all()
    first, second = seen[:99, 1], seen[99:, 1]
    assert (np.diff(seen[:, 1:], axis=1) == 1).all()
    assert (np.diff(np.sort(first)) == 10).all()
    assert (np.diff(first) != 10).any()
    assert (first[0] - second[0]) % 10
    again = RowSampler(np.arange(3, 1003, dtype=np.uint16), 10, 7, seed=1)
    np.testing.assert_array_equal(again.of_step(14), rows.of_step(14))
