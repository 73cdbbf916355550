"""``make bench``: long tables of a million tokens and 24 layers, from the file to the store, against pandas and polars.

Each conversion is the whole command in a process of its own: start, reading, checks, the store with its hashes, and the
search for documents that belong together. Its rows are compared with what was written before anything is timed. The
alternatives do less: they read the file and pivot it to ``[token, layer, slot]``, in memory.
"""

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from routestat import Trace
from tests.benchmarks.processes import measure

TOKENS, LAYERS, N_EXPERTS, LENGTH = 1_000_000, 24, 64, 1000
PANDAS = """
import sys, numpy as np, pandas as pd
t = pd.read_csv(sys.argv[1], dtype="int32")
t = t.sort_values(["request", "step", "layer"], kind="stable")
np.stack([t[e].to_numpy().reshape(-1, {layers}) for e in ("e0", "e1")], axis=2)
"""
POLARS = """
import sys, numpy as np, polars as pl
t = pl.read_csv(sys.argv[1]).sort("request", "step", "layer")
np.stack([t[e].to_numpy().reshape(-1, {layers}) for e in ("e0", "e1")], axis=2)
"""


def write_tables(folder: Path, tokens: int) -> np.ndarray:
    """The same trace token by token, layer by layer, shuffled, one expert a row, and as Parquet."""
    rng = np.random.default_rng(20240607)
    first = rng.integers(0, N_EXPERTS, (tokens, LAYERS), dtype=np.int16)
    second = (first + rng.integers(1, N_EXPERTS, first.shape, dtype=np.int16)) % N_EXPERTS
    experts = np.stack([first, second], axis=2)
    token = np.repeat(np.arange(tokens, dtype=np.int32), LAYERS)
    columns = {
        "request": token // LENGTH,
        "step": token % LENGTH,
        "layer": np.tile(np.arange(LAYERS, dtype=np.int16), tokens),
        "e0": first.ravel(),
        "e1": second.ravel(),
    }
    by_layer = np.arange(len(token)).reshape(tokens, LAYERS).T.ravel()
    for name, order in (
        ("token", slice(None)),
        ("layer", by_layer),
        ("shuffled", rng.permutation(len(token))),
    ):
        table = pa.table({key: column[order] for key, column in columns.items()})
        pa.csv.write_csv(table, folder / f"{name}.csv")
        pq.write_table(table, folder / f"{name}.parquet")
    single = {key: np.repeat(columns[key], 2) for key in ("request", "step", "layer")}
    slots = {"slot": np.tile(np.arange(2, dtype=np.int8), len(token)), "expert": experts.ravel()}
    pa.csv.write_csv(pa.table({**single, **slots}), folder / "expert.csv")
    return experts


def check(folder: Path, experts: np.ndarray) -> None:
    """Stop unless the store holds what was written; documents come in the order of the file."""
    trace, n = Trace.open(folder, verify=False), 0
    requests = np.array(trace.documents["name"].to_pylist(), np.int64)
    numbers = trace.documents["document"].to_numpy()
    for batch in trace.batches():
        row = requests[np.searchsorted(numbers, batch.document)] * LENGTH + batch.position
        for index, router in enumerate(trace.meta.routers):
            got = router.alphabet.unrank(batch.columns[router.name])
            np.testing.assert_array_equal(got, np.sort(experts[row, index], axis=1))
        n += len(batch)
    assert n == len(experts)


def show(name: str, rows: int, wall: float, used: float, memory: float) -> None:
    """One line of the table."""
    print(f"{name:<26}{wall:>9.1f}{used:>11.1f}{rows / wall:>12,.0f}{memory:>7.2f}", flush=True)


def main() -> None:
    """Print a table: seconds, rows a second, memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--only", default="", help="one file, such as token.csv")
    tokens, only = parser.parse_args().tokens, parser.parse_args().only
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow", "pandas", "polars"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {packages}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        experts = write_tables(folder, tokens)
        print(
            f"{tokens:,} tokens × {LAYERS} layers\n{'':<26}{'seconds':>9}{'processor':>11}{'rows/s':>12}{'GB':>7}"
        )
        for file in sorted(folder.glob(only or "*.*")):
            out = folder / "out" / file.name.replace(".", "-")
            call = [
                sys.executable,
                "-m",
                "routestat.convert",
                str(file),
                "--out",
                str(out),
                "--n-experts",
                str(N_EXPERTS),
            ]
            done = measure(call)
            wall, used, memory = done.wall, done.processor, done.memory / 1e3
            check(out, experts)
            rows = experts.size if file.stem == "expert" else experts.size // 2
            print(
                f"{'convert ' + file.name:<26}{wall:>9.1f}{used:>11.1f}{rows / wall:>12,.0f}{memory:>7.2f}",
                flush=True,
            )
        for name, code in (("pandas", PANDAS), ("polars", POLARS)):
            call = [sys.executable, "-c", code.format(layers=LAYERS), str(folder / "shuffled.csv")]
            done = measure(call)
            wall, used, memory = done.wall, done.processor, done.memory / 1e3
            rows = experts.size // 2
            print(
                f"{name + ' shuffled.csv':<26}{wall:>9.1f}{used:>11.1f}{rows / wall:>12,.0f}{memory:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
