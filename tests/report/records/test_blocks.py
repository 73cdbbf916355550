"""`biclusters[]`: a sentence on whether blocks are real, and what a reader needs beside it."""

import numpy as np
import pytest

from routestat.report.records.blocks import bicluster_record, verdict
from routestat.report.records.plain import plain
from routestat.structure.block_search import find_biclusters
from routestat.study.blocks import BlockFinding
from routestat.traces.metadata import routers_like

SOURCE, TARGET = routers_like([4, 5], 4, 2)


def finding(strength, documents=30, **options):
    """A transition between six pairs with two blocks on either side."""
    half = np.repeat([0, 1], 3)
    cells = np.where(half[:, None] == half, strength, 1.0)
    rng = np.random.default_rng(0)
    tables = rng.multinomial(200, (cells / cells.sum()).ravel(), size=documents).reshape(documents, 6, 6)
    return BlockFinding(SOURCE, TARGET, tables.sum(axis=0), find_biclusters(tables, rng, **options))


def test_real_blocks():
    item = finding(5.0)
    record = plain(bicluster_record(item))
    assert (record["source"], record["target"], record["matrix"], record["real"]) == (4, 5, "lift", True)
    assert (record["n_row_blocks"], record["n_column_blocks"], record["at_most_blocks"]) == (2, 2, False)
    low, high = record["heldout_gain_bits_ci95"]
    assert 0 < low < record["heldout_gain_bits"] < high
    assert record["heldout_gain_bits_by_size"][0] == 0
    assert len(record["heldout_gain_bits_by_size"]) == 11
    assert 0.9 < record["share_explained"] < 1.1
    assert record["verdict"].startswith("Blocks are real: 2 × 2 of them save 0.3")
    assert "left-out documents." in record["verdict"]
    assert "reason" not in record


def test_more_blocks_than_were_looked_for():
    # A fine structure: every state has a target of its own.
    rng = np.random.default_rng(1)
    cells = np.eye(6) * 5 + 1
    tables = rng.multinomial(400, (cells / cells.sum()).ravel(), size=30).reshape(30, 6, 6)
    item = BlockFinding(SOURCE, TARGET, tables.sum(axis=0), find_biclusters(tables, rng, most=3))
    assert bicluster_record(item)["at_most_blocks"]
    assert verdict(item).endswith(
        "No more than 3 of each side were looked for, and no fewer describe them as well."
    )


def test_no_blocks():
    record = plain(bicluster_record(finding(1.0)))
    assert (record["real"], record["n_row_blocks"], record["n_column_blocks"]) == (False, 1, 1)
    assert record["verdict"].startswith("No blocks: one block describes left-out documents as well")
    assert record["share_of_mi"] == record["share_explained"] == 0
    assert record["share_of_mi_noise"] is None
    assert "one block" in record["reason"]
    assert finding(5.0, most=1).found.number.size == 0
    assert "at most one block" in verdict(finding(5.0, most=1))


@pytest.mark.parametrize("documents", [1, 5])
def test_not_tested(documents):
    record = plain(bicluster_record(finding(5.0, documents)))
    assert record["real"] is None
    assert record["heldout_gain_bits"] is None
    assert record["heldout_gain_bits_by_size"] == [None]
    assert record["verdict"].startswith(f"Not tested: {documents} independent unit")
    assert "no test or interval below 6" in record["reason"]
