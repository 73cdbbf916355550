"""The plan of the progress: every stage that is expected is one that a study goes through, in both views."""

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.html.study import write_report
from routestat.study.expected_time import expected_seconds
from routestat.study.parts import PARTS
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces import synthetic


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_every_expected_stage_comes(view, tmp_path):
    shape = {"layers": 4, "documents": 30, "mean_length": 30, "rng": np.random.default_rng(3)}
    made = (
        synthetic.chain(coupling=0.7, n_experts=4, top_k=2, **shape)
        if view == "subset"
        else synthetic.expert_chain(coupling=1.0, n_experts=16, top_k=5, **shape)
    )
    trace = synthetic.to_trace(made)
    counts, ended = count(trace, states=view), {}

    def tick(what, done, total):
        ended[what] = done == total

    found = study(
        trace,
        counts,
        count_paths(trace),
        np.random.default_rng(0),
        structure=StructurePlan(n_paths=2),
        tick=tick,
    )
    write_report(found, tmp_path, tick=tick)
    expected = expected_seconds(counts, PARTS)
    # Or the share done would stop short of the whole.
    assert {name for name in expected if not ended.get(name)} == set()
    assert all(seconds > 0 for seconds in expected.values())


def test_parts_that_are_left_out_take_no_time():
    made = synthetic.chain(
        coupling=0.7,
        n_experts=4,
        top_k=2,
        layers=3,
        documents=10,
        mean_length=10,
        rng=np.random.default_rng(3),
    )
    counts = count(synthetic.to_trace(made))
    assert "measuring the memory" in expected_seconds(counts, PARTS)
    assert set(expected_seconds(counts, ["blocks"])) == {"drawing figures", "finding blocks"}
