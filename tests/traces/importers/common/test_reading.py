"""What is odd in a file and must not become experts: each case ends in a note or in one line."""

import io
import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from routestat.cli.runner import LONGEST, complain
from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import from_buffer, integers
from routestat.traces.importers.common.messages import listed, reason
from routestat.traces.importers.common.torch_files import torch_file
from tests.traces.importers.known import chosen, convert, npy, raw, refused, stored, subsets


@pytest.fixture
def experts():
    return chosen(np.random.default_rng(3), 9, 3, 8, 2)


def one(experts, **more):
    """A response of vLLM, as JSON."""
    return json.dumps({"choices": [{"routed_experts": npy(experts)}], **more})


def test_a_byte_order_mark_is_no_content(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text("\ufeff" + one(experts), encoding="utf-8")
    _, got, _ = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_a_name_that_comes_twice_is_refused(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text('{"choices": [], ' + one(experts)[1:])
    line = refused(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert "x.json: the name 'choices' comes twice in one object" in line


def test_a_member_that_comes_twice_is_refused(capsys, tmp_path, experts):
    path = tmp_path / "x.npz"
    np.savez(path, experts=experts)
    buffer = io.BytesIO()
    np.save(buffer, experts[::-1])
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("experts.npy", buffer.getvalue())
    assert "the archive holds 'experts.npy' twice" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize("value", [[[1, True]], [[False, 2]], [[1, 2], [3, True]]])
def test_true_is_no_id(value):
    with pytest.raises(FormatError, match="x: expected an integer, got true or false"):
        integers("x", value, 2)


def test_a_shape_that_overflows_is_no_shape(capsys, tmp_path):
    payload = {"data": "", "shape": [1 << 32, 1 << 32, 1 << 10], "dtype": "uint8"}
    (tmp_path / "x.json").write_text(json.dumps({"choices": [{"routed_experts": payload}]}))
    assert "0 bytes where [4294967296, 4294967296, 1024] of uint8 take" in refused(
        capsys, tmp_path / "x.json", tmp_path
    )
    with pytest.raises(FormatError, match="no such type"):
        from_buffer("x", b"", ["i4"], (0, 1, 1))


def test_a_position_beyond_all_is_refused(capsys, tmp_path, experts):
    payload = {"data": raw(experts), "shape": [9, 3, 2], "dtype": "int32", "start": 2**31 - 5}
    (tmp_path / "x.json").write_text(json.dumps({"choices": [{"routed_experts": payload}]}))
    assert "positions must lie in 0 … 2147483647" in refused(capsys, tmp_path / "x.json", tmp_path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            torch.zeros(1, dtype=torch.int32).as_strided((1 << 40, 3, 2), (0, 0, 0)),
            "where 1 numbers are stored",
        ),
        (torch.eye(3).to_sparse(), "tensors that are no plain numbers"),
        (torch.zeros(3, device="meta"), "tensors that are no plain numbers"),
        (torch.zeros(3).to(torch.float8_e4m3fn), "tensors that are no plain numbers"),
    ],
)
def test_tensors_that_are_no_arrays_are_refused(tmp_path, tensor, message):
    torch.save({"samples": [{"tokens": tensor}]}, tmp_path / "x.pt")
    with pytest.raises(FormatError, match=rf"x\.pt: .*{message}"):
        torch_file(tmp_path / "x.pt")


def test_an_expanded_tensor_is_read(tmp_path):
    torch.save({"rows": torch.arange(2).expand(50, 2)}, tmp_path / "x.pt")
    assert torch_file(tmp_path / "x.pt")["rows"].tolist() == [[0, 1]] * 50


def test_files_of_a_folder_that_nobody_reads_are_noted(capsys, tmp_path, experts):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.json").write_text(one(experts))
    (folder / "b.jsn").write_text(one(experts))
    (folder / "README.md").write_text("x")
    _, _, err = stored(capsys, folder, tmp_path, "--n-experts", 8)
    assert f"1 files of {folder} are not read: b.jsn" in err


def test_a_misspelt_field_and_array_are_noted(capsys, tmp_path, experts):
    (tmp_path / "x.json").write_text(one(experts, prompt_token_id=[1, 2, 3]))
    _, _, err = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)
    assert "'prompt_token_id' is not read (1 times in the file); did you mean prompt_token_ids?" in err
    (tmp_path / "n").mkdir()
    np.savez(tmp_path / "x.npz", experts=experts, postion=np.arange(9), other=np.arange(2))
    _, _, err = stored(capsys, tmp_path / "x.npz", tmp_path / "n")
    assert "array 'postion' is not read; did you mean position?" in err
    assert "array 'other' is not read\n" in err


def test_documents_that_lack_what_others_have_are_noted(capsys, tmp_path, experts):
    whole = {
        "prompt_token_ids": [1, 2, 3, 4],
        "choices": [{"token_ids": [5] * 6, "routed_experts": npy(experts)}],
    }
    bare = {"choices": [{"routed_experts": npy(experts)}]}
    none = {"choices": [{"routed_experts": npy(experts[:0])}]}
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, (whole, bare, none))))
    trace, _, err = stored(capsys, tmp_path / "x.jsonl", tmp_path, "--n-experts", 8)
    assert "1 of 3 documents have no rows and are left out" in err
    assert "2 of 3 documents have no token ids, the others do" in err
    assert trace.documents.num_rows == 2


def test_bits_flipped_in_parquet_are_found(capsys, tmp_path, experts):
    np.savez(tmp_path / "x.npz", experts=np.tile(experts, (50, 1, 1)), n_experts=8)
    assert convert(capsys, tmp_path / "x.npz", tmp_path / "t")[0] == 0
    path = tmp_path / "x.parquet"
    assert convert(capsys, tmp_path / "t", path)[0] == 0
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(4)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 4
    path.write_bytes(content)
    code, _, err = convert(capsys, path, tmp_path / "back")
    assert (code, err.count("\n")) == (2, 1)
    assert "x.parquet: cannot be decoded" in err


def test_a_message_is_one_line_that_no_terminal_obeys(capsys):
    complain("a\x1b[31m\nb \ud800" + "x" * 5000 + " end")
    line = capsys.readouterr().err
    assert line.startswith("error: a\\x1b[31m b \\ud800")
    assert line.endswith(" end\n")
    assert len(line) < LONGEST + 40


def test_words_of_others_are_short(experts):
    assert reason(ValueError("node <ast.Call object at 0x7f4abc> here")) == "node … here"
    assert reason(10**5000) == "a number of too many digits"
    assert listed([]) == "nothing"
    assert listed(map(str, range(15))).endswith("11 and 3 more")
    assert listed(["a\nb", "\ud800"]) == "'a\\nb', '\\ud800'"
