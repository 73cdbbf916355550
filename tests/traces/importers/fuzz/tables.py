"""Small valid long tables, in the layouts that are recognised without options and in every packing."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.traces.importers.fuzz.example import LAYERS, N_EXPERTS, TOP_K, Example, Written, parts


def _rows(held: list[np.ndarray]) -> list[tuple[int, int, int]]:
    """Document, position and layer of every row."""
    return [(d, t, la) for d, one in enumerate(held) for t in range(len(one)) for la in range(LAYERS)]


def _save(path: Path, header: list[str], lines: list[list[object]]) -> Path:
    comma = "\t" if ".tsv" in path.suffixes else ","
    text = "".join(comma.join(map(str, line)) + "\n" for line in ([header, *lines] if header else lines))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def slots(name: str):
    """A row for each token, layer and slot."""

    def write(rng, folder):
        held = parts(rng, 7, 5)
        header = ["turn", "phase", "step", "layer", "slot", "expert", "weight"]
        lines = [
            [d, "prefill" if t < 3 else "decode", t, la, s, held[d][t, la, s], 0.6 - 0.2 * s]
            for d, t, la in _rows(held)
            for s in range(TOP_K)
        ]
        return Written(_save(folder / name, header, lines), held)

    return write


def columns(name: str):
    """A row for each token and layer, the experts in columns."""

    def write(rng, folder):
        held = parts(rng, 7, 5, 6)
        lines = [[f"r{d}", t, la, *held[d][t, la]] for d, t, la in _rows(held)]
        return Written(_save(folder / name, ["request", "step", "layer", "e0", "e1"], lines), held)

    return write


def headless(rng, folder):
    """Position, layer and experts without a header."""
    held = parts(rng, 9)
    lines = [[t, la, *held[0][t, la]] for _, t, la in _rows(held)]
    return Written(_save(folder / "x.csv", [], lines), held)


def json_lines(rng, folder):
    """An object for each token and layer, the experts in a list."""
    held = parts(rng, 7, 5, 6)
    records = [
        {"req_id": f"r{d}", "token_idx": t, "layer": la, "topk_ids": held[d][t, la].tolist()}
        for d, t, la in _rows(held)
    ]
    path = folder / "x.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Written(path, held)


def listed_csv(rng, folder):
    """Experts as a list inside one column."""
    held = parts(rng, 7, 5)
    lines = [
        [la, d, 100 + t, '"' + str(held[d][t, la].tolist()) + '"']
        for d in range(len(held))
        for la in range(LAYERS)
        for t in range(len(held[d]))
    ]
    header = ["Layer ID", "Batch Number", "Token", "Activated Expert IDs"]
    return Written(_save(folder / "x.csv", header, lines), held)


def parquet_table(rng, folder):
    """A long table as Parquet, the experts in a list."""
    held = parts(rng, 7, 5, 6)
    rows = _rows(held)
    table = pa.table(
        {
            "req_id": [f"r{d}" for d, _, _ in rows],
            "token_idx": [t for _, t, _ in rows],
            "layer": [la for _, _, la in rows],
            "topk_ids": [held[d][t, la].tolist() for d, t, la in rows],
        }
    )
    pq.write_table(table, folder / "x.parquet", write_page_checksum=True)
    return Written(folder / "x.parquet", held)


EXPERTS = ("--n-experts", N_EXPERTS)
TABLES = (
    Example("table of slots", "csv, tsv", slots("x.csv"), EXPERTS),
    Example("table of columns", "csv, tsv", columns("x.csv"), EXPERTS),
    Example("table of tabs", "csv, tsv", columns("x.tsv"), EXPERTS),
    Example("table without header", "csv, tsv", headless, EXPERTS),
    Example("table of lists", "csv, tsv", listed_csv, EXPERTS),
    Example("table in gzip", "csv, tsv", slots("x.csv.gz"), EXPERTS),
    Example("table of JSON lines", "json lines", json_lines, EXPERTS),
    Example("table in Parquet", "parquet table", parquet_table, EXPERTS),
)
