"""python -m routestat.convert FILE --out TRACE: other tools' traces → the store."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from routestat.desk import Ticker, run
from routestat.errors import RoutestatError
from routestat.traces.importers.arrays import Imported, read_arrays
from routestat.traces.importers.parquet import ParquetTrace, write_parquet
from routestat.traces.manifest import MANIFEST
from routestat.traces.metadata import TraceMeta
from routestat.traces.store import Trace
from routestat.traces.writer import SHARD_ROWS, TraceWriter

app = typer.Typer(add_completion=False)
ROWS_AT_ONCE = 1 << 17


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="An .npz of plain arrays, a .parquet that convert wrote, or a trace.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the new trace, or a .parquet file to write a trace to.")
    ],
    name: Annotated[str, typer.Option(help="Name of the trace [default: the folder's].")] = "",
    model: Annotated[str, typer.Option(help="Model the routing is of.")] = "",
    dataset: Annotated[str, typer.Option(help="What the documents are.")] = "",
    origin: Annotated[str, typer.Option(help="Where the file came from.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    licence_file: Annotated[Path | None, typer.Option(help="Licence text, copied into the trace.")] = None,
    slots: Annotated[
        str,
        typer.Option(
            help="Order of the k slots: weight (heaviest first; the first is kept as top1) or unknown."
        ),
    ] = "unknown",
    window: Annotated[
        int,
        typer.Option(
            min=0, help="Tokens the model saw at once, if documents were cut into windows; 0: whole."
        ),
    ] = 0,
    shard_rows: Annotated[int, typer.Option(min=1, help="Tokens per shard.")] = SHARD_ROWS,
) -> None:
    """Read another tool's trace, check every row, and write the store; or write a trace as Parquet.

    Example: python -m routestat.convert trace.npz --out traces/mine --model my-moe --slots weight
    """
    if licence_file is not None and not licence_file.is_file():
        raise RoutestatError(f"--licence-file {licence_file}: no such file")
    if slots not in ("weight", "unknown"):
        raise RoutestatError(f"--slots is weight or unknown, got {slots!r}")
    _require_free(out)
    if out.suffix == ".parquet":
        with Ticker() as ticker:
            trace = Trace.open(source, progress=ticker.of("checking"))
            write_parquet(trace, out, ticker.of("writing"))
        print(f"{out}: {trace.n_tokens:,} tokens of {trace.documents.num_rows:,} documents")
        return
    said: dict[str, Any] = {
        "name": name,
        "model": model,
        "dataset": dataset,
        "source": origin,
        "licence": licence,
    }
    with _appearing_whole(out) as folder:
        if source.suffix == ".parquet":
            summary = _from_parquet(source, folder, said, shard_rows)
        elif source.is_dir():
            raise RoutestatError(
                f"{source} is a folder; name an .npz or a .parquet, or end --out with .parquet"
            )
        else:
            said["name"] = name or out.resolve().name
            summary = _from_arrays(source, folder, said, slots, window, shard_rows)
        if licence_file is not None:
            shutil.copyfile(licence_file, folder / "LICENSE")
    print(f"{out}: {summary}")


def _from_parquet(source: Path, folder: Path, said: dict[str, Any], shard_rows: int) -> str:
    """What the file says of itself stays, unless the command says otherwise."""
    file = ParquetTrace(source)
    given = {key: value for key, value in said.items() if value}
    meta = replace(file.meta, **given) if given else file.meta
    done = 0
    with Ticker() as ticker, TraceWriter(folder, meta, shard_rows=shard_rows) as writer:
        if file.documents is not None:
            writer.add_documents(file.documents.to_pydict())
        for table in file.tables():
            writer.write_table(table)
            done += table.num_rows
            ticker("writing", done, file.n_tokens)
    return f"{file.n_tokens:,} tokens"


def _from_arrays(
    source: Path, folder: Path, said: dict[str, Any], slots: str, window: int, shard_rows: int
) -> str:
    imported = read_arrays(source)
    notes = {"notes": list(imported.notes)} if imported.notes else {}
    meta = TraceMeta(imported.routers, slot_order=slots, window=window, extra=notes, **said)
    with Ticker() as ticker, TraceWriter(folder, meta, shard_rows=shard_rows) as writer:
        writer.add_documents(imported.documents)
        _write(writer, imported, slots == "weight", ticker)
    for note in imported.notes:
        print(f"note: {note}", file=sys.stderr)
    return f"{len(imported.document):,} tokens of {len(imported.documents['document']):,} documents"


def _require_free(out: Path) -> None:
    if (out / MANIFEST).exists():
        raise RoutestatError(f"--out {out} already holds a trace; choose another folder")
    if out.suffix == ".parquet":
        if out.exists():
            raise RoutestatError(f"--out {out} exists already; choose another file")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RoutestatError(f"--out {out} is not an empty folder; choose another")


@contextmanager
def _appearing_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place only when all went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(writer: TraceWriter, imported: Imported, by_weight: bool, ticker: Ticker) -> None:
    total = len(imported.document)
    for start in range(0, total, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        experts = imported.experts[rows]
        columns = {}
        if by_weight:
            for i, router in enumerate(imported.routers):
                heaviest = experts[:, i, 0].astype(np.int64)
                missing = np.iinfo(router.alphabet.expert_dtype).max
                columns[f"{router.name}.top1"] = np.where(heaviest < 0, missing, heaviest)
        writer.write(
            imported.document[rows],
            imported.position[rows],
            experts=experts,
            token=None if imported.token is None else imported.token[rows],
            columns=columns or None,
        )
        ticker("writing", min(start + ROWS_AT_ONCE, total), total)


def main() -> None:
    """Entry of ``python -m routestat.convert``."""
    sys.exit(run(app, "routestat convert"))


if __name__ == "__main__":
    main()
