"""Tensors that are not plain numbers are refused."""

import pytest
import torch

from routestat.errors import FormatError
from routestat.traces.importers.common.torch_files import torch_file


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
