"""The files that engines load, in one folder for each objective, with a text that says what they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from routestat.report.numbers import number
from routestat.report.placement_sentences import interval_words
from routestat.report.records.plain import Record
from routestat.serving.placement.placement import OBJECTIVES
from routestat.study.placement_exports import FOLDERS, ExportedFiles
from routestat.traces.manifest import replace_file

#: In every folder, for a reader who gets only that folder.
ABOUT = "README.txt"


def write_exports(exported: Sequence[ExportedFiles], rows: Sequence[Record], folder: Path) -> None:
    """Write the files of all exports; those of an earlier run are removed, since they may be of other devices.

    Parameters
    ----------
    exported : sequence of ExportedFiles
    rows : sequence of Record
        `exports` of results.json, in the same order.
    folder : path
        Of the report.
    """
    for name in {*OBJECTIVES, *FOLDERS.values()}:
        if (folder / name / ABOUT).is_file():
            _remove_files(folder / name)
    lines: dict[Path, list[str]] = {}
    for item, row in zip(exported, rows, strict=True):
        for path, content in item.files.items():
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            replace_file(file, content)
            lines.setdefault(file.parent, []).extend(_described(file.name, row))
    for parent, texts in lines.items():
        replace_file(parent / ABOUT, ("\n".join(texts).rstrip() + "\n").encode())


def _remove_files(folder: Path) -> None:
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()


def _described(name: str, row: Record) -> Iterator[str]:
    """Lines on one file: its engine, how it is used, and what it gains on documents that it was not made from."""
    yield name
    yield f"  {row['engine']}" + (" (experimental: no release reads it yet)" if row["experimental"] else "")
    if row["usage"]:
        yield f"  {row['usage'].replace(row['files'][0], Path(row['files'][0]).name)}"
    if "gain_of" in row:
        what = "busiest device over mean" if row["gain_of"] == "balance" else "pairs of choices on one device"
        yield (
            f"  held-out documents, {what}: default order {number(row['held_out_default'])}, this file "
            f"{number(row['held_out_placed'])}, gain {number(row['held_out_gain'])} "
            f"({interval_words(row['held_out_gain_ci95'], row.get('held_out_reason', ''))})"
        )
    if "lru_hit_rate" in row:
        yield (
            f"  held-out documents: these pins serve {number(row['hit_rate'])} of the choices, LRU at the same "
            f"capacity {number(row['lru_hit_rate'])}"
        )
    for note in row.get("notes", []):
        yield f"  note: {note}"
    yield ""
