"""Rows without the beginnings of documents: the rows that a slow loop keeps, in any batches."""

import numpy as np
import pyarrow as pa
import pytest

from routestat.traces.clusters.units import Units
from routestat.traces.examination import without_beginnings


def kept_by_a_loop(document, left_out):
    seen, rows = {}, []
    for row, number in enumerate(document.tolist()):
        seen[number] = seen.get(number, 0) + 1
        if seen[number] > left_out[number]:
            rows.append(row)
    return rows


@pytest.mark.parametrize("length", [2, 40])
@pytest.mark.parametrize("batch", [1, 7, 50, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_beginnings_are_left_out_whatever_the_batches(length, batch, share):
    rng = np.random.default_rng(length + batch)
    lengths = rng.integers(1, 2 * length, 60)
    document = np.repeat(np.arange(60), lengths)
    # Some documents lose nothing, some a part, some everything, and some have neighbours that do.
    left_out = np.where(rng.random(60) < share, rng.integers(0, 2 * length + 2, 60), 0)
    table = pa.table({"document": pa.array(document, pa.int32()), "row": np.arange(len(document))})
    records = iter(table.to_batches(max_chunksize=batch))
    found = list(without_beginnings(records, Units.alone(np.arange(60)), left_out))
    assert [row for record in found for row in record.column("row").to_pylist()] == kept_by_a_loop(
        document, left_out
    )
    assert all(record.num_rows for record in found)
