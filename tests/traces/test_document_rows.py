"""Places of rows within documents, by hand and across batches."""

import numpy as np
import pytest

from routestat.traces.document_rows import DocumentRows, PlaceCounter, count_within, first_rows


def test_first_rows_begin_stretches_of_one_document():
    assert first_rows(np.array([4, 4, 2, 7, 7, 7], np.int32)).tolist() == [0, 2, 3]


def test_counts_restart_in_every_stretch():
    assert count_within(np.array([3, 0, 1, 2])).tolist() == [0, 1, 2, 0, 0, 1]
    assert count_within(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_places_do_not_depend_on_the_batches(size):
    document = np.array([5, 5, 5, 5, 1, 8, 8, 8, 8], np.int32)
    counter = PlaceCounter()
    places = [counter.places(document[at : at + size]) for at in range(0, len(document), size)]
    assert np.concatenate(places).tolist() == [0, 1, 2, 3, 0, 0, 1, 2, 3]


def test_kept_rows_of_documents():
    rows = DocumentRows(np.array([3, 9], np.int32), np.array([10, 2]), np.array([0, 4, 6]))
    assert rows.kept.tolist() == [4, 2]
