"""What is odd in an array must not become experts."""

import io
import json
import zipfile

import numpy as np
import pytest

from routestat.errors import FormatError
from routestat.traces.importers.common.array_files import from_buffer, integers
from tests.traces.importers.known import raw, refused


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
