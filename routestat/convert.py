"""python -m routestat.convert FILE --out TRACE: other tools' traces → the store."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from routestat.cli.output_folders import appearing_whole
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import parse_layers, run
from routestat.errors import RoutestatError
from routestat.traces.clusters.summary import summarise_units
from routestat.traces.dummy_rows.findings import findings_of
from routestat.traces.importers.arrays_export import write_arrays
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.detection import detect
from routestat.traces.importers.parquet import ParquetTrace, documents_path, write_parquet
from routestat.traces.importers.preview import preview
from routestat.traces.importers.registry import FORMATS, read_foreign, require_used_options
from routestat.traces.importers.storing import (
    Stored,
    naming,
    store_imported,
    store_measured,
    store_parquet,
    store_parts,
)
from routestat.traces.importers.tables.reader import read_tables
from routestat.traces.manifest import MANIFEST
from routestat.traces.store import Trace
from routestat.traces.writer import SHARD_ROWS

app = typer.Typer(add_completion=False)
# What a trace is written to where --out is no folder.
EXPORTS = {".parquet": write_parquet, ".npz": write_arrays}


@app.command()
def convert(
    source: Annotated[
        list[Path],
        typer.Argument(
            help="A file or folder of one of the formats, a .parquet that convert wrote, or a trace; several "
            "files of a table, or a quoted pattern such as 'traces/*.csv.gz'."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the new trace, or a .parquet or .npz file to write a trace to."),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print what the file would be taken for, and change nothing."),
    ] = False,
    name: Annotated[str, typer.Option(help="Name of the trace; the folder's if not given.")] = "",
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
    format_: Annotated[
        str, typer.Option("--format", help=f"auto (told from the content), parquet, {', '.join(FORMATS)}.")
    ] = "auto",
    layers: Annotated[
        str, typer.Option(help="MoE layers: which to take, or what they are called; 0-31 or 1,3,5.")
    ] = "all",
    n_experts: Annotated[
        int | None, typer.Option(min=1, help="Experts per router, where the file does not say.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Experts per token, where the file does not say.")
    ] = None,
    end_of_document: Annotated[
        int | None, typer.Option(help="Token id that ends a document, for flame-moe.")
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens of a sequence, each a document, for flame-moe and megatron."),
    ] = None,
    iteration: Annotated[int | None, typer.Option(min=0, help="Which checkpoint, for flame-moe.")] = None,
    stride: Annotated[
        int | None, typer.Option(min=2, help="Integers per row of a whole argsort (n_expert), for llama-cpp.")
    ] = None,
    drop_dummy_rows: Annotated[
        bool,
        typer.Option(
            "--drop-dummy-rows",
            help="Leave out rows and layers that are no measurements (warm-up, padding, stuck or never written rows, "
            "ids that stand for nothing); inside documents they become missing. If not given they are noted and kept.",
        ),
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Field or column that says which documents belong together (samples of one prompt, turns of one "
            "conversation), such as conversation_id; if not given, found from ids and shared beginnings."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of a table by role: document=req,position=step,layer=layer,experts=topk. Roles: document, "
            "position, layer, experts (a list, or several columns: experts=e0+e1) or expert with one a row (and slot "
            "or weight); also token, phase, domain, cluster, weights. If not given, recognised."
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Order of an array's axes, where it is doubtful: tokens,layers,k or layers,tokens,k, or the three "
            "words in any other order."
        ),
    ] = None,
    sequence_parallel: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Neighbouring ranks that each hold a part of every sequence, for megatron: they are joined.",
        ),
    ] = None,
    shape: Annotated[
        str | None, typer.Option(help="Shape of packed bytes, such as 1000,24,2 (tokens, layers, k).")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of packed bytes, such as uint8.")] = None,
    logits: Annotated[
        bool,
        typer.Option(
            "--logits", help="The arrays hold router logits; the --top-k largest of each row are the choice."
        ),
    ] = False,
    skip_failed: Annotated[
        bool,
        typer.Option(
            "--skip-failed", help="Leave out records without routing (failed requests), and count them."
        ),
    ] = False,
) -> None:
    """Read another tool's trace, check every row, and write the store; or write a trace as Parquet or .npz.

    Example: python -m routestat.convert trace.npz --out traces/mine --model my-moe --slots weight
    """
    if licence_file is not None and not licence_file.is_file():
        raise RoutestatError(f"--licence-file {licence_file}: no such file")
    if slots not in ("weight", "unknown"):
        raise RoutestatError(f"--slots is weight or unknown, got {slots!r}")
    if format_ not in ("auto", "parquet", *FORMATS):
        raise RoutestatError(f"--format is auto, parquet, {', '.join(FORMATS)}, got {format_!r}")
    picked = parse_layers(layers)
    wanted = ImportOptions(
        layers=None if picked is None else tuple(picked),
        n_experts=n_experts,
        top_k=top_k,
        end_of_document=end_of_document,
        sequence_length=sequence_length,
        iteration=iteration,
        stride=stride,
        drop_dummy_rows=drop_dummy_rows,
        cluster=cluster,
        columns=columns,
        axes=axes,
        sequence_parallel=sequence_parallel,
        shape=shape,
        dtype=dtype,
        logits=logits,
        skip_failed=skip_failed,
    )
    if show:
        for line in preview(source, format_, wanted):
            print(line)
        return
    if out is None:
        raise RoutestatError(
            "--out: name the folder of the new trace (or --show what the file would be taken for)"
        )
    _require_free(out)
    if format_ == "auto":
        format_ = _told(source, wanted, out)
    whole = format_ == "parquet" or out.suffix in EXPORTS
    if whole and wanted != ImportOptions():
        raise RoutestatError(
            f"{source[0]}: a trace is converted whole: --layers to --skip-failed are for other tools' files"
        )
    if len(source) > 1 and format_ != "table":
        raise RoutestatError(
            f"{source[1]}: one source at a time, but for the files of a table; name their folder instead"
        )
    if out.suffix in EXPORTS:
        print(f"{out}: {_export(source[0], out)}")
        return
    said = {"name": name, "model": model, "dataset": dataset, "source": origin, "licence": licence}
    with appearing_whole(out) as folder:
        if format_ == "parquet":
            summary = _from_parquet(source[0], folder, said, shard_rows)
        else:
            facts = {**said, "name": name or out.resolve().name, "window": window}
            stored = _from_foreign(source, format_, wanted, folder, facts, slots, shard_rows)
            for note in stored.notes:
                print(f"note: {note}", file=sys.stderr)
            summary = f"{stored.n_tokens:,} tokens of {stored.n_documents:,} documents"
        if licence_file is not None:
            shutil.copyfile(licence_file, folder / "LICENSE")
    written = Trace.open(out, verify=False)
    found = [finding.sentence for finding in findings_of(written)]
    for sentence in (*summarise_units(written).sentences(), *found):
        print(f"note: {sentence}", file=sys.stderr)
    print(f"{out}: {summary}")


def _told(source: list[Path], options: ImportOptions, out: Path | None) -> str:
    """The format, from the content of the first source."""
    if out is not None and out.suffix in EXPORTS:
        return "trace"
    if (source[0] / MANIFEST).exists():
        raise RoutestatError(
            f"{source[0]} is a folder with a trace already; end --out with .parquet or .npz to export it"
        )
    if options.columns is not None:
        return "table"
    name = detect(source[0], options)
    if name not in ("arrays", "parquet"):
        print(f"note: {source[0]} taken for {FORMATS[name].words} (--format {name})", file=sys.stderr)
    return name


def _export(source: Path, out: Path) -> str:
    with ProgressBars() as ticker:
        trace = Trace.open(source, progress=ticker.of("checking"))
        EXPORTS[out.suffix](trace, out, ticker.of("writing"))
    return f"{trace.n_tokens:,} tokens of {trace.documents.num_rows:,} documents"


def _from_parquet(source: Path, folder: Path, said: dict[str, Any], shard_rows: int) -> str:
    file = ParquetTrace(source)
    with ProgressBars() as ticker:
        store_parquet(file, folder, said, shard_rows, ticker.of("writing"))
    return f"{file.n_tokens:,} tokens"


def _from_foreign(
    source: list[Path],
    name: str,
    options: ImportOptions,
    folder: Path,
    said: dict[str, Any],
    slots: str,
    shard_rows: int,
) -> Stored:
    with ProgressBars() as ticker, naming(source[0]):
        if name == "table":
            return _from_table(source, options, folder, said, slots, shard_rows, ticker)
        imported = read_foreign(source[0], name, options)
        said["slot_order"] = "weight" if slots == "weight" else imported.slot_order
        return store_imported(imported, folder, said, shard_rows, ticker.of("writing"))


def _from_table(
    source: list[Path],
    options: ImportOptions,
    folder: Path,
    said: dict[str, Any],
    slots: str,
    shard_rows: int,
    ticker: ProgressBars,
) -> Stored:
    """A table, in as many parts as memory asks for; rows that wait lie in the folder that is not yet the trace."""
    require_used_options(source[0], "table", options)
    with (table := read_tables(source, options, ticker.of("reading"), scratch=folder)).store:
        said["slot_order"] = "weight" if slots == "weight" else table.slot_order
        for key, value in table.facts.items():
            said[key] = said[key] or value
        again = options.drop_dummy_rows and table.in_parts
        first = folder / "parts" if again else folder
        stored = store_parts(
            table.parts(), first, said, shard_rows, ticker.of("writing"), table.n_tokens, table.notes
        )
    if again:
        stored = store_measured(first, folder, shard_rows, ticker.of("leaving out"))
        shutil.rmtree(first)
    return stored


def _require_free(out: Path) -> None:
    if (out / MANIFEST).exists():
        raise RoutestatError(f"--out {out} already holds a trace; choose another folder")
    if out.suffix in EXPORTS:
        for taken in (out, documents_path(out)):
            if taken.exists():
                raise RoutestatError(f"--out {taken} exists already; choose another file")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RoutestatError(f"--out {out} is not an empty folder; choose another")


def main() -> None:
    """Entry of ``python -m routestat.convert``."""
    sys.exit(run(app, "routestat convert"))


if __name__ == "__main__":
    main()
