"""python -m routestat.convert FILE --out TRACE: traces of other tools into the store, and back."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from routestat.cli import convert_options as option
from routestat.cli.options import DummyRows
from routestat.cli.output_folders import appearing_whole
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, run
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
    errors_naming,
    store_imported,
    store_measured,
    store_parquet,
    store_parts,
)
from routestat.traces.importers.tables.reader import read_tables
from routestat.traces.manifest import MANIFEST
from routestat.traces.store import Trace
from routestat.traces.writer import SHARD_ROWS

app = new_app()
# The writers of a trace, by the suffix of --out.
EXPORTS = {".parquet": write_parquet, ".npz": write_arrays}


@app.command()
def convert(
    source: option.Sources,
    out: option.Out = None,
    show: option.Show = False,
    name: option.Name = "",
    model: option.Model = "",
    dataset: option.Dataset = "",
    origin: option.Origin = "",
    licence: option.Licence = "",
    licence_file: option.LicenceFile = None,
    slots: option.Slots = "unknown",
    window: option.Window = 0,
    shard_rows: option.ShardRows = SHARD_ROWS,
    format_: option.Format = "auto",
    layers: option.Layers = "all",
    n_experts: option.NExperts = None,
    top_k: option.TopK = None,
    end_of_document: option.EndOfDocument = None,
    sequence_length: option.SequenceLength = None,
    iteration: option.Iteration = None,
    stride: option.Stride = None,
    drop_dummy_rows: DummyRows = False,
    cluster: option.Cluster = None,
    columns: option.Columns = None,
    axes: option.Axes = None,
    sequence_parallel: option.SequenceParallel = None,
    shape: option.Shape = None,
    dtype: option.Dtype = None,
    logits: option.Logits = False,
    skip_failed: option.SkipFailed = False,
) -> None:
    """Read another tool's trace, check every row, and write the store; or write a trace as Parquet or .npz.

    Example: python -m routestat.convert trace.npz --out traces/mine --model my-moe --slots weight
    """
    _check_words(licence_file, slots, format_)
    picked = parse_layers(layers)
    options = ImportOptions(
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
        for line in preview(source, format_, options):
            print(line)
        return
    if out is None:
        raise RoutestatError(
            "--out: name the folder of the new trace (or --show what the file is recognised as)"
        )
    _require_free(out)
    format_ = _format_of(source, format_, options, out)
    if out.suffix in EXPORTS:
        print(f"{out}: {_export(source[0], out)}")
        return
    facts: dict[str, Any] = {
        "name": name,
        "model": model,
        "dataset": dataset,
        "source": origin,
        "licence": licence,
    }
    with appearing_whole(out) as folder:
        if format_ == "parquet":
            summary = _from_parquet(source[0], folder, facts, shard_rows)
        else:
            facts |= {"name": name or out.resolve().name, "window": window}
            summary = _from_foreign(source, format_, options, folder, facts, slots, shard_rows)
        if licence_file is not None:
            shutil.copyfile(licence_file, folder / "LICENSE")
    _print_findings(out)
    print(f"{out}: {summary}")


def _check_words(licence_file: Path | None, slots: str, format_: str) -> None:
    """Refuse a licence file that is not there, and words that an option does not have."""
    if licence_file is not None and not licence_file.is_file():
        raise RoutestatError(f"--licence-file {licence_file}: no such file")
    if slots not in ("weight", "unknown"):
        raise RoutestatError(f"--slots is weight or unknown, got {slots!r}")
    if format_ not in ("auto", "parquet", *FORMATS):
        raise RoutestatError(f"--format is auto, parquet, {', '.join(FORMATS)}, got {format_!r}")


def _format_of(source: Sequence[Path], format_: str, options: ImportOptions, out: Path) -> str:
    """Return the format of the sources, and refuse options or further sources that it does not take."""
    if format_ == "auto":
        format_ = _detected(source, options, out)
    if (format_ == "parquet" or out.suffix in EXPORTS) and options != ImportOptions():
        raise RoutestatError(
            f"{source[0]}: a trace is converted whole: --layers to --skip-failed are for other tools' files"
        )
    if len(source) > 1 and format_ != "table":
        raise RoutestatError(
            f"{source[1]}: only a table may have several source files; name their folder instead"
        )
    return format_


def _detected(source: Sequence[Path], options: ImportOptions, out: Path) -> str:
    """Return the format by the content of the first source."""
    if out.suffix in EXPORTS:
        return "trace"
    if (source[0] / MANIFEST).exists():
        raise RoutestatError(
            f"{source[0]} is a folder with a trace already; end --out with .parquet or .npz to export it"
        )
    if options.columns is not None:
        return "table"
    name = detect(source[0], options)
    if name not in ("arrays", "parquet"):
        print(f"note: {source[0]} recognised as {FORMATS[name].words} (--format {name})", file=sys.stderr)
    return name


def _export(source: Path, out: Path) -> str:
    """Write a trace to a file and return a summary."""
    with ProgressBars() as bars:
        trace = Trace.open(source, progress=bars.of("checking"))
        EXPORTS[out.suffix](trace, out, bars.of("writing"))
    return f"{trace.n_tokens:,} tokens of {trace.documents.num_rows:,} documents"


def _from_parquet(source: Path, folder: Path, facts: Mapping[str, Any], shard_rows: int) -> str:
    """Write a Parquet trace as a store and return a summary."""
    file = ParquetTrace(source)
    with ProgressBars() as bars:
        store_parquet(file, folder, facts, shard_rows, bars.of("writing"))
    return f"{file.n_tokens:,} tokens"


def _from_foreign(
    source: Sequence[Path],
    name: str,
    options: ImportOptions,
    folder: Path,
    facts: dict[str, Any],
    slots: str,
    shard_rows: int,
) -> str:
    """Write another tool's trace as a store, print its notes and return a summary."""
    with ProgressBars() as bars, errors_naming(source[0]):
        if name == "table":
            stored = _from_table(source, options, folder, facts, slots, shard_rows, bars)
        else:
            imported = read_foreign(source[0], name, options)
            facts["slot_order"] = "weight" if slots == "weight" else imported.slot_order
            stored = store_imported(imported, folder, facts, shard_rows, bars.of("writing"))
    for note in stored.notes:
        print(f"note: {note}", file=sys.stderr)
    return f"{stored.n_tokens:,} tokens of {stored.n_documents:,} documents"


def _from_table(
    source: Sequence[Path],
    options: ImportOptions,
    folder: Path,
    facts: dict[str, Any],
    slots: str,
    shard_rows: int,
    bars: ProgressBars,
) -> Stored:
    """Write a table as a store, in as many parts as memory requires; `folder` also holds the temporary rows."""
    require_used_options(source[0], "table", options)
    with (table := read_tables(source, options, bars.of("reading"), scratch=folder)).store:
        facts["slot_order"] = "weight" if slots == "weight" else table.slot_order
        for key, value in table.facts.items():
            facts[key] = facts[key] or value
        again = options.drop_dummy_rows and table.in_parts
        first = folder / "parts" if again else folder
        stored = store_parts(
            table.parts(), first, facts, shard_rows, bars.of("writing"), table.n_tokens, table.notes
        )
    if again:
        stored = store_measured(first, folder, shard_rows, bars.of("leaving out"))
        shutil.rmtree(first)
    return stored


def _print_findings(out: Path) -> None:
    """Print what was found of clusters and of dummy rows in the new trace."""
    written = Trace.open(out, verify=False)
    found = [finding.sentence for finding in findings_of(written)]
    for sentence in (*summarise_units(written).sentences(), *found):
        print(f"note: {sentence}", file=sys.stderr)


def _require_free(out: Path) -> None:
    """Refuse an output that exists already."""
    if (out / MANIFEST).exists():
        raise RoutestatError(f"--out {out} already holds a trace; choose another folder")
    if out.suffix in EXPORTS:
        for taken in (out, documents_path(out)):
            if taken.exists():
                raise RoutestatError(f"--out {taken} exists already; choose another file")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RoutestatError(f"--out {out} is not an empty folder; choose another")


def main() -> None:
    """Run ``python -m routestat.convert``."""
    sys.exit(run(app, "routestat convert"))


if __name__ == "__main__":
    main()
