"""Shares that mean nothing are null, and traces of constant layers have a report."""

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.html.study import write_report
from routestat.report.records.study import results
from routestat.study.layer_pairs import layer_pairs
from routestat.study.layers import sample_of
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def report_of(states, folder):
    meta = TraceMeta(routers_like(range(states.shape[1]), 4, 2), name="t")
    trace = Trace.from_arrays(
        meta, np.repeat(np.arange(12), len(states) // 12), None, states.astype(np.uint8)
    )
    found = study(
        trace,
        count(trace),
        count_paths(trace),
        np.random.default_rng(0),
        structure=StructurePlan(n_blocks=2, n_paths=2),
    )
    write_report(found, folder)
    return results(found)


def test_constant_layers(tmp_path):
    record = report_of(np.zeros((240, 4), int), tmp_path)
    assert [item["cmi_share"] for item in record["order"]] == [None, None]
    assert [item["mi_bits"] for item in record["dependence"]] == [0, 0, 0]


def test_nothing_but_missing_choices(tmp_path):
    record = report_of(np.full((240, 3), 255), tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert record["coactivation"][0]["bits"] is None
    assert "Table: co-activation per layer" not in page
    assert "none</td>" not in page.split('id="load-title"')[1].split("</section>")[0]


def test_the_share_of_two_layers(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 2400))
    record = report_of(np.stack([x, y, np.where(rng.random(2400) < 0.5, x, y)], axis=1), tmp_path)
    item, pair = record["order"][0], record["dependence"][1]
    assert item["cmi_share"] == item["cmi_bits"] / (item["cmi_bits"] + pair["mi_bits"])
    assert 0.5 < item["cmi_share"] < 0.9


def test_the_share_where_neither_layer_predicts_alone(tmp_path):
    """A sum of two: all of it is what the farther layer adds, though estimates of the other part are below zero."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 6, (2, 2400))
    record = report_of(np.stack([x, y, (x + y) % 6], axis=1), tmp_path)
    item, pair = record["order"][0], record["dependence"][1]
    assert item["cmi_share"] == item["cmi_bits"] / (item["cmi_bits"] + max(pair["mi_bits"], 0))
    assert item["cmi_share"] > 0.99
    assert abs(item["cmi_bits_shuffled"]) < 0.05 * item["cmi_bits"]
    assert "caution" not in item or "cmi" not in item["caution"]


def test_what_is_found_where_there_is_nothing():
    """Independent layers of 28 states: with 4,000 tokens for 28³ cells the estimate is far from nothing."""
    rng = np.random.default_rng(2)
    meta = TraceMeta(routers_like(range(3), 8, 2), name="t")
    trace = Trace.from_arrays(
        meta, np.repeat(np.arange(40), 100), None, rng.integers(0, 28, (4000, 3), np.uint8)
    )
    counts = count(trace, contexts=[Context(), Context.layer(1)])
    sample = sample_of(trace, counts)
    # The noise floor is that of one shuffle; its mean over several has less error of its own.
    parts = [layer_pairs(trace, counts, sample, rng)[1] for _ in range(8)]
    for name in ("skip", "given_previous"):
        found = [getattr(part, name) for part in parts]
        interval, floor = found[0].information, np.mean([one.shuffled_bits for one in found])
        assert interval.low > 0.3
        assert interval.low <= floor <= interval.high
