"""The writer: what is written is read back, what cannot be is refused, and a crash loses little."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.ipc
import pytest

from routestat import Router, Trace, TraceMeta, TraceWriter
from routestat.errors import TraceError
from routestat.traces.metadata import routers_like
from routestat.traces.rows import rank_rows
from tests.traces.small_store import META, crashed, read, rewrite, rows


def test_what_was_written_is_read_back(store):
    document, position, states = rows(600, 6)
    got_document, got_position, columns = read(store)
    assert np.array_equal(got_document, document)
    assert np.array_equal(got_position, position)
    assert [name for name in columns if name.startswith("L")] == ["L00", "L01", "L03"]
    for i, name in enumerate(["L00", "L01", "L03"]):
        assert np.array_equal(columns[name], states[:, i])
    assert np.array_equal(columns["token"], np.arange(600))
    trace = Trace.open(store)
    assert trace.meta == META
    assert (trace.n_tokens, trace.complete, trace.documents.num_rows) == (600, True, 6)


def test_shards_are_cut_between_documents(store):
    manifest = json.loads((store / "manifest.json").read_text())
    assert [shard["rows"] for shard in manifest["shards"]] == [
        200,
        200,
        200,
    ]  # documents of 100, at most 250 rows


def test_missing_values_wide_rows_and_companions_survive(tmp_path):
    routers = (Router(0, 8, 2), Router(1, 64, 6), Router(2, 512, 10))
    experts = [
        np.array([[1, 0], [7, 3], [-1, -1]]),
        np.tile(np.arange(6), (3, 1)),
        np.tile(np.arange(10), (3, 1)),
    ]
    experts[2] = np.vstack([np.arange(10)[::-1], np.full(10, -1), np.arange(502, 512)])
    states = {router.name: rank_rows(e, router) for router, e in zip(routers, experts, strict=True)}
    columns = {"L00.top1": [1, 7, 255], "L00.weights": np.array([[0.25, 0.75]] * 3), "L01.ahead1": [5, 6, 7]}
    with TraceWriter(tmp_path / "w", TraceMeta(routers)) as writer:
        writer.write([0, 0, 1], states=states, columns=columns, phase=["prefill", "decode", "prefill"])
    _, position, got = read(tmp_path / "w")
    assert position.tolist() == [0, 1, 0]
    assert got["L00"].tolist() == [0, 21, 255]  # 7 + 6 + 5 pairs come before (3, 4), and (3, 7) is 3 on
    assert got["L01"].dtype == np.uint32
    assert got["L02"][0].tolist() == list(range(10))
    assert got["L02"][1].tolist() == [65535] * 10
    assert got["L00.weights"].dtype == np.float16
    assert got["L01.ahead1"].tolist() == [5, 6, 7]
    phases = pa.ipc.open_file(tmp_path / "w" / "shard-00000.arrow").read_all().column("phase").to_pylist()
    assert phases == ["prefill", "decode", "prefill"]


def test_appending_goes_on_and_refuses_what_does_not_fit(store):
    with TraceWriter(store, META, append=True) as writer:
        writer.write([6, 6, 7], states=np.zeros((3, 3), np.uint8))
    assert Trace.open(store).n_tokens == 603
    assert Trace.open(store).documents.column("document").to_pylist() == list(range(8))
    with pytest.raises(TraceError, match="already holds a trace"):
        TraceWriter(store, META)
    with pytest.raises(TraceError, match="other routers"):
        TraceWriter(store, TraceMeta(routers_like([0], 8, 2)), append=True)
    with (
        pytest.raises(TraceError, match="document 2 continues after another began"),
        TraceWriter(store, META, append=True) as writer,
    ):
        writer.write([2], states=np.zeros((1, 3), np.uint8))
    assert Trace.open(store).n_tokens == 603


@pytest.mark.parametrize(
    ("document", "position", "message"),
    [
        ([0, 1, 0], [0, 0, 1], "row 2: document 0 continues after another began"),
        ([0, 0, 0], [0, 2, 1], "row 2: positions must rise"),
        ([0, -1, 1], [0, 0, 0], "row 1: document numbers are 0 or more"),
    ],
)
def test_rows_out_of_order_are_refused_and_nothing_of_them_is_kept(tmp_path, document, position, message):
    with TraceWriter(tmp_path / "t", META) as writer:
        with pytest.raises(TraceError, match=message):
            writer.write(document, position, states=np.zeros((3, 3), np.uint8))
        writer.write([0, 0, 1], [0, 1, 0], states=np.zeros((3, 3), np.uint8))
    assert Trace.open(tmp_path / "t").n_tokens == 3


def test_a_state_out_of_range_is_refused_at_both_doors(store, tmp_path):
    bad = np.zeros((3, 3), np.uint8)
    bad[2, 1] = 28
    with pytest.raises(TraceError, match="row 2: L01: states are 0 … 27"):
        Trace.from_arrays(META, [0, 0, 0], None, bad)

    def spoil(table):
        values = table.column("L03").to_numpy().copy()
        values[37] = 99
        return table.set_column(
            table.schema.get_field_index("L03"), table.schema.field("L03"), pa.array(values)
        )

    rewrite(store, spoil, shard=1)
    with pytest.raises(TraceError, match=r"shard-00001\.arrow, row 37: L03: states are 0 … 27 .*got 99"):
        Trace.open(store)


def test_documents_new_from_a_crash_between_the_two_renames_is_used(store):
    (store / "documents.arrow").rename(store / "documents.arrow.new")
    assert Trace.open(store).documents.num_rows == 6
    with TraceWriter(store, META, append=True) as writer:
        writer.write([9], states=np.zeros((1, 3), np.uint8))
    assert Trace.open(store).documents.num_rows == 7


WRITER = """
import sys, time, numpy as np
from routestat import TraceMeta, TraceWriter
from routestat.traces.metadata import routers_like
with TraceWriter(sys.argv[1], TraceMeta(routers_like([0, 1], 8, 2)), shard_rows=100) as writer:
    for document in range(10**6):
        writer.write(np.full(60, document), states=np.full((60, 2), document % 28, np.uint8))
        print(document, flush=True)
        time.sleep(0.002)
"""


def test_a_killed_writer_loses_at_most_its_unfinished_shard(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "k")], stdout=subprocess.PIPE, text=True
    )
    while int(process.stdout.readline()) < 12:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.05)
    trace = Trace.open(tmp_path / "k")
    assert not trace.complete
    assert trace.n_tokens >= 60 * 10  # 12 documents were handed over; a shard holds one whole document of 60
    kept = trace.documents.num_rows
    with TraceWriter(tmp_path / "k", trace.meta, append=True) as writer:
        writer.write(np.full(60, 10**6), states=np.zeros((60, 2), np.uint8))
    again = Trace.open(tmp_path / "k")
    assert (again.complete, again.documents.num_rows) == (True, kept + 1)
    assert not [*(tmp_path / "k").glob("*.tmp"), *(tmp_path / "k").glob("*.new")]


def test_an_interrupted_writer_keeps_what_it_was_given(tmp_path):
    def interrupted():
        with TraceWriter(tmp_path / "t", META) as writer:
            writer.write([0, 0, 1], states=np.zeros((3, 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    trace = Trace.open(tmp_path / "t")
    assert (trace.n_tokens, trace.complete) == (3, False)


def test_documents_described_before_a_crash_come_after_it(tmp_path):
    path = crashed(tmp_path / "t")
    with TraceWriter(path, META, append=True, shard_rows=10) as writer:
        writer.add_documents({"document": list(range(10)), "name": [f"new {i}" for i in range(10)]})
        with pytest.raises(TraceError, match="document 4 continues after another began"):
            writer.write([4], states=np.zeros((1, 3), np.uint8))
        writer.write(np.repeat(np.arange(5, 10), 10), states=np.zeros((50, 3), np.uint8))
    trace = Trace.open(path)
    assert (trace.n_tokens, trace.complete) == (100, True)
    assert trace.documents.column("document").to_pylist() == list(range(10))
    assert trace.documents.column("name").to_pylist() == [f"new {i}" for i in range(10)]


def test_a_later_description_replaces_the_earlier_one(tmp_path):
    with TraceWriter(tmp_path / "t", META) as writer:
        writer.add_documents({"document": [3, 1], "name": ["c", "a"]})
        writer.add_documents({"document": [3], "name": ["d"], "pages": [2]})
        with pytest.raises(TraceError, match="document 5 is described twice in one call"):
            writer.add_documents({"document": [5, 5], "name": ["e", "f"]})
    rows = Trace.open(tmp_path / "t").documents.select(["document", "name", "pages"]).to_pylist()
    assert rows == [
        {"document": 1, "name": "a", "pages": None},
        {"document": 3, "name": "d", "pages": 2},
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"document": [0.5]}, "column document must be whole numbers, got float64"),
        ({"document": ["1"]}, "column document must be whole numbers"),
        ({"document": [2**31]}, "row 0: document numbers are 0 or more, at most 2147483647"),
        ({"document": [1], "name": ["a", "b"]}, "column name has 2 rows where document has 1"),
        ({"document": [1], "name": [object()]}, "column name cannot be kept"),
        ({"document": [1], "name": [7]}, "a column changes its type"),
        ({"document": 1}, "column document must be a list"),
    ],
)
def test_documents_that_cannot_be_kept_are_refused(tmp_path, rows, message):
    with TraceWriter(tmp_path / "t", META) as writer:
        writer.add_documents({"document": [0], "name": ["zero"]})
        with pytest.raises(TraceError, match=message):
            writer.add_documents(rows)
    assert Trace.open(tmp_path / "t").documents.num_rows == 1


GOOD = np.zeros((4, 3), np.uint8)


EXPERTS = np.tile([0, 1], (4, 3, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"document": np.full(4, 2**32 + 3)}, "row 0: document numbers are 0 or more, at most 2147483647"),
        ({"document": [0.0, 0.5, 1.0, 1.5]}, "column document must be whole numbers, got float64"),
        ({"document": [True] * 4}, "column document must be whole numbers, got bool"),
        ({"document": [[0]] * 4}, r"column document must have the shape \(4,\)"),
        ({"document": 7}, "column document must be a list"),
        ({"position": [0.1, 1.9, 2.2, 3.5]}, "column position must be whole numbers"),
        ({"position": [0, 1, 2, 2**31]}, "row 3: position numbers are 0 or more, at most 2147483647"),
        ({"position": [0, 1]}, "column position has 2 rows where document has 4"),
        ({"token": [0, 2**31, 1, 1]}, "row 1: token numbers are -1 or more, at most 2147483647"),
        ({"token": [0, 1, -2, 1]}, "row 2: token numbers are -1 or more"),
        ({"states": GOOD + 0.5}, "column L00 must be whole numbers, got float64"),
        ({"states": [[0, 259, 0]] * 4}, r"row 0: L01: states are 0 … 27 \(or 255 for missing\), got 259"),
        ({"states": GOOD.astype(int) - 1}, "row 0: L00: states are 0 … 27 .*got -1"),
        ({"states": {"L00": [0] * 4, "L03": [0] * 4}}, "states lack router L01"),
        ({"states": {"L00": [0] * 4, "L01": [0] * 2, "L03": [0] * 4}}, "column L01 has 2 rows"),
        ({"states": None, "experts": EXPERTS - 2}, "layer 0, row 0: expert -2 is out of range"),
        ({"states": None, "experts": EXPERTS * 0 + [-1, -3]}, "layer 0, row 0: expert -"),
        ({"states": None, "experts": EXPERTS + 0.0}, "column L00 must be whole numbers"),
        ({"states": None, "experts": EXPERTS[..., :1] * 0 - 1}, r"column L00 must have the shape \(4, 2\)"),
        ({"phase": "x"}, "phase must be one of prefill, decode, got 'x'"),
        (
            {"phase": ["prefill", None, "decode", "decode"]},
            "phase must be one of prefill, decode, got 'None'",
        ),
        ({"phase": ["prefill", "decode"]}, "phase must be one word or 4 of them"),
        ({"columns": {"L00.weights": np.ones((4, 3))}}, r"L00.weights must have the shape \(4, 2\)"),
        ({"columns": {"L00.weights": np.full((4, 2), 1e9)}}, "row 0: L00.weights: weights are finite"),
        ({"columns": {"L00.top1": [0, 1, 300, 2]}}, "row 2: L00.top1: experts are 0 … 7 .*got 300"),
        ({"columns": {"L00.top1": [0, 1, 8, 2]}}, "row 2: L00.top1: experts are 0 … 7 .*got 8"),
        ({"columns": {"L00": [0] * 4}}, "a column is named twice"),
    ],
)
def test_numbers_that_the_store_cannot_hold_are_refused(tmp_path, given, message):
    arguments = {"document": [0] * 4, "states": GOOD} | given
    with TraceWriter(tmp_path / "t", META) as writer:
        with pytest.raises(TraceError, match=message) as caught:
            writer.write(**arguments)
        assert len(str(caught.value).splitlines()) == 1
        writer.write([0] * 4, states=GOOD)
    assert Trace.open(tmp_path / "t").n_tokens == 4
    with pytest.raises(TraceError, match=message):
        Trace.from_arrays(META, **({"position": None} | arguments))


def test_a_table_of_other_types_is_refused(tmp_path):
    table = pa.Table.from_batches(Trace.from_arrays(META, [0] * 4, None, GOOD).record_batches())
    with TraceWriter(tmp_path / "t", META) as writer:
        with pytest.raises(TraceError, match="column token is int64, expected int32"):
            writer.write_table(table.set_column(2, "token", pa.array([0] * 4, pa.int64())))
        with pytest.raises(TraceError, match="rows written, row 1: column token has no value"):
            writer.write_table(table.set_column(2, "token", pa.array([0, None, 0, 0], pa.int32())))
        words = (
            pa.array(["prefill", "prefill", "train", "decode"]).dictionary_encode().cast(table.schema[3].type)
        )
        with pytest.raises(
            TraceError, match="row 2: column phase must be one of prefill, decode, got 'train'"
        ):
            writer.write_table(table.set_column(3, "phase", words))
        writer.write_table(table)
    assert Trace.open(tmp_path / "t").n_tokens == 4
