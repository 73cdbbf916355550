import base64
import gzip
import json
import zlib

import numpy as np
import pyarrow as pa
import pytest

from tests.traces.importers.known import chosen, raw, refused, stored, subsets


@pytest.fixture
def experts():
    """Twelve tokens, 3 layers, 2 of 8."""
    return chosen(np.random.default_rng(31), 12, 3, 8, 2)


def zstd(data):
    return bytes(pa.Codec("zstd").compress(data))


def write(tmp_path, data, name="x.bin"):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("dtype", ["uint8", "int16", "<i4", ">i4", "torch.int64"])
def test_raw_bytes_with_shape_and_type(capsys, tmp_path, experts, dtype):
    kind = np.dtype(dtype.removeprefix("torch."))
    path = write(tmp_path, experts.astype(kind).tobytes())
    _, got, err = stored(capsys, path, tmp_path, "--shape", "12,3,2", "--dtype", dtype, "--n-experts", 8)
    assert np.array_equal(subsets(got.experts), subsets(experts))
    assert ("big-endian" in err) == (dtype == ">i4")
    assert ("little-endian" in err) == (dtype != ">i4")


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, zstd])
def test_compressed_bytes_are_known_by_what_they_are(capsys, tmp_path, experts, pack):
    path = write(tmp_path, pack(experts.astype(np.uint8).tobytes()))
    _, got, err = stored(capsys, path, tmp_path, "--shape", "12,3,2", "--dtype", "uint8", "--n-experts", 8)
    assert "bytes were decompressed by" in err
    assert np.array_equal(subsets(got.experts), subsets(experts))


@pytest.mark.parametrize("name", ["x.json", "x.bin.json"])
def test_a_description_beside_the_file(capsys, tmp_path, experts, name):
    path = write(tmp_path, experts.astype(np.int16).tobytes())
    (tmp_path / name).write_text(json.dumps({"shape": [12, 3, 2], "dtype": "int16"}))
    _, got, err = stored(capsys, path, tmp_path, "--n-experts", 8)
    assert "recognised as packed bytes (--format packed)" in err
    assert np.array_equal(subsets(got.experts), subsets(experts))
    (tmp_path / "o").mkdir()
    assert "convert the file of the bytes" in refused(
        capsys, tmp_path / name, tmp_path / "o", "--format", "packed"
    )


def test_a_folder_of_described_files(capsys, tmp_path, experts):
    (tmp_path / "f").mkdir()
    for number, part in enumerate((experts, experts[:5])):
        write(tmp_path / "f", part.astype(np.uint8).tobytes(), f"{number}.bin")
        description = {"shape": list(part.shape), "dtype": "uint8"}
        (tmp_path / "f" / f"{number}.json").write_text(json.dumps(description))
    trace, got, _ = stored(capsys, tmp_path / "f", tmp_path, "--n-experts", 8)
    assert got.document.tolist() == [0] * 12 + [1] * 5
    assert trace.documents.column("name").to_pylist() == ["0", "1"]


def test_json_objects(capsys, tmp_path, experts):
    records = [
        {
            "data": raw(experts.astype(np.uint8)),
            "shape": [12, 3, 2],
            "dtype": "uint8",
            "id": "a",
            "tokens": [*range(12)],
        },
        {
            "data": base64.b64encode(zlib.compress(experts[4:].astype(np.int32).tobytes())).decode(),
            "shape": [8, 3, 2],
            "dtype": "int32",
            "compression": "zlib",
            "start": 4,
        },
        {
            "id": "c",
            "routes": {"data": raw(experts[:5].astype(np.uint8)), "shape": [5, 3, 2], "dtype": "uint8"},
        },
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, records)).encode(), "x.jsonl")
    trace, got, err = stored(capsys, path, tmp_path, "--n-experts", 8)
    assert "recognised as packed bytes" in err
    assert np.array_equal(subsets(got.experts), subsets(np.concatenate([experts, experts[4:], experts[:5]])))
    assert got.position.tolist() == [*range(12), *range(4, 12), *range(5)]
    assert got.token.tolist() == [*range(12), *[-1] * 13]
    assert trace.documents.column("name").to_pylist() == ["a", "x 1", "c"]


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ("12,3,2", "int16", "72 bytes where [12, 3, 2] of int16 take 144"),
        ("11,3,2", "uint8", "72 bytes where [11, 3, 2] of uint8 take 66"),
        ("-1,3,2", "uint8", "expected three whole numbers from 1, [tokens, layers, k], got ['-1', '3', '2']"),
        ("12,6", "uint8", "expected [tokens, layers, k], got ['12', '6']"),
        ("12,3,x", "uint8", "--shape: expected three whole numbers"),
        ("99999999999,99999,9", "uint8", "is it right?"),
        ("12,3,2", "float32", "expected an integer type, got float32"),
        ("12,3,2", "no", "no such type: 'no'"),
        (None, "uint8", "give --shape, such as --shape 1000,24,2 --dtype uint8"),
        ("12,3,2", None, "give --dtype"),
    ],
)
def test_what_does_not_fit_is_said_with_both_numbers(capsys, tmp_path, experts, shape, dtype, message):
    path = write(tmp_path, experts.astype(np.uint8).tobytes())
    options = [*(("--shape", shape) if shape else ()), *(("--dtype", dtype) if dtype else ())]
    assert message in refused(capsys, path, tmp_path, "--format", "packed", *options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [-1, 3, 2]}, "no size is guessed"),
        ({"shape": [12, 3]}, "expected [tokens, layers, k]"),
        ({"shape": None}, "expected [tokens, layers, k], got None"),
        ({"dtype": None}, "no dtype beside shape and data; give --dtype"),
        ({"dtype": 7}, "no such type"),
        ({"data": "%%"}, "not valid base64"),
        ({"data": None}, "no data; --skip-failed leaves such records out"),
        ({"compression": "lz77"}, "compression lz77; read are zlib, gzip, zstd"),
        ({"compression": "zlib"}, "not zlib as it seems"),
        ({"start": -1}, "start must be a whole number from 0"),
        ({"tokens": [1, 2]}, "2 token ids where the rows end at 12"),
    ],
)
def test_what_is_wrong_in_an_object_is_named(capsys, tmp_path, experts, changes, message):
    record = {"data": raw(experts.astype(np.uint8)), "shape": [12, 3, 2], "dtype": "uint8"}
    path = write(tmp_path, json.dumps(record | changes).encode(), "x.json")
    line = refused(capsys, path, tmp_path, "--format", "packed")
    assert message in line
    assert "x.json" in line


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, zstd])
def test_what_unpacks_to_more_than_it_says_is_not_unpacked(capsys, tmp_path, pack):
    path = write(tmp_path, pack(bytes(10_000_000)))
    line = refused(capsys, path, tmp_path, "--shape", "12,3,2", "--dtype", "uint8")
    assert "of more than the 72 bytes that [12, 3, 2] of uint8 take" in line


def test_options_of_packed_bytes_say_nothing_to_others(capsys, tmp_path, experts):
    np.save(tmp_path / "x.npy", experts)
    assert "--shape is not used for vLLM's" in refused(
        capsys, tmp_path / "x.npy", tmp_path, "--shape", "1,2,3", "--format", "vllm"
    )


def test_swapped_axes_are_questioned(capsys, tmp_path):
    experts = chosen(np.random.default_rng(3), 40, 3, 8, 2).astype(np.uint8)
    path = write(tmp_path, experts.transpose(1, 0, 2).tobytes())
    options = ("--shape", "3,40,2", "--dtype", "uint8", "--n-experts", 8)
    assert "more layers (40) than tokens (3); give the order" in refused(capsys, path, tmp_path, *options)
    _, got, _ = stored(capsys, path, tmp_path, *options, "--axes", "layers,tokens,k")
    assert np.array_equal(subsets(got.experts), subsets(experts))


def test_a_misspelt_name_is_noted(capsys, tmp_path, experts):
    record = {
        "data": raw(experts.astype(np.uint8)),
        "shape": [12, 3, 2],
        "dtype": "uint8",
        "tokenids": [*range(12)],
    }
    (tmp_path / "x.json").write_text(json.dumps(record))
    err = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 8)[2]
    assert "'tokenids' is not read (1 times in the file); did you mean token_ids?" in err
