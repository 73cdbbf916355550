"""The page of a comparison: findings presented, never recomputed; it needs nothing but its own folder and no script."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from routestat.progress import Tick, silent
from routestat.report.html.page import Picture, draw_all, noun_of, render
from routestat.report.records.comparison import write_results
from routestat.report.records.plain import Record
from routestat.study.comparison import TraceComparison
from routestat.traces.manifest import replace_file

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing


def write_comparison(
    findings: TraceComparison,
    folder: Path,
    tick: Tick = silent,
) -> Path:
    """Write results.json, tables, pictures and, last, index.html; return the path of the page.

    Parameters
    ----------
    findings : TraceComparison
    folder : path
        Must exist; files of an earlier comparison in it are replaced.
    tick : callable(what, done, total)
    """
    record = write_results(findings, folder)
    pictures = _draw(findings, record, folder / "figures", tick)
    page = folder / "index.html"
    replace_file(page, _page(findings, record, pictures).encode())
    return page


def by_effect(rows: Sequence[Record], key: str = "jsd_bits") -> list[Record]:
    """Largest divergence first; the plug-in where there is no estimate, and last where there is neither."""

    def size(row: Record) -> float:
        bits = row.get(key) if row.get(key) is not None else row.get(key + "_plugin")
        return float("inf") if bits is None else -bits

    return sorted(rows, key=size)


def _draw(findings: TraceComparison, record: Record, folder: Path, tick: Tick) -> dict[str, Picture]:
    # matplotlib takes half a second to import, and only this draws.
    from routestat.report.figures import comparison as comparison_figures  # noqa: PLC0415

    jobs: dict[str, Callable[[], Drawing]] = {
        "divergence": lambda: comparison_figures.divergence(findings),
        "loads": lambda: comparison_figures.loads(findings),
        "flips": lambda: comparison_figures.flips(findings),
    }
    strongest = _strongest(findings, record)
    if strongest is not None:
        item = findings.transitions[strongest]
        jobs["transition"] = lambda: comparison_figures.transition(item, findings.states)
    return draw_all(jobs, folder, tick)


def _strongest(findings: TraceComparison, record: Record) -> int | None:
    """Which transition differs most given its source."""
    known = [place for place, item in enumerate(findings.transitions) if item.difference is not None]
    rows = [record["transitions"][place] | {"place": place} for place in known]
    return by_effect(rows, "conditional_jsd_bits")[0]["place"] if rows else None


def _page(findings: TraceComparison, record: Record, pictures: dict[str, Picture]) -> str:
    strongest = _strongest(findings, record)
    return render(
        "comparison.html",
        record=record,
        expert=findings.states == "expert",
        noun=noun_of([item.a for item in findings.layers]) if findings.states == "subset" else "expert",
        layers=by_effect([row for row in record["layers"] if "jsd_bits" in row]),
        transitions=by_effect(
            [row for row in record["transitions"] if "jsd_bits" in row], "conditional_jsd_bits"
        ),
        strongest=None if strongest is None else record["transitions"][strongest],
        pictures=pictures,
    )
