"""What readers find that is no measurement: markers, cut ids, zeros; and what is dropped of it."""

import numpy as np
import pytest

from routestat import Trace
from routestat.errors import FormatError
from routestat.traces.importers.common.assembly import check_imported
from routestat.traces.importers.common.missing_markers import check_cut_ids, check_type
from routestat.traces.importers.common.options import ImportOptions
from tests.traces.importers.known import chosen, convert, refused, stored, subsets


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def saved(tmp_path, experts, documents=20, **more):
    n = len(experts)
    document = np.arange(n) * documents // n
    np.savez(tmp_path / "x.npz", experts=experts, document=document, **more)
    return tmp_path / "x.npz", document


def k1(rng, n=800, layers=4, n_experts=16):
    return rng.integers(n_experts, size=(n, layers, 1))


@pytest.mark.parametrize(
    ("marker", "dtype", "why"),
    [
        (255, np.uint8, "−1 in an unsigned type"),
        (65535, np.uint16, "−1 in an unsigned type"),
        (2**31 - 1, np.int32, "is not an expert;"),
        (2**32 - 1, np.uint32, "−1 in an unsigned type"),
        (-100, np.int16, "is not an expert;"),
        (999, np.int16, "is not an expert;"),
    ],
)
@pytest.mark.parametrize("top_k", [1, 2])
def test_markers_are_refused_or_missing(capsys, tmp_path, rng, marker, dtype, why, top_k):
    known = chosen(rng, 800, 4, 16, top_k)
    experts = known.astype(np.int64)
    gone = np.sort(rng.choice(800, 90, replace=False))
    experts[gone] = marker
    path, document = saved(tmp_path, experts.astype(dtype))
    line = refused(capsys, path, tmp_path)
    assert f"id {marker} fills 360 choices of 90 rows (first: row {gone[0]})" in line
    assert why in line
    assert "--drop-dummy-rows" in line
    _, got, err = stored(capsys, path, tmp_path, "--drop-dummy-rows")
    assert "taken as missing" in err
    assert got.routers[0].n_experts == 16
    place = np.arange(800) - np.searchsorted(document, document)
    held = {(d, p): row for d, p, row in zip(document, place, subsets(known), strict=True)}
    there = ~(got.experts == -1).all(axis=(1, 2))
    assert there.sum() == 710
    for d, p, row in zip(got.document, got.position, got.experts, strict=True):
        if not (row == -1).all():
            assert np.array_equal(np.sort(row), held[d, p])


def test_a_marker_beside_the_number_of_experts_is_named(capsys, tmp_path, rng):
    experts = k1(rng)
    experts[::9] = 16  # the number of experts as the padding's id
    path, _ = saved(tmp_path, experts, n_experts=16)
    assert "id 16 fills 356 choices of 89 rows (first: row 0) and is not an expert of 16" in refused(
        capsys, path, tmp_path
    )
    # Many different ids are no marker.
    path, _ = saved(tmp_path, k1(rng, n_experts=20), n_experts=16)
    assert "is outside 0 … 15" in refused(capsys, path, tmp_path)


def test_a_router_that_uses_the_largest_id_is_not_accused(capsys, tmp_path, rng):
    for top_k in (1, 2):
        where = tmp_path / str(top_k)
        where.mkdir()
        path, _ = saved(where, chosen(rng, 800, 3, 256, top_k).astype(np.uint8))
        _, got, err = stored(capsys, path, where)
        assert got.routers[0].n_experts == 256
        assert "no expert" not in err
    # Nor one that collapsed, and uses a few ids of many in single layers.
    where = tmp_path / "few"
    where.mkdir()
    path, _ = saved(where, np.array([0, 3, 7, 40])[rng.integers(4, size=(800, 3, 1))])
    assert stored(capsys, path, where)[1].routers[0].n_experts == 41


@pytest.mark.parametrize(("dtype", "n_experts"), [(np.uint8, 384), (np.int8, 160), (np.uint8, 257)])
def test_a_type_that_cannot_hold_the_ids_is_refused(capsys, tmp_path, rng, dtype, n_experts):
    experts = k1(rng, n_experts=n_experts).astype(dtype)
    path, _ = saved(tmp_path, experts, n_experts=n_experts)
    most = np.iinfo(dtype).max
    assert f"ids of {n_experts} experts in {np.dtype(dtype)}, which holds none above {most}" in refused(
        capsys, path, tmp_path
    )
    check_type(path, np.dtype(dtype), most + 1)


def test_ids_that_wrapped_around_are_distinguished_from_markers(capsys, tmp_path, rng):
    path, _ = saved(tmp_path, k1(rng, n_experts=160).astype(np.int8))
    line = refused(capsys, path, tmp_path)
    assert "different ids from -128 to -97: ids above 127 in int8?" in line


def test_ids_that_end_at_eight_bits_are_refused_in_any_type(tmp_path, rng):
    experts = rng.integers(384, size=(4000, 4, 1))
    check_cut_ids(tmp_path, experts, 384)
    with pytest.raises(
        FormatError, match="no id above 255 though it has 384 experts: were ids cut to 8 bits"
    ):
        check_cut_ids(tmp_path, experts & 255, 384)
    check_cut_ids(tmp_path, experts[:20] & 255, 384)  # too few to say
    check_cut_ids(tmp_path, experts & 255, 256)


def test_zeros_inside_become_missing_and_at_the_ends_are_left_out(capsys, tmp_path, rng):
    experts = chosen(rng, 80, 3, 8, 2)
    experts[:4], experts[30:33], experts[77:] = 0, 0, 0
    experts[50, 1] = 0  # one layer only
    path, _ = saved(tmp_path, experts, documents=1)
    assert "row 0: [0, 0] in every layer repeats an expert: one of 10 dummy rows" in refused(
        capsys, path, tmp_path
    )
    _, got, err = stored(capsys, path, tmp_path, "--drop-dummy-rows")
    assert "one of 10 dummy rows of 1 documents, only zeros: taken as missing" in err
    assert got.position.tolist() == list(range(4, 77))
    assert (got.experts[26:29] == -1).all()
    assert got.experts[46].tolist()[1] == [-1, -1]
    assert np.array_equal(subsets(got.experts[:26]), subsets(experts[4:30]))


@pytest.mark.parametrize("top_k", [1, 2])
def test_a_layer_of_one_choice_is_noted_and_dropped(capsys, tmp_path, rng, top_k):
    experts = chosen(rng, 800, 4, 16, top_k)
    experts[:, 0] = np.arange(top_k)
    path, _ = saved(tmp_path, experts)
    _, got, err = stored(capsys, path, tmp_path)
    assert "layer 0 holds one choice in all rows" in err
    assert "leave it out with --layers 1-3" in err
    assert len(got.routers) == 4
    where = tmp_path / "dropped"
    where.mkdir()
    _, got, err = stored(capsys, path, where, "--drop-dummy-rows")
    assert (
        "layer 0 holds one choice in all rows: dense, never recorded, or a router that collapsed: left out"
        in err
    )
    assert [router.layer for router in got.routers] == [1, 2, 3]
    assert np.array_equal(subsets(got.experts), subsets(experts[:, 1:]))


def test_padded_arrays_are_noted_and_without_padding_are_the_clean_ones(capsys, tmp_path, rng):
    clean = [chosen(rng, 60, 4, 16, 2) for _ in range(12)]
    constant = chosen(rng, 1, 4, 16, 2)
    sizes = rng.integers(0, 30, 12)
    padded = [
        np.concatenate([one, np.repeat(constant, size, axis=0)])
        for one, size in zip(clean, sizes, strict=True)
    ]
    document = np.repeat(np.arange(12), [len(one) for one in padded])
    np.savez(tmp_path / "x.npz", experts=np.concatenate(padded), document=document, n_experts=16)
    trace, _, err = stored(capsys, tmp_path / "x.npz", tmp_path)
    assert f"{sizes.sum()} rows at the ends of {np.count_nonzero(sizes)} of 12 documents" in err
    assert "counted: leave them out with --drop-dummy-rows" in err
    assert err.count("as padding does") == 1
    where = tmp_path / "dropped"
    where.mkdir()
    _, got, err = stored(capsys, tmp_path / "x.npz", where, "--drop-dummy-rows")
    assert f"{sizes.sum()} rows at the ends of" in err
    assert "left out, as they are not measurements" in err
    assert np.array_equal(got.experts, subsets(np.concatenate(clean)))
    # The same of the trace that was written with its padding.
    opened = Trace.open(tmp_path / "t", dummy_rows="drop")
    assert opened.n_tokens == 720
    same = [
        np.concatenate([batch.columns["L02"] for batch in one.batches()])
        for one in (opened, Trace.open(where / "t"))
    ]
    assert np.array_equal(*same)
    assert trace.n_tokens == 720 + sizes.sum()


def test_nothing_remains_is_one_line(capsys, tmp_path):
    np.savez(tmp_path / "x.npz", experts=np.zeros((50, 3, 2), int), n_experts=8)
    code, _, err = convert(capsys, tmp_path / "x.npz", tmp_path / "t", "--drop-dummy-rows")
    assert (code, "nothing but zeros or −1 in every layer" in err) == (2, True)


def test_zeros_of_one_layer_are_named_with_the_way_to_drop_them(capsys, tmp_path, rng):
    experts = chosen(rng, 80, 3, 8, 2)
    experts[40:45, 2] = 0
    path, _ = saved(tmp_path, experts, documents=4)
    line = refused(capsys, path, tmp_path)
    assert "row 40: [0, 0] in layer 2 repeats an expert: one of 5 dummy rows of 1 documents" in line
    assert line.endswith("drop them with --drop-dummy-rows")
    _, got, _ = stored(capsys, path, tmp_path, "--drop-dummy-rows")
    assert (got.experts == -1).all(axis=2).sum() == 5


def test_rows_that_come_in_parts_keep_their_layers(tmp_path, rng):
    experts = k1(rng)
    experts[:, 1] = 0
    document = np.arange(800) // 40
    wanted = ImportOptions(drop_dummy_rows=True)
    for keep, width in ((False, 3), (True, 4)):
        got = check_imported(tmp_path, experts, document, None, wanted, n_experts=16, keep_layers=keep)
        assert got.experts.shape[1] == width == len(got.routers)


def test_arrays_may_hold_layers_that_are_missing_in_every_row(capsys, tmp_path, rng):
    experts = chosen(rng, 40, 3, 8, 2)
    experts[:, 1] = -1
    path, _ = saved(tmp_path, experts, documents=4)
    _, got, _ = stored(capsys, path, tmp_path)
    assert np.array_equal(subsets(got.experts), subsets(experts))
