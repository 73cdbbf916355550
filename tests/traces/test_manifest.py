"""The manifest: damaged or hostile ones are refused with one line."""

import json

import pytest

from routestat import Trace
from routestat.errors import TraceError
from tests.traces.small_store import hostile


def test_no_manifest_other_version_other_columns(store, tmp_path):
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(TraceError, match=r"manifest\.json: store format version 99"):
        Trace.open(store)
    (store / "manifest.json").write_text("{")
    with pytest.raises(TraceError, match=r"manifest\.json: not valid JSON"):
        Trace.open(store)
    (store / "manifest.json").unlink()
    with pytest.raises(TraceError, match=r"no manifest\.json"):
        Trace.open(store)
    with pytest.raises(TraceError, match="no such folder"):
        Trace.open(tmp_path / "nowhere")


def test_a_manifest_that_miscounts_is_refused(store):
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][2]["rows"] = 199
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TraceError, match=r"shard-00002\.arrow: 200 rows where the manifest says 199"):
        Trace.open(store)


def test_a_manifest_cannot_reach_outside_its_folder(store):
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][0]["file"] = "../secret.arrow"
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TraceError, match="not a plain file name"):
        Trace.open(store)


BIG = 10**30


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("shards", 0, "rows"), "400", "shard 0: rows must be a whole number, got '400'"),
        (("shards", 0, "rows"), -1, "shard 0: rows must be 0 or more"),
        (("shards", 0, "rows"), 400.0, "shard 0: rows must be a whole number"),
        (("shards", 0, "rows"), True, "shard 0: rows must be a whole number"),
        (("shards", 0, "bytes"), None, "shard 0: bytes must be a whole number"),
        (("shards", 0, "sha256"), None, "shard 0: sha256 must be text"),
        (("shards", 0, "file"), 3, "shard 0: file must be text"),
        (("shards", 0, "file"), "", "'' is not a plain file name"),
        (("shards", 0, "file"), "..", "'..' is not a plain file name"),
        (("shards", 0, "file"), "a\0b", "is not a plain file name"),
        (("shards", 0, "file"), "shard-00001.arrow", "'shard-00001.arrow' is listed twice"),
        (("shards",), {}, "shards must be a list"),
        (("shards",), ["a"], "shard 0 must be an object"),
        (("shards", 0), {}, "shard 0: field file is missing or misspelt"),
        (("documents",), None, "documents must be an object"),
        (("columns",), "abc", "columns must be a list"),
        (("columns",), [1, 2, 3, 4, 5, 6, 7], "a name in columns must be text"),
        (("columns",), [], "columns must be document, position"),
        (("complete",), "no", "complete must be true or false"),
        (("version",), True, "version must be a whole number"),
        (("version",), "1", "version must be a whole number"),
        (("meta",), [1], "the metadata must be an object"),
        (("meta", "name"), 5, "name must be text"),
        (("meta", "model"), None, "model must be text"),
        (("meta", "name"), "a\ud800b", "name holds text that is not Unicode"),
        (("meta", "slot_order"), [1], "slot_order must be text"),
        (("meta", "window"), 2.5, "window must be a whole number"),
        (("meta", "window"), -1, "window must be 0 or more"),
        (("meta", "window"), 2**31, "window must be 0 or more, at most 2147483647"),
        (("meta", "extra"), [1], "extra must be an object"),
        (("meta", "extra"), {"a": ["\ud800"]}, "extra cannot be written as JSON"),
        (("meta", "routers"), 3, "the metadata lacks or misspells a field"),
        (("meta", "routers", 0, "layer"), 1.5, "a router's layer must be a whole number"),
        (("meta", "routers", 0, "layer"), True, "a router's layer must be a whole number"),
        (("meta", "routers", 0, "layer"), BIG, "a router's layer must be 0 or more, at most"),
        (
            ("meta", "routers", 0, "n_experts"),
            65535,
            "router L00: n_experts must be 1 or more, at most 65534",
        ),
        (("meta", "routers", 0, "top_k"), "2", "router L00: top_k must be a whole number"),
        (("meta", "routers", 0, "top_k"), 9, "an alphabet needs"),
        (("meta", "routers", 0, "name"), 5, "a router's name must be text"),
        (("meta", "routers", 0, "name"), "token", "a router's name cannot be token"),
    ],
)
def test_a_manifest_s_fields_are_what_they_should_be(store, keys, value, message):
    def change(manifest):
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    said = hostile(store, change)
    assert said.startswith(f"{store / 'manifest.json'}: ")
    assert message in said


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[" * 200_000, b"[]", b"3", b"1" * 5000, b"\xef\xbb\xbf{}", b"{}"]
)
def test_a_manifest_that_is_none(store, content):
    (store / "manifest.json").write_bytes(content)
    with pytest.raises(TraceError, match=r"manifest\.json: (not valid JSON|a manifest must be|field format)"):
        Trace.open(store)
