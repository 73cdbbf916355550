import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from routestat.traces.arrow_arrays import arrow_numbers, arrow_words, numbers_of

TRACE = "data/traces/tiny-mixtral"


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "i8", "f2", "f8"])
def test_numbers_round_trip(dtype):
    values = np.arange(7).astype(dtype)[1::2]
    column = arrow_numbers(values)
    assert column.equals(pa.array(values))
    assert numbers_of(column).dtype == values.dtype
    assert numbers_of(column).tolist() == [1, 3, 5]


def test_slices_and_chunks():
    first, second = arrow_numbers(np.arange(5)), arrow_numbers(np.arange(9, 11))
    assert numbers_of(first[2:4]).tolist() == [2, 3]
    assert numbers_of(pa.chunked_array([first[:2], second])).tolist() == [0, 1, 9, 10]
    assert numbers_of(pa.chunked_array([], pa.int16())).dtype == np.int16


def test_an_array_outlives_its_column():
    def made():
        return numbers_of(pa.chunked_array([arrow_numbers(np.full(1000, 7))]))

    found = made()
    pa.py_buffer(bytes(8000))
    assert (found == 7).all()


def test_missing_values_are_nan_as_in_pyarrow():
    assert np.isnan(numbers_of(pa.array([1.0, None]))).tolist() == [False, True]
    assert arrow_numbers(np.array([1.0, np.nan, np.inf])).to_pylist() == [1.0, None, None]


@pytest.mark.parametrize("words", [["0 3", "12 117", ""], ["é", "a→b", "plain"], ["", ""], []])
def test_words(words):
    assert arrow_words(np.array(words, dtype=str)).to_pylist() == words


def test_a_trace_is_read_without_pandas():
    code = (
        "import sys; from routestat.traces.store import Trace; from routestat.counting.counts import count; "
        f"trace = Trace.open({TRACE!r}); count(trace, [0, 1]); trace.not_measured; trace.units; "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
