"""The page of placements: findings presented, never recomputed; it needs nothing but its own folder and no script."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from routestat.progress import Tick, silent
from routestat.report.html.page import Picture, draw_all, render
from routestat.report.records.placement import write_results
from routestat.report.records.placement_files import write_exports
from routestat.report.records.plain import Record
from routestat.study.placement_exports import ExportedFiles
from routestat.study.placement_findings import PlacementFindings
from routestat.traces.manifest import replace_file

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing


def write_placement(
    findings: PlacementFindings, exported: Sequence[ExportedFiles], folder: Path, tick: Tick = silent
) -> tuple[Path, Record]:
    """Write the engines' files, results.json, tables, pictures and, last, index.html.

    Parameters
    ----------
    findings : PlacementFindings
    exported : sequence of ExportedFiles
    folder : path
        Must exist; files of an earlier run in it are replaced.
    tick : callable(what, done, total)

    Returns
    -------
    path, record
        Of the page, and the content of results.json.
    """
    record = write_results(findings, exported, folder)
    write_exports(exported, record["exports"], folder)
    pictures = _draw(record, folder / "figures", tick)
    page = folder / "index.html"
    replace_file(page, render("placement.html", record=record, pictures=pictures).encode())
    return page, record


def _draw(record: Record, folder: Path, tick: Tick) -> dict[str, Picture]:
    # matplotlib takes half a second to import, and only this draws.
    from routestat.report.figures import placement as placement_figures  # noqa: PLC0415

    jobs: dict[str, Callable[[], Drawing]] = {
        "device_loads": lambda: placement_figures.device_loads(record),
        "affinity": lambda: placement_figures.affinity(record),
    }
    return draw_all(jobs, folder, tick)
