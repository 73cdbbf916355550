"""Preview of a file: how it would be stored, with shape, documents, phases and first rows."""

import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from routestat.errors import FormatError
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.detection import detect
from routestat.traces.importers.parquet import ParquetTrace
from routestat.traces.importers.registry import FORMATS, read_foreign, require_used_options
from routestat.traces.importers.tables.preview import preview_table
from routestat.traces.manifest import MANIFEST
from routestat.traces.number_ranges import span

FIRST_ROWS = 5
FIRST_LAYERS = 4


def preview(sources: Sequence[Path], name: str, options: ImportOptions) -> list[str]:
    """Describe how the sources would be read, with the command that converts them; nothing is changed.

    Parameters
    ----------
    name : str
        A format, or ``auto``.

    Raises
    ------
    FormatError
        If they cannot be read, or as their reader does.
    """
    source = sources[0]
    if (source / MANIFEST).exists():
        raise FormatError(f"{source} is a trace already: python -m routestat.analyze {source}")
    requested = name
    if name == "auto":
        name = "table" if options.columns is not None else detect(source, options)
    command = f"python -m routestat.convert {' '.join(shlex.quote(str(one)) for one in sources)} --out TRACE"
    if name == "parquet":
        file = ParquetTrace(source)
        return [f"{source}: a trace that convert wrote, {file.n_tokens:,} tokens", f"convert it: {command}"]
    require_used_options(source, name, options)
    command += f" --format {name}" if requested == name else ""
    lines = [f"{source}: {FORMATS[name].words} (--format {name})"]
    if name == "table":
        found, imported, notes, columns = preview_table(sources, options)
        lines += found
        if options.cluster is not None:
            # --cluster already names the column.
            columns = ",".join(part for part in columns.split(",") if not part.startswith("cluster="))
        options = replace(options, columns=columns or options.columns)
    else:
        imported = read_foreign(source, name, options)
        notes = list(imported.notes)
    lines += [] if imported is None else describe(imported)
    command += options_as_text(options)
    return [*lines, *(f"note: {note}" for note in notes), f"convert it: {command}"]


def options_as_text(options: ImportOptions) -> str:
    """Return the given options as command-line text, each preceded by a blank."""
    said = []
    for field in fields(ImportOptions):
        value = getattr(options, field.name)
        if value == field.default:
            continue
        option = "--" + field.name.replace("_", "-")
        if field.name == "layers":
            value = span(value).replace(" ", "")
        said.append(f" {option}" if value is True else f" {option} {shlex.quote(str(value))}")
    return "".join(said)


def describe(imported: ImportedTrace) -> list[str]:
    """Return lines that describe what was read."""
    n, n_layers, top_k = imported.experts.shape
    layers = [router.layer for router in imported.routers]
    n_documents = len(imported.documents["document"])
    lines = [
        f"tokens {n:,} × layers {n_layers} × k {top_k}",
        f"documents {n_documents:,}, positions {imported.position.min():,} to {imported.position.max():,}",
        f"layers {span(layers)}; experts {imported.routers[0].n_experts}, ids up to {int(imported.experts.max())}",
    ]
    missing = int((imported.experts[:, :, 0] == -1).sum())
    if missing:
        lines.append(f"missing {missing:,} of {n * n_layers:,} places (token and layer)")
    n_decode = 0 if imported.decode is None else int(imported.decode.sum())
    lines.append(f"phases: {n - n_decode:,} tokens prefill, {n_decode:,} decode")
    if imported.token is not None:
        lines.append(f"token ids of {int((imported.token >= 0).sum()):,} tokens")
    if imported.slot_order == "weight":
        lines.append("slots are in the order of weight")
    return [*lines, *_first_rows(imported)]


def _first_rows(imported: ImportedTrace) -> list[str]:
    """Return the first tokens as they would be stored."""
    names = dict(
        zip(
            imported.documents["document"],
            imported.documents.get("name", imported.documents["document"]),
            strict=True,
        )
    )
    preview = imported.routers[:FIRST_LAYERS]
    rest = " …" if len(imported.routers) > FIRST_LAYERS else ""
    rows = [["document", "position", "token", "phase", *(router.name for router in preview)]]
    for row in range(min(FIRST_ROWS, len(imported.document))):
        token = "-" if imported.token is None or imported.token[row] < 0 else str(imported.token[row])
        decode = imported.decode is not None and bool(imported.decode[row])
        cells = []
        for index in range(len(preview)):
            ids = imported.experts[row, index]
            cells.append("missing" if (ids == -1).all() else ",".join(map(str, np.asarray(ids).tolist())))
        number = int(imported.document[row])
        rows.append(
            [
                str(names[number])[:40],
                str(imported.position[row]),
                token,
                "decode" if decode else "prefill",
                *cells,
            ]
        )
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + rest
        for line in rows
    ]
