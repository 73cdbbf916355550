"""A small store for the tests of its files."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.ipc
import pytest

from routestat import Trace, TraceMeta, TraceWriter
from routestat.errors import TraceError
from routestat.traces.manifest import sha256_of
from routestat.traces.metadata import routers_like

META = TraceMeta(routers_like([0, 1, 3], 8, 2), name="small", model="m", window=0, extra={"seed": 7})


def rows(n, documents, seed=0, n_routers=3):
    rng = np.random.default_rng(seed)
    lengths = np.full(documents, n // documents)
    document = np.repeat(np.arange(documents), lengths)
    position = np.concatenate([np.arange(length) for length in lengths])
    return document, position, rng.integers(0, 28, (len(document), n_routers)).astype(np.uint8)


def read(path, **kwargs):
    batches = list(Trace.open(path, **kwargs).batches())
    columns = {name: np.concatenate([b.columns[name] for b in batches]) for name in batches[0].columns}
    document = np.concatenate([b.document for b in batches])
    return document, np.concatenate([b.position for b in batches]), columns


def rewrite(path, change, shard=0):
    """Replace a shard by `change(table)` and make the manifest vouch for it."""
    manifest = json.loads((path / "manifest.json").read_text())
    record = manifest["shards"][shard]
    file = path / record["file"]
    table = change(pa.ipc.open_file(file).read_all())
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as sink:
        sink.write_table(table)
    record |= {"rows": table.num_rows, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
    (path / "manifest.json").write_text(json.dumps(manifest))


def hostile(store, change):
    """Alter the manifest; what opening then says."""
    manifest = json.loads((store / "manifest.json").read_text())
    change(manifest)
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TraceError) as caught:
        Trace.open(store)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def crashed(path, n=10):
    """A store whose writer described `n` documents and stopped after half of them."""

    def interrupted():
        with TraceWriter(path, META, shard_rows=10) as writer:
            writer.add_documents({"document": list(range(n)), "name": [f"old {i}" for i in range(n)]})
            writer.write(np.repeat(np.arange(n // 2), 10), states=np.zeros((10 * (n // 2), 3), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    return path
