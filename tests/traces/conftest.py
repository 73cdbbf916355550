import numpy as np
import pytest

from routestat import TraceWriter
from tests.traces.small_store import META, rows


@pytest.fixture
def store(tmp_path):
    document, position, states = rows(600, 6)
    with TraceWriter(tmp_path / "t", META, shard_rows=250) as writer:
        writer.write(document, position, states=states, token=np.arange(600))
    return tmp_path / "t"
