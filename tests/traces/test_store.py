import pytest

from routestat import Trace, TraceWriter
from routestat.errors import TraceError
from tests.traces.small_store import META


def test_an_empty_store_opens_and_says_nothing(tmp_path):
    with TraceWriter(tmp_path / "t", META):
        pass
    assert Trace.open(tmp_path / "t").n_tokens == 0


def test_layers_that_are_not_there_are_named(store):
    with pytest.raises(TraceError, match="layers 2, 7-8 not in this trace; it has 0-1, 3"):
        Trace.open(store).routers([0, 2, 7, 8])
