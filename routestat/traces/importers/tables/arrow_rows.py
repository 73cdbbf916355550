"""Arrow columns as rows, for all kinds of files."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from routestat.traces.importers.tables import arrow_columns as arrow
from routestat.traces.importers.tables.file_plans import INTEGERS, Plan
from routestat.traces.importers.tables.lists import listed
from routestat.traces.importers.tables.rows import Rows, WrongRowError, checked


def without_others(plan: Plan, table: pa.Table) -> Rows:
    """Read the rows of the table; rows with neither a layer nor experts are of another kind."""
    columns = plan.columns
    needed = [columns.layer, *(columns.experts or (columns.expert,))]
    other = np.logical_and.reduce([table.column(name).is_null().to_numpy() for name in needed])
    if not other.any():
        return to_rows(plan, table)
    kept = np.flatnonzero(~other).astype(np.int32)
    try:
        rows = to_rows(plan, table.take(pa.array(kept)))
    except WrongRowError as error:
        raise WrongRowError(int(kept[error.row]), error.words) from None
    source = kept if rows.source is None else kept[rows.source]
    return replace(rows, source=source, skipped=int(other.sum()))


def to_rows(plan: Plan, table: pa.Table) -> Rows:
    """Arrow columns as rows, for all kinds of files."""
    columns = plan.columns
    held: dict[str, Any] = {}
    for role in INTEGERS:
        name = getattr(columns, role)
        if name:
            empty = -1 if role == "token" else None
            held[role] = arrow.whole(table.column(name), name, empty, named=role == "layer")
    for role, read in (("experts", arrow.whole), ("weights", arrow.floats)):
        names = getattr(columns, role)
        if names and columns.listed:
            held[role] = listed(table.column(names[0]), names[0], read)
        elif names:
            held[role] = np.stack([read(table.column(name), name) for name in names], axis=1)
    if columns.expert:
        held["experts"] = held.pop("expert")[:, None]
    if columns.weight:
        held["weights"] = arrow.floats(table.column(columns.weight), columns.weight)[:, None]
    if "weights" in held and held["weights"].shape != held["experts"].shape:
        raise WrongRowError(0, f"{held['weights'].shape[1]} weights of {held['experts'].shape[1]} experts")
    if columns.phase:
        held["phase"] = arrow.phases(columns.phase, table.column(columns.phase))
    names_: tuple[str, ...] = ()
    if columns.document:
        codes, values = arrow.encoded(table.column(columns.document))
        for place, value in enumerate(values):
            if value is None or value == "":
                raise WrongRowError(
                    int(np.argmax(codes == place)), f"column {columns.document} is empty: of which document?"
                )
        held["document"], names_ = codes, tuple(_label(value) for value in values)
    said = []
    for role in ("domain", "cluster"):
        name = getattr(columns, role)
        if name:
            column = table.column(name)
            required = role in columns.named
            said.append((role, arrow.of_documents(held.get("document"), len(names_), name, column, required)))
    held["said"] = tuple(said)
    return checked(columns, held, names_)


def _label(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
