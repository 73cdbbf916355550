"""The summary that `place` prints: what is gained, and which file is loaded how; no text is read as markup."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from routestat.report.numbers import interval, many, number
from routestat.report.records.plain import Record
from routestat.report.terminal.console import (
    new_console,
    new_table,
    one_line,
    print_notes,
    print_report_path,
    print_titled,
)

_ROWS = {
    "balance": "busiest device over mean",
    "device_affinity": "pairs on one device",
    "node_affinity": "pairs on one node",
}


def summarise(record: Record, page: Path) -> None:
    """Print gains, sentences and files of a plain record of results.json to stdout; 80 columns when piped."""
    console = new_console()
    trace, devices = record["trace"], record["devices"]
    size = f"{many(devices['n_devices'], 'device')} in {many(devices['n_nodes'], 'node')}"
    made = f"made from {many(trace['n_documents_fitted'], 'document')}"
    held = f"measured on {trace['n_documents_held_out']:,} others"
    parts = (trace["folder"] or trace["name"], size, made, held)
    console.print(Text(" · ".join(one_line(part) for part in parts if part)))
    print_notes(console, record["notes"])
    _gains(console, record)
    for sentence in record["reading"]:
        console.print()
        console.print(Text(one_line(sentence)))
    _files(console, record)
    print_report_path(console, page)


def _gains(console: Console, record: Record) -> None:
    table = new_table("placed for", "", "default", "placed", "gain", "95 % interval")
    for row in record["placements"]:
        for name, words in _ROWS.items():
            if row[f"{name}_placed"] is None and row[f"{name}_gain"] is None:
                continue
            table.add_row(
                row["objective"],
                words,
                number(row[f"{name}_default"]),
                number(row[f"{name}_placed"]),
                number(row[f"{name}_gain"]),
                interval(*row[f"{name}_gain_ci95"]),
            )
    if table.row_count:
        print_titled(console, "Gain on held-out documents", table)


def _files(console: Console, record: Record) -> None:
    written = [row for row in record["exports"] if row["files"]]
    absent = [row for row in record["exports"] if not row["files"]]
    console.print()
    console.print(Text("Files", style="bold"))
    for row in written:
        mark = " (experimental)" if row["experimental"] else ""
        console.print(Text(f"{', '.join(row['files'])}: {row['engine']}{mark}"), soft_wrap=True)
    for row in absent:
        what = f"{row['export']} for {row['objective']}" if row["objective"] else row["export"]
        console.print(Text(f"not written: {what}: {one_line(row.get('reason', ''))}", style="dim"))
