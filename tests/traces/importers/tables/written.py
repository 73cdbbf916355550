"""Traces that are known, written as tables in any form."""

import csv
import gzip
import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.tables.reader import read_tables
from tests.traces.importers.known import chosen

KINDS = ("csv", "tsv", "jsonl", "parquet")
PACKED = ("", ".gz", ".zst")


@dataclass
class Known:
    """Tokens of documents, and what is missing: −1."""

    document: np.ndarray
    position: np.ndarray
    layers: np.ndarray
    experts: np.ndarray
    weights: np.ndarray
    token: np.ndarray
    decode: np.ndarray


def known(seed, lengths=(5, 3, 7), layers=(0, 1, 3), n_experts=9, top_k=2, missing=0.0):
    """A trace of documents of these lengths; positions start anywhere."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    experts = chosen(rng, n, len(layers), n_experts, top_k)
    experts[rng.random((n, len(layers))) < missing] = -1
    # Every token has one row at least.
    experts[(experts == -1).all(axis=(1, 2)), 0] = np.arange(top_k)
    starts = rng.integers(0, 4, len(lengths))
    position = np.concatenate(
        [np.arange(length) + start for length, start in zip(lengths, starts, strict=True)]
    )
    weights = np.sort(rng.random((n, len(layers), top_k)).astype(np.float32), axis=2)[..., ::-1]
    return Known(
        np.repeat(np.arange(len(lengths)), lengths),
        position,
        np.array(layers),
        experts,
        weights,
        rng.integers(0, 1000, n),
        position >= 4,
    )


def rows_of(trace, form, extra=()):
    """One dictionary a row, token after token: ``columns`` (a column a slot), ``list``, or ``expert`` (one a row)."""
    rows = []
    for t in range(len(trace.document)):
        for index, layer in enumerate(trace.layers.tolist()):
            ids = trace.experts[t, index].tolist()
            if ids[0] == -1:
                continue
            row = {"request": f"r{trace.document[t]}", "step": int(trace.position[t]), "layer": layer}
            if "token" in extra:
                row["token_id"] = int(trace.token[t])
            if "phase" in extra:
                row["phase"] = "decode" if trace.decode[t] else "prefill"
            if form == "columns":
                rows.append({**row, **{f"e{slot}": one for slot, one in enumerate(ids)}})
            elif form == "list":
                rows.append({**row, "topk_ids": ids})
            else:
                for slot, one in enumerate(ids):
                    weight = float(trace.weights[t, index, slot])
                    said = {"slot": slot, "weight": weight}
                    rows.append({**row, "expert": one, **{key: said[key] for key in said if key in extra}})
    return rows


def write(path, rows, header=True, listed="[{}]", between=", "):
    """Rows as the file's name says: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, and ``.gz``, ``.zst``."""
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if name.endswith("jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.writer(out, delimiter="\t" if ".tsv" in name else ",", lineterminator="\n")
        if header:
            writer.writerow(rows[0])
        for row in rows:
            writer.writerow(
                [listed.format(between.join(map(str, v))) if isinstance(v, list) else v for v in row.values()]
            )
        text = out.getvalue()
    data = text.encode()
    if path.name.endswith(".gz"):
        data = gzip.compress(data)
    elif path.name.endswith(".zst"):
        data = pa.compress(data, codec="zstd", asbytes=True)
    path.write_bytes(data)
    return path


def read(sources, budget=None, **said):
    """Everything that was read: `Known` arrays by document and position, the table and its parts."""
    more = {} if budget is None else {"budget": budget}
    table = read_tables(sources if isinstance(sources, list) else [sources], ImportOptions(**said), **more)
    with table.store:
        parts = list(table.parts())
    return table, parts


def same(parts, trace, names=None):
    """Whether the parts hold the trace; documents may be numbered in another order."""
    got = {}
    for part in parts:
        called = dict(zip(part.documents["document"], part.documents["name"], strict=True))
        layers = [router.layer for router in part.routers]
        for t in range(len(part.document)):
            key = (called[part.document[t]], int(part.position[t]))
            assert key not in got
            decode = part.decode is not None and bool(part.decode[t])
            token = None if part.token is None else int(part.token[t])
            got[key] = (dict(zip(layers, part.experts[t].tolist(), strict=True)), token, decode)
    names = names or (lambda document: f"r{document}")
    for t in range(len(trace.document)):
        ids, token, decode = got.pop((names(trace.document[t]), int(trace.position[t])))
        want = dict(zip(trace.layers.tolist(), trace.experts[t].tolist(), strict=True))
        # A layer without any row is not in the table.
        blank = [-1] * trace.experts.shape[2]
        assert set(ids) <= set(want)
        assert {layer: sorted(ids.get(layer, blank)) for layer in want} == {
            layer: sorted(one) for layer, one in want.items()
        }
        assert token in (None, trace.token[t])
        assert not decode or trace.decode[t]
    assert not got
