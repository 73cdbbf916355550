"""A trace whose columns stay in memory reads the same as from its shards, and reads each column once."""

import numpy as np
import pytest

from routestat import Context, Trace, TraceMeta, count
from routestat.traces import held_columns
from routestat.traces.held_columns import held_in_memory
from routestat.traces.metadata import routers_like
from routestat.traces.writer import TraceWriter

ROUTERS = routers_like([0, 3, 7], 8, 2)


@pytest.fixture
def opened(tmp_path):
    rng = np.random.default_rng(0)
    with TraceWriter(tmp_path / "t", TraceMeta(ROUTERS), shard_rows=300) as writer:
        for number in range(12):
            # All documents begin with the same tokens: a template, whose repetitions are left out.
            token = np.concatenate([np.arange(9), 20 + rng.integers(0, 5, 90 + number)])
            states = rng.integers(0, 28, (len(token), 3))
            writer.write(np.full(len(token), number), states=states, token=token)
    return Trace.open(tmp_path / "t")


@pytest.fixture
def decoded(monkeypatch):
    """The columns that are decoded, file by file."""
    seen = []
    original = held_columns.batches_of

    def record(file, columns):
        seen.append((file.name, tuple(columns)))
        return original(file, columns)

    monkeypatch.setattr(held_columns, "batches_of", record)
    return seen


@pytest.mark.parametrize("rows", [7, 100_000])
@pytest.mark.parametrize("columns", [[], ["L00"], ["L07", "token", "L00"], ["token"], ["phase"], None])
def test_batches_are_those_of_the_shards(opened, monkeypatch, rows, columns):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: rows)
    held = held_in_memory(opened, ROUTERS)
    list(held.counted(["L03"]))
    for _ in range(2):
        for read in ("record_batches", "counted"):
            ours, theirs = (list(getattr(trace, read)(columns)) for trace in (held, opened))
            assert len(ours) == len(theirs) > (20 if rows == 7 else 1)
            if read == "record_batches":
                for mine, other in zip(ours, theirs, strict=True):
                    assert set(mine.schema.names) == set(other.schema.names)
                    assert mine.select(other.schema.names).equals(other)
            for mine, other in zip(ours, theirs, strict=True) if read == "counted" else ():
                assert np.array_equal(mine.document, other.document)
                assert np.array_equal(mine.position, other.position)
                for name, values in other.columns.items():
                    assert np.array_equal(mine.columns[name], values)
                    assert not mine.columns[name].flags.writeable


def test_every_column_is_decoded_once(opened, decoded):
    held, n_files = held_in_memory(opened, ROUTERS[:2]), 6
    counts = count(held, [0, 3])
    assert len(decoded) == n_files
    assert {columns for _, columns in decoded} == {("document", "position", "L00", "L03")}
    list(held.counted(["L03", "token"]))
    assert [columns for _, columns in decoded[n_files:]] == [("token",)] * n_files
    again = count(held, [0, 3], [Context.layer(1)])
    assert len(decoded) == 2 * n_files
    reference = count(opened, [0, 3])
    for context in reference.contexts:
        for router in reference.routers:
            if (context, router.name) in reference.tables:
                assert np.array_equal(counts.table(context, router), reference.table(context, router))
    assert np.array_equal(
        again.table(Context.layer(1), ROUTERS[1]), reference.table(Context.layer(1), ROUTERS[1])
    )
    # Routers that are not held are read from the shards each time.
    list(held.counted(["L07"]))
    assert len(decoded) == 2 * n_files


def test_what_does_not_fit_is_not_held(opened):
    width = 4 + 4 + 4 + 1 + 2  # document, position, token, phase, and one byte for each of two routers
    assert held_in_memory(opened, ROUTERS[:2], limit=opened.n_tokens * width) is not opened
    assert held_in_memory(opened, ROUTERS[:2], limit=opened.n_tokens * width - 1) is opened


def test_dummy_rows_are_left_out_of_what_is_held(tmp_path):
    states = np.random.default_rng(1).integers(0, 28, (400, 3))
    states[:40] = states[0]
    with TraceWriter(tmp_path / "t", TraceMeta(ROUTERS)) as writer:
        writer.write(np.repeat([0, 1], 200), states=states)
    opened = Trace.open(tmp_path / "t", dummy_rows="drop")
    held = held_in_memory(opened, ROUTERS)
    assert opened.n_tokens < 400
    for _ in range(2):
        ours, theirs = (
            np.concatenate([b.columns["L03"] for b in t.counted(["L03"])]) for t in (held, opened)
        )
        assert np.array_equal(ours, theirs)
