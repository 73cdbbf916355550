"""Preview of a table, from its first rows."""

from collections.abc import Sequence
from pathlib import Path

from routestat.errors import FormatError
from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.folders import plans_of
from routestat.traces.importers.tables.reader import columns_said, read_tables
from routestat.traces.importers.tables.sources import expand

#: Rows that are read.
SHOWN_ROWS = 1 << 20
KINDS = {"csv": "CSV", "jsonl": "JSON lines", "json": "a JSON array", "parquet": "Parquet"}


def columns_of(plan: Plan) -> list[str]:
    """Return lines with role and column, and the columns that are not read."""
    kind = KINDS[plan.kind]
    if plan.kind == "csv":
        parted = {"\t": "tab", ",": "comma", ";": "semicolon"}.get(plan.delimiter, plan.delimiter)
        kind += f", separated by {parted}, {'with' if plan.header else 'without'} a header"
    lines = [f"table: {kind}", "role        column"]
    for role in dict(plan.columns.pairs()):
        held = getattr(plan.columns, role)
        names = [held] if isinstance(held, str) else list(held)
        shown = ", ".join(names if len(names) < 10 else [*names[:4], "…", names[-1]])
        form = " (a list)" if role in ("experts", "weights") and plan.columns.listed else ""
        lines.append(f"{role:<11} {shown}{form}")
    rest = [name for name in plan.held if name not in plan.columns.used]
    if rest:
        lines.append(f"{'not read':<11} {', '.join(rest[:20])}{', …' if len(rest) > 20 else ''}")
    return lines


def preview_table(
    sources: Sequence[Path], options: ImportOptions
) -> tuple[list[str], ImportedTrace | None, list[str], str]:
    """Return the columns of a table, its first rows, notes, and the equivalent ``--columns``.

    Raises
    ------
    FormatError
        If there is no table, or a required column is not recognised.
    """
    files = expand(sources)
    plan = next(plans_of(sources, columns_said(options)))
    lines = columns_of(plan)
    if len(files) > 1:
        lines.insert(0, f"files: {len(files)}, {files[0]} to {files[-1]}; {plan.path} is shown")
    try:
        with (table := read_tables([plan.path], options, most=SHOWN_ROWS)).store:
            whole = table.whole
            imported = next(iter(table.parts()))
    except FormatError as error:
        return lines, None, [f"it would be refused: {error}"], plan.columns.to_option()
    if not whole:
        lines.append(f"shown is its first part, {table.store.n_rows:,} rows or more")
    return lines, imported, list(table.notes), plan.columns.to_option()
