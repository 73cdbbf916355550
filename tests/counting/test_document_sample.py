"""Whole documents of a sample, and their beginnings where whole ones are too long."""

import numpy as np
import pytest

from routestat.counting.document_sample import LEAST_WHOLE, MOST_EXCESS, take_sample, whole_documents
from routestat.errors import RoutestatError
from tests.serving.served_steps import random_choices, trace_of


def sample_of(lengths):
    return take_sample(trace_of(lengths, random_choices(sum(lengths), n_layers=2)))


def test_documents_are_kept_whole():
    lengths = [5 + number % 7 for number in range(60)]
    sample = sample_of(lengths)
    found = whole_documents(sample, 200)
    numbers, kept = np.unique(found.document, return_counts=True)
    assert kept.tolist() == [lengths[number] for number in numbers]
    assert found.n_documents == len(numbers) > LEAST_WHOLE
    assert 200 - 11 < len(found) <= 200
    rows = np.isin(sample.document, numbers)
    for name, values in sample.columns.items():
        assert (found.columns[name] == values[rows]).all()
    assert (found.follows == sample.follows[rows]).all()
    assert found.note == f"on {len(found):,} tokens of {len(numbers)} documents taken at random"
    # Those of fewer rows are among those of more.
    assert set(whole_documents(sample, 150).document) < set(found.document)


def test_all_are_kept_where_they_fit():
    sample = sample_of([4] * 20)
    assert whole_documents(sample, 80) is sample


def test_never_so_few_documents_that_there_is_no_interval():
    found = whole_documents(sample_of([10] * 40), 40)
    assert found.n_documents == LEAST_WHOLE
    assert len(found) == 10 * LEAST_WHOLE
    assert not found.cut


def test_of_long_documents_the_beginnings_are_kept():
    found = whole_documents(sample_of([100] * 5), 30)
    assert found.cut
    assert np.unique(found.document).tolist() == [0, 1, 2, 3, 4]
    assert len(found) <= MOST_EXCESS * 30 + 5


def test_no_rows_are_refused():
    with pytest.raises(RoutestatError, match="rows: expected 1 or more, got 0"):
        whole_documents(sample_of([4, 4]), 0)
