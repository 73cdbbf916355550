"""The summary that `place` prints: what is gained, and which file is loaded how; no text is read as markup."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from routestat.report.numbers import interval, many, number
from routestat.report.placement_sentences import (
    by_loads_sentence,
    judged,
    main_figure,
    optimum_sentence,
    pins_sentence,
)
from routestat.report.records.plain import Record
from routestat.report.terminal.console import (
    new_console,
    new_table,
    one_line,
    print_notes,
    print_report_path,
    print_titled,
    why_undefined,
)

_FIGURES = {
    "balance": "busiest over mean",
    "device_affinity": "pairs on one device",
    "node_affinity": "pairs on one node",
}


def summarise(record: Record, page: Path) -> None:
    """Print gains, sentences and files of a plain record of results.json to stdout; 80 columns when piped."""
    console = new_console()
    trace, devices = record["trace"], record["devices"]
    size = f"{many(devices['n_devices'], 'device')} in {many(devices['n_nodes'], 'node')}"
    made = f"made from {many(trace['n_documents_made_from'], 'document')}"
    held = f"measured on {trace['n_documents_held_out']:,} others"
    parts = (trace["folder"] or trace["name"], size, made, held)
    console.print(Text(" · ".join(one_line(part) for part in parts if part)))
    print_notes(console, record["notes"])
    _gains(console, record)
    if "pins" in record:
        console.print()
        console.print(Text(pins_sentence(record["pins"])))
    _files(console, record["exports"])
    print_report_path(console, page)


def _gains(console: Console, record: Record) -> None:
    table = new_table("placed for", "", "default", "placed", "gain", "95 % interval")
    below, reasons = [], []
    for row in record["placements"]:
        known = [name for name in _FIGURES if row[f"{name}_gain"] is not None]
        for place, name in enumerate(known):
            table.add_row(
                "" if place else row["objective"],
                _FIGURES[name],
                number(row[f"{name}_default"]),
                number(row[f"{name}_placed"]),
                number(row[f"{name}_gain"]),
                interval(*(row[f"{name}_gain_ci95"])),
            )
        name = main_figure(row["objective"])
        if row[f"{name}_gain"] is not None:
            parts = (judged(row, name), by_loads_sentence(row, name), optimum_sentence(row))
            below.append(f"{row['objective']}: {' '.join(part for part in parts if part)}")
        reasons += [row.get(f"{name}_reason") for name in ("balance", "device_affinity")]
    if record["placements"]:
        body = table if table.row_count else Text("Nothing could be measured.")
        print_titled(console, "Gain on held-out documents", body, [*below, *why_undefined(reasons)])


def _files(console: Console, rows: Sequence[Record]) -> None:
    console.print()
    console.print(Text("Files", style="bold"))
    for name in dict.fromkeys(row["export"] for row in rows if row["files"]):
        of_name = [row for row in rows if row["export"] == name]
        paths = [path for row in of_name for path in row["files"]]
        mark = " (experimental)" if of_name[0]["experimental"] else ""
        # A path on two lines could not be copied.
        console.print(Text(f"{name}{mark}: {', '.join(paths)}"), soft_wrap=True)
    for why in dict.fromkeys(row["reason"] for row in rows if "reason" in row):
        names = dict.fromkeys(row["export"] for row in rows if row.get("reason") == why)
        console.print(Text(f"not written: {', '.join(names)}: {one_line(why)}", style="dim"))
