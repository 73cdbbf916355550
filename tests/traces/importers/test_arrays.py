import numpy as np
import pytest

from routestat import RoutestatError
from routestat.traces.importers.arrays import read_arrays

EXPERTS = np.array([[[1, 0], [2, 3]], [[7, 6], [0, 1]], [[2, 4], [5, 1]]])


def save(tmp_path, **arrays):
    np.savez(tmp_path / "x.npz", **arrays)
    return tmp_path / "x.npz"


def test_everything_given_is_kept(tmp_path):
    got = read_arrays(
        save(
            tmp_path,
            experts=EXPERTS.astype(np.uint8),
            document=[3, 3, 5],
            position=[4, 5, 0],
            token=[9, -1, 7],
            layers=[1, 4],
            n_experts=64,
            domain=[1, 1, 0],
            domains=["law", "prose"],
        )
    )
    assert [(r.layer, r.n_experts, r.top_k, r.name) for r in got.routers] == [
        (1, 64, 2, "L01"),
        (4, 64, 2, "L04"),
    ]
    assert np.array_equal(got.experts, EXPERTS)
    assert got.token.tolist() == [9, -1, 7]
    assert got.documents == {"document": [3, 5], "domain": ["prose", "law"]}
    assert got.notes == ()


def test_what_is_not_given_is_assumed_and_said(tmp_path):
    got = read_arrays(save(tmp_path, experts=EXPERTS))
    assert got.document.tolist() == [0, 0, 0]
    assert got.position.tolist() == [0, 1, 2]
    assert [r.layer for r in got.routers] == [0, 1]
    assert got.routers[0].n_experts == 8
    words = " ".join(got.notes)
    for said in ("one document", "does not number its layers", "taken as 8"):
        assert said in words


def test_interleaved_documents_are_put_together_in_order(tmp_path):
    got = read_arrays(save(tmp_path, experts=EXPERTS, document=[1, 0, 1], n_experts=8))
    assert got.document.tolist() == [0, 1, 1]
    assert got.position.tolist() == [0, 0, 1]
    assert np.array_equal(got.experts, EXPERTS[[1, 0, 2]])
    assert any("put in order" in note for note in got.notes)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"document": [1, 2, 3]}, "no array named experts"),
        ({"experts": EXPERTS[0]}, r"experts must be integers \[tokens, layers, k\]"),
        ({"experts": EXPERTS.astype(float)}, "experts must be integers"),
        (
            {"experts": EXPERTS, "document": [1, 2]},
            "document has 2 entries, as many as the second axis is long",
        ),
        ({"experts": EXPERTS, "document": [0, -2, 0]}, "document must lie in 0"),
        (
            {"experts": EXPERTS, "layers": [1, 2, 3]},
            "layers has 3 entries, as many as the first axis is long",
        ),
        ({"experts": EXPERTS, "layers": [1, 2, 3, 4]}, "layers must be 2 integers"),
        ({"experts": EXPERTS, "document": [1] * 5}, "document must be 3 integers"),
        ({"experts": EXPERTS, "layers": [2, 1]}, "layers must rise"),
        ({"experts": EXPERTS, "n_experts": [0]}, "n_experts must be one positive integer"),
        ({"experts": EXPERTS, "n_experts": 1}, "k=2 of n_experts=1"),
        (
            {"experts": EXPERTS, "document": [0, 0, 1], "domain": [0, 1, 1]},
            "domain changes within a document",
        ),
        ({"experts": EXPERTS, "domain": [3, 3, 3], "domains": ["a"]}, "domain has index 3"),
        ({"experts": np.array([{}], dtype=object)}, "not a readable .npz"),
        ({"experts": EXPERTS, "n_experts": 7}, r"experts of layer 0, row 1: \[7, 6\] is outside 0 … 6"),
        (
            {"experts": [[[0, 1]], [[3, -1]]], "n_experts": 8},
            r"experts of layer 0, row 1: \[3, -1\] is outside",
        ),
        ({"experts": np.zeros((3, 2, 2), int), "n_experts": 8}, "nothing but zeros or −1 in every layer"),
        ({"experts": np.empty((0, 2, 2), int)}, "no tokens and no n_experts"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, arrays, message):
    with pytest.raises(RoutestatError, match=message):
        read_arrays(save(tmp_path, **arrays))


def test_files_that_are_no_npz_are_refused(tmp_path):
    with pytest.raises(RoutestatError, match="no such file"):
        read_arrays(tmp_path / "nowhere.npz")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(RoutestatError, match=r"x\.npz: not a readable"):
        read_arrays(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", EXPERTS)
    with pytest.raises(RoutestatError, match="a single array"):
        read_arrays(tmp_path / "x.npy")
