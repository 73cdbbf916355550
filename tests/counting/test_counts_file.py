"""Counts as a file: a round trip, and whatever can be wrong with a file is one line."""

import hashlib
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from routestat import Context, Counts, RoutestatError, Trace, count
from routestat.traces import manifest
from tests.counting.stored_traces import same_counts, write_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("file")


@pytest.fixture(scope="module", params=[False, True], ids=["subset", "expert"])
def counts(request, folder):
    return count(Trace.open(write_store(folder / f"t{request.param}", wide=request.param)), groups=8)


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_round_trip(counts, tmp_path):
    counts.save(tmp_path / "a.counts")
    again = Counts.load(tmp_path / "a.counts")
    assert same_counts(counts, again)
    assert again.origins == counts.origins
    for key, table in counts.tables.items():
        assert again.tables[key].dtype == table.dtype
        assert not again.tables[key].flags.writeable
    assert [again.tokens.dtype, again.clusters.dtype] == [counts.tokens.dtype, counts.clusters.dtype]
    assert names(tmp_path) == ["a.counts"]
    (origin,) = again.origins
    assert (origin.name, origin.model, origin.template, origin.is_complete) == ("uneven", "m", "once", True)
    assert origin.shards == tuple(f"shard-{number:05d}.arrow" for number in range(len(origin.shards)))
    assert len(origin.shards) > 3


@pytest.mark.parametrize("contexts", [(Context.layer(2, 1), Context(((-1, -1),))), (Context.token(2),)])
def test_a_round_trip_of_other_contexts(folder, tmp_path, contexts):
    path = folder / "other"
    counts = count(Trace.open(path if path.exists() else write_store(path)), [0, 2, 4], contexts, groups=3)
    counts.save(tmp_path / "a.counts")
    assert same_counts(counts, Counts.load(str(tmp_path / "a.counts")))


@pytest.mark.parametrize("largest", [0, 1, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
@pytest.mark.parametrize("filled", [0.0, 0.01, 0.3, 1.0])
def test_every_size_of_cells_and_every_share_of_empty_ones(counts, tmp_path, largest, filled):
    rng = np.random.default_rng(0)
    key = next(iter(counts.tables))
    shape = counts.tables[key].shape
    table = rng.integers(0, largest, shape, np.uint64, endpoint=True) * (rng.random(shape) < filled).astype(
        np.uint64
    )
    table.flat[-1] = largest
    replace(counts, tables={**counts.tables, key: table}).save(tmp_path / "a.counts")
    np.testing.assert_array_equal(Counts.load(tmp_path / "a.counts").tables[key], table)


def test_a_file_of_mostly_empty_tables_is_small(counts, tmp_path):
    key = next(iter(counts.tables))
    shape = counts.tables[key].shape
    tables = {one: np.zeros(table.shape, np.uint32) for one, table in counts.tables.items()}
    replace(counts, tables={**tables, key: np.eye(*shape, dtype=np.uint32)}).save(tmp_path / "a.counts")
    assert (tmp_path / "a.counts").stat().st_size < 32_000


def refusal(path):
    with pytest.raises(RoutestatError) as caught:
        Counts.load(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert len(said.splitlines()) == 1
    return said


def test_a_file_that_is_none(folder, tmp_path):
    path = tmp_path / "a.counts"
    assert "no such file" in refusal(path)
    path.write_bytes(b"something else")
    assert "no file of counts, or damaged" in refusal(path)
    store = folder / "none"
    write_store(store)
    assert "no file of counts, or damaged" in refusal(store / "shard-00000.arrow")


def test_another_file_of_tensors(tmp_path):
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "a.safetensors")
    assert "no file of counts; python -m routestat.count writes one" in refusal(tmp_path / "a.safetensors")


def rewritten(path, before, after, sealed=True):
    """Write the same file with other words in its header, and the hash of these."""
    tensors = safetensors.numpy.load(path.read_bytes())
    header = tensors["header"].tobytes().replace(before, after)
    tensors["header"] = np.frombuffer(header, np.uint8)
    if sealed:
        tensors["sha256"] = np.frombuffer(hashlib.sha256(header).digest(), np.uint8)
    safetensors.numpy.save_file(tensors, path)


def test_another_version_and_an_altered_header(counts, tmp_path):
    path = tmp_path / "a.counts"
    for before, after, sealed, said in (
        (
            b'"version": 1',
            b'"version": 2',
            True,
            "of version 2, expected routestat-counts of version 1; count again",
        ),
        (b"uneven", b"UNEVEN", False, "damaged, the hash of its header differs"),
        (b'"top_k"', b'"top"', True, "damaged, its header is incomplete"),
        (b'"tokens"', b'"token"', True, "it does not hold the tables that its header names"),
        (b'"n_experts": ', b'"n_experts": 1', True, "damaged, table"),
        (b'"crc32": ', b'"crc32": 1', True, "damaged, tokens cannot be read (its checksum differs)"),
    ):
        counts.save(path)
        rewritten(path, before, after, sealed)
        assert said in refusal(path)


def test_every_damaged_byte_is_found_or_harmless(counts, tmp_path):
    path = tmp_path / "a.counts"
    counts.save(path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.choice(len(content), 150, replace=False).tolist():
        damaged = bytearray(content)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            again = Counts.load(path)
        except RoutestatError:
            refused += 1
            refusal(path)
            continue
        # In padding, which nothing reads.
        assert same_counts(counts, again)
        assert again.origins == counts.origins
    assert refused > 50
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refusal(path)


def test_a_failed_write_leaves_the_earlier_file_alone(counts, tmp_path, monkeypatch):
    path = tmp_path / "a.counts"
    counts.save(path)
    before = path.read_bytes()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest.os, "fsync", full)
    with pytest.raises(RoutestatError) as caught:
        counts.save(path)
    assert str(caught.value) == f"{path}: cannot be written (No space left on device)"
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.counts"]
    with pytest.raises(RoutestatError, match=r"cannot be written \(No such file or directory\)"):
        counts.save(tmp_path / "none" / "a.counts")


def test_a_disk_that_fills_up_while_tables_are_written(counts, folder, tmp_path):
    """The system refuses to let the file grow, as a full disk does."""
    counts.save(folder / "full.counts")
    script = (
        "import sys, resource, signal; from routestat import Counts, RoutestatError\n"
        "counts = Counts.load(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (2000, {resource.RLIM_INFINITY}))\n"
        "try: counts.save(sys.argv[2])\n"
        "except RoutestatError as error: print(error)\n"
    )
    words = [sys.executable, "-c", script, str(folder / "full.counts"), str(tmp_path / "a.counts")]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout == f"{tmp_path / 'a.counts'}: cannot be written (File too large)\n"
    assert names(tmp_path) == []
