"""The engines' example files, which the harness of mutations damages too, are read right as they are."""

import numpy as np
import pytest

from tests.traces.importers.engine_examples import EXAMPLES, LAYERS, TOP_K
from tests.traces.importers.known import stored, subsets


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_whole_file_is_read_right(capsys, tmp_path, example):
    source, held = example.write(np.random.default_rng(1), tmp_path)
    trace, got, _ = stored(capsys, source, tmp_path, *example.options)
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate(held)))
    assert got.document.tolist() == [n for n, one in enumerate(held) for _ in one]
    assert (len(trace.meta.routers), trace.meta.routers[0].top_k) == (LAYERS, TOP_K)
