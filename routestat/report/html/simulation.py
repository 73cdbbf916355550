"""The page of a simulation: findings presented, never recomputed; it needs nothing but its own folder and no script."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from routestat.progress import Tick, silent
from routestat.report.html.page import Picture, draw_all, render
from routestat.report.quantities import between, data_size, duration
from routestat.report.records.plain import Record
from routestat.report.records.simulation import NOTHING_AHEAD, TABLES, write_results
from routestat.report.records.simulation_kinds import MEANINGS
from routestat.report.simulation_main import NAMES, Main, hot_sets_at, main_setting
from routestat.report.simulation_sentences import answers, where
from routestat.serving.cache_estimates import NO_CACHE, NO_WIDTH
from routestat.serving.settings import POLICIES
from routestat.study.simulation_findings import Simulation
from routestat.study.simulation_plan import PERFECT
from routestat.traces.manifest import replace_file

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing

# Of what tables do not show, or show without an interval as the section on the method says.
_NOT_SHOWN = frozenset((NOTHING_AHEAD, NO_CACHE, NO_WIDTH))
#: Rows of a table of the page; the files have all of them.
MOST_ROWS = 200


def write_simulation(findings: Simulation, folder: Path, tick: Tick = silent) -> Path:
    """Write results.json, tables, pictures and, last, index.html; return the path of the page.

    Parameters
    ----------
    findings : Simulation
    folder : path
        Must exist; files of an earlier simulation in it are replaced.
    tick : callable(what, done, total)
    """
    record = write_results(findings, folder)
    pictures = draw_all(_jobs(findings), folder / "figures", tick)
    page = folder / "index.html"
    replace_file(page, _page(findings, record, pictures).encode())
    return page


def _jobs(findings: Simulation) -> "Mapping[str, Callable[[], Drawing]]":
    # matplotlib takes half a second to import, and only this draws.
    from routestat.report.figures import simulation as caches  # noqa: PLC0415
    from routestat.report.figures import simulation_memory as memory  # noqa: PLC0415

    return {
        "capacity": lambda: caches.capacity(findings),
        "cost": lambda: caches.cost(findings),
        "prefetching": lambda: caches.prefetching(findings),
        "layers": lambda: memory.layers(findings),
        "working_set": lambda: memory.working_set(findings),
        "plan": lambda: memory.plan(findings),
    }


def _page(findings: Simulation, record: Record, pictures: Mapping[str, Picture]) -> str:
    main = main_setting(findings)
    rows = record["simulation"]
    sets, mean = hot_sets_at(findings, main), any(row["layer"] is None for row in record["working_sets"])
    return render(
        "simulation.html",
        record=record,
        answers=answers(findings),
        at="" if main is None else where(main, findings),
        main=_main_rows(rows, main),
        caches=[_tabled(row) for row in rows if row["phase"] == "all" and not row["lookahead"]],
        ahead=_ahead(rows),
        phases=[_tabled(row) for row in rows if row["phase"] != "all"],
        hot=[_tabled(row) for row in record["hot_sets"] if sets and row["capacity"] == sets[0].capacity],
        sets=[_tabled(row) for row in record["working_sets"] if row["layer"] is None or not mean],
        sizes=[_tabled(row) for row in record["capacity_plan"]["sizes"]],
        gaps=[_tabled(row) for row in record["recoverable_gap"]],
        policies=[policy for policy in POLICIES if any(row["policy"] == policy.name for row in rows)],
        names=NAMES,
        perfect=PERFECT,
        meanings=MEANINGS,
        size=data_size,
        time=duration,
        between=between,
        most=MOST_ROWS,
        files=TABLES,
        pictures=pictures,
    )


def _main_rows(rows: Sequence[Record], main: Main | None) -> list[Record]:
    """Return the rows of the main setting without prefetching, those with no cache included."""
    if main is None:
        return []
    wanted = [one.setting for one in main.policies]
    named = [(one.policy, one.scope, one.capacity, one.start, one.predictor or None) for one in wanted]
    keys = ("policy", "scope", "capacity", "start", "predictor")
    found = {
        tuple(row[key] for key in keys): row for row in rows if row["phase"] == "all" and not row["lookahead"]
    }
    return [_tabled(found[name]) for name in named]


def _tabled(row: Record) -> Record:
    """Return a row with those reasons only that are about what tables of the page show as undefined."""
    reasons = [part for part in row.get("reason", "").split("; ") if part and part not in _NOT_SHOWN]
    kept = {key: value for key, value in row.items() if key != "reason"}
    return kept | ({"reason": "; ".join(reasons)} if reasons else {})


def _ahead(rows: Sequence[Record]) -> list[Record]:
    """Return the rows with prefetching, each with the row of the same setting without it, if there is one."""
    keys = ("policy", "scope", "capacity", "start")
    without = {
        tuple(row[key] for key in keys): row for row in rows if row["phase"] == "all" and not row["lookahead"]
    }
    return [
        _tabled(row) | {"without": without.get(tuple(row[key] for key in keys))}
        for row in rows
        if row["phase"] == "all" and row["lookahead"]
    ]
