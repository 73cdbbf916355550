"""Traces under URLs: fsspec's implementations for memory and for this machine's files."""

import sys

import fsspec
import numpy as np
import pytest

from routestat import Trace, count
from routestat.errors import TraceError
from routestat.traces.locations import UrlPath, locate
from tests.counting.stored_traces import same_counts, write_store


@pytest.fixture(params=["memory", "file"])
def both(request, tmp_path):
    """The same store in a folder, and under a URL."""
    folder = write_store(tmp_path / "t")
    if request.param == "file":
        yield folder, f"file://{folder}"
        return
    system = fsspec.filesystem("memory")
    system.put(f"{folder}/", "/bucket/t/", recursive=True)
    yield folder, "memory://bucket/t"
    system.rm("/bucket", recursive=True)


def test_a_url_gives_the_same_trace(both):
    folder, url = both
    here, there = Trace.open(folder), Trace.open(url + "/")
    assert (there.identity, str(there.folder)) == (here.identity, url)
    assert same_counts(count(here), count(there))
    np.testing.assert_array_equal(
        np.concatenate([batch.columns["token"] for batch in there.batches(["token"])]),
        np.concatenate([batch.columns["token"] for batch in here.batches(["token"])]),
    )


def test_a_shard_that_vanishes_behind_a_url_is_named(both):
    folder, url = both
    trace = Trace.open(url)
    name = sorted(folder.glob("shard-*"))[1].name
    system, path = fsspec.core.url_to_fs(f"{url}/{name}")
    system.rm(path)
    with pytest.raises(TraceError) as caught:
        count(trace)
    assert str(caught.value) == f"{url}/{name}: no longer there; it was when the trace was opened"
    with pytest.raises(TraceError, match="missing, but the manifest lists it"):
        Trace.open(url)


def test_a_damaged_shard_behind_a_url_is_named(both):
    _, url = both
    system, path = fsspec.core.url_to_fs(f"{url}/shard-00001.arrow")
    content = system.cat_file(path)
    system.pipe_file(path, content[:-100] + b"\0" * 100)
    with pytest.raises(TraceError, match=r"shard-00001\.arrow: altered"):
        Trace.open(url)
    system.pipe_file(path, content[:100])
    with pytest.raises(TraceError, match=r"shard-00001\.arrow: truncated or altered"):
        Trace.open(url)


def test_errors_of_urls_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for url, said in (
        ("s3://bucket/t", "pip install s3fs"),
        ("nothing-known://t", "cannot be read"),
        ("memory://not-there", "no such folder"),
        (f"file://{tmp_path}", "no manifest.json here"),
        (f"file://{tmp_path}/none", "no such folder"),
    ):
        with pytest.raises(TraceError, match=said) as caught:
            Trace.open(url)
        assert len(str(caught.value).splitlines()) == 1
        assert str(caught.value).startswith(url)


def test_a_neighbouring_trace_is_proposed(both):
    _, url = both
    parent = url.rsplit("/", 1)[0]
    with pytest.raises(TraceError, match=f"did you mean {url}"):
        Trace.open(parent)


class Flaky(fsspec.spec.AbstractFileSystem):
    """A store that answers with an exception of its own."""

    protocol = "flaky"

    def info(self, path, **kwargs):
        raise LookupError("the bucket is asleep\nand more")


def test_an_implementations_own_exception_becomes_one_line():
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    with pytest.raises(TraceError, match=r"^flaky://t: cannot be read \(the bucket is asleep\)$"):
        Trace.open("flaky://t")


def test_paths_stay_paths(tmp_path):
    assert locate(tmp_path) is tmp_path
    assert locate(str(tmp_path)) == tmp_path
    url = locate("s3://bucket/a/b/")
    assert url == UrlPath("s3://bucket/a/b")
    assert (url.name, str(url / "c"), str(url.parent), url.resolve()) == (
        "b",
        "s3://bucket/a/b/c",
        "s3://bucket/a",
        url,
    )
