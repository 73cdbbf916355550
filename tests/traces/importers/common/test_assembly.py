"""What is wrong is named with its file and its line or row, in every reader."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.importers.known import chosen, refused
from tests.traces.importers.test_megatron import lines
from tests.traces.importers.test_megatron import write as write_ranks


@pytest.fixture
def experts():
    return chosen(np.random.default_rng(4), 20, 3, 8, 2)


def responses(path, parts):
    path.write_text(
        "".join(json.dumps({"id": f"q{i}", "routed_experts": part}) + "\n" for i, part in enumerate(parts))
    )
    return path


def test_a_row_of_a_response_is_named_with_its_line(capsys, tmp_path, experts):
    parts = [experts.tolist(), experts.tolist()]
    parts[1][7][2] = [3, 3]
    line = refused(capsys, responses(tmp_path / "x.jsonl", parts), tmp_path)
    assert "x.jsonl: experts of layer 2, line 2, document q1, position 7: [3, 3] repeats" in line
    parts[1][7][2] = [3, 70_000]
    line = refused(capsys, responses(tmp_path / "x.jsonl", parts), tmp_path)
    assert "x.jsonl: line 2, document q1, position 7: an id of 70000" in line


def test_rows_of_unequal_length_are_named(capsys, tmp_path, experts):
    parts = [experts.tolist(), experts.tolist()]
    parts[1][7] = parts[1][7][:2]
    line = refused(capsys, responses(tmp_path / "x.jsonl", parts), tmp_path)
    assert "x.jsonl, line 2" in line
    assert "rows of unequal length: row 7 is [2, 2], row 0 [3, 2]" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"document": np.where(np.arange(20) == 5, -2, 0)},
            "document must lie in 0 … 2147483647, got -2 in row 5",
        ),
        ({"domain": np.arange(20) // 15}, "domain changes within a document: row 15 of document 0"),
        ({"domain": np.full(20, 3), "domains": ["a"]}, "domain has index 3 in row 0"),
        ({"clusters": np.arange(20) // 15}, "clusters changes within a document in row 15"),
    ],
)
def test_rows_of_plain_arrays_are_named(capsys, tmp_path, experts, changes, message):
    np.savez(tmp_path / "x.npz", experts=experts, **changes)
    line = refused(capsys, tmp_path / "x.npz", tmp_path)
    assert "x.npz" in line
    assert message in line


def test_lines_and_ranks_of_megatron_are_named(capsys, tmp_path, experts):
    folder = tmp_path / "d"
    records = [*lines(experts[:9, :2]), *lines(experts[:9, 1:], step=1)]
    cut = records[3] | {"num_tokens": 8, "top_indices": records[3]["top_indices"][:8]}
    write_ranks(folder, 0, [*records[:3], cut])
    line = refused(capsys, folder, tmp_path)
    assert "router_trace_rank0.jsonl, line 4: step 1, rank 0, pass 0: layers of unequal length" in line
    records[2]["top_indices"][5] = [3, 3]
    write_ranks(folder, 0, records)
    line = refused(capsys, folder, tmp_path)
    assert "document step 1 rank 0, position 5: [3, 3] repeats" in line


def test_rows_of_parquet_are_named(capsys, tmp_path, experts):
    (tmp_path / "m" / "samples").mkdir(parents=True)
    (tmp_path / "m" / "actives" / "iter_1").mkdir(parents=True)
    ids = pa.array([*range(12), None, *range(7)], pa.int32())
    samples = tmp_path / "m" / "samples" / "a.parquet"
    layer = tmp_path / "m" / "actives" / "iter_1" / "layer_02.parquet"
    pq.write_table(pa.table({"token_id": ids}), samples)
    rows = experts[:, 0].tolist()
    pq.write_table(pa.table({"indices": pa.array(rows, pa.list_(pa.int16()))}), layer)
    assert "a.parquet: token_id is null in 1 rows, the first is row 12" in refused(
        capsys, tmp_path / "m", tmp_path
    )
    pq.write_table(pa.table({"token_id": pa.array(range(20), pa.int32())}), samples)
    rows[9] = [1, None]
    pq.write_table(pa.table({"indices": pa.array(rows, pa.list_(pa.int16()))}), layer)
    assert "layer_02.parquet: row 9: indices is null" in refused(capsys, tmp_path / "m", tmp_path)
