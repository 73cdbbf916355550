"""Shares that mean nothing are null, and traces of constant layers have a report."""

import numpy as np

from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.html import write_report
from routestat.report.results import results
from routestat.study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def report_of(states, folder):
    meta = TraceMeta(routers_like(range(states.shape[1]), 4, 2), name="t")
    trace = Trace.from_arrays(
        meta, np.repeat(np.arange(12), len(states) // 12), None, states.astype(np.uint8)
    )
    found = study(trace, count(trace), count_paths(trace), np.random.default_rng(0), n_blocks=2, n_paths=2)
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
    record = report_of(np.stack([x, y, np.where(rng.random(2400) < 0.5, x, (x + y) % 6)], axis=1), tmp_path)
    item, pair = record["order"][0], record["dependence"][1]
    assert item["cmi_share"] == item["cmi_bits"] / (item["cmi_bits"] + pair["mi_bits"])
