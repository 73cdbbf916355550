"""The page of one trace."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from routestat.forecast import catalogue
from routestat.progress import Tick, silent
from routestat.report.figures import bayes as bayes_figures
from routestat.report.figures import board as board_figure
from routestat.report.figures import heatmaps
from routestat.report.figures import layers as layer_figures
from routestat.report.figures import level_checks as level_check_figures
from routestat.report.figures import memory as memory_figures
from routestat.report.figures import routes as route_figure
from routestat.report.figures.style import Drawing
from routestat.report.html.page import Picture, draw_all, noun_of, render
from routestat.report.html.transition_maps import gradient, transition_maps
from routestat.report.numbers import experts_words
from routestat.report.records.layer_pairs import by_information, page_columns
from routestat.report.records.pair_statistic import Cell, Column, PairStatistic, cell
from routestat.report.records.plain import Record
from routestat.report.records.study import TABLES, cells_file, tables_of, write_results
from routestat.study.layer_pairs import LayerPair
from routestat.study.routes import BlockFinding, clearest_blocks
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

PANELS = (
    ("exact_set", "exact set"),
    ("recall_at_k", "recall@k"),
    ("top1_hit", "top-1 hit"),
    ("log_loss_bits", "log loss, bits (less is better)"),
)


@dataclass(frozen=True)
class PairTable:
    """A table of the page: its columns, and each pair with one cell per column."""

    columns: list[tuple[Column, PairStatistic]]
    rows: list[tuple[LayerPair, list[Cell]]]


def write_report(study: Study, folder: Path, figures: bool = False, tick: Tick = silent) -> Path:
    """Write results.json, tables, pictures, routes.graphml and, last, index.html.

    Parameters
    ----------
    study : Study
    folder : path
        Must exist; files of an earlier report in it are replaced.
    figures : bool
        Draw the transitions also as files; the page has its own pictures of them.
    tick : callable(what, done, total)

    Returns
    -------
    Path
        Of index.html.
    """
    record = write_results(study, folder)
    pictures = _draw(study, folder / "figures", figures, tick)
    page = folder / "index.html"
    replace_file(page, _page(study, record, pictures, folder).encode())
    # Not earlier: a page that was here before may show them.
    shown = {picture.file for picture in pictures.values()}
    for old in [*(folder / "figures").glob("transition-*.png"), *(folder / "figures").glob("bayes-*.png")]:
        if f"figures/{old.name}" not in shown:
            old.unlink()
    return page


def path_words(router: Router, states: str, step: int | Sequence[int]) -> str:
    """Return one step of a path, a state, an expert or k experts, as experts."""
    if isinstance(step, int):
        experts = [step] if states == "expert" else router.alphabet.unrank(step).tolist()
    else:
        experts = list(step)
    return experts_words(experts)


def _draw(study: Study, folder: Path, figures: bool, tick: Tick) -> dict[str, Picture]:
    """Draw all pictures, by name."""
    folder.mkdir(exist_ok=True)
    layers = [router.layer for router in study.routers]
    jobs: dict[str, Callable[[], Drawing]] = {"load": lambda: layer_figures.load(study.loads)}
    if (pairs := study.pairs) is not None:
        jobs["information"] = lambda: layer_figures.information(pairs, study.loads, study.states)
    if "layer-map" in study.parts:
        jobs["map"] = lambda: _draw_map(study)
    if (checks := study.level_checks) is not None:
        jobs["calibration"] = lambda: level_check_figures.p_histograms(checks.families)
    if (memory := study.memory) is not None:
        jobs["contexts"] = lambda: memory_figures.contexts(memory)
        jobs["horizons"] = lambda: memory_figures.horizons(memory)
    if (board := study.mean_board) is not None:
        jobs["board"] = lambda: board_figure.board(board, PANELS, catalogue.baselines())
    if (found := study.blocks) is not None:
        jobs["blocks"] = lambda: _draw_blocks(study, found)
    if (paths := study.paths) is not None:
        jobs["routes"] = lambda: route_figure.routes(paths.graph, layers, paths.dominant)
    if study.bayes is not None:
        for name, drawn in bayes_figures.all_pictures(study.bayes).items():
            jobs[name] = lambda drawn=drawn: drawn  # type: ignore[misc]
    for item in (study.pairs or ()) if figures else ():
        name = f"transition-{item.source.layer}-{item.target.layer}"
        jobs[name] = lambda item=item: heatmaps.joint_and_conditional(item, study.states)  # type: ignore[misc]
    return draw_all(jobs, folder, tick)


def _draw_map(study: Study) -> Drawing:
    found = study.across_layers.map
    return (
        f"No map: {study.across_layers.map_reason}."
        if found is None
        else heatmaps.layer_map(found, study.states)
    )


def _draw_blocks(study: Study, found: Sequence[BlockFinding]) -> Drawing:
    place = clearest_blocks(found)
    if place is None:
        reasons = dict.fromkeys(b.blocks.reason or b.null.reason for b in found)
        return "No transition has blocks to show" + "".join(f"; {why}" for why in reasons if why) + "."
    return heatmaps.blocks(found[place], study.states)


def _page(study: Study, record: Record, pictures: dict[str, Picture], folder: Path) -> str:
    place = None if study.blocks is None else clearest_blocks(study.blocks)
    pairs = study.pairs or ()
    rows = {pair.target.name: row for pair, row in zip(pairs, record.get("dependence", ()), strict=True)}
    listed = record.get("paths", ())
    return render(
        "page.html",
        record=record,
        parts=study.parts,
        trace=record["trace"],
        expert=study.states == "expert",
        noun=noun_of(study.routers),
        unit="token" if study.states == "subset" else "pair of slots",
        by_effect=[rows[pair.target.name] for pair in by_information(pairs)],
        pair_tables={name: pair_table(pairs, name) for name in ("dependence", "parts")},
        clearest=None if place is None else record["biclusters"][place],
        paths={kind: _path_rows(study, listed, kind) for kind in ("dominant", "observed")},
        pictures=pictures,
        maps=transition_maps(pairs, study.states),
        shades=gradient(),
        explained=catalogue.explained(),
        baselines=catalogue.baselines(),
        steps=_steps(study.routers),
        query=_query(study, folder),
        whole_files=[name for name in TABLES if name in tables_of(record)],
        cell_files=[cells_file(item) for item in pairs if item.table.any()],
    )


def pair_table(pairs: Sequence[LayerPair], table: str) -> PairTable:
    """Return a table of the page on pairs of layers, largest information first.

    Parameters
    ----------
    pairs : sequence of LayerPair
    table : {"dependence", "parts"}
    """
    columns = page_columns(table, pairs)
    rows = [(pair, [cell(statistic, pair) for _, statistic in columns]) for pair in by_information(pairs)]
    return PairTable(columns, rows)


def _steps(routers: Sequence[Router]) -> list[Record]:
    """Return the steps of the chain, with the layers and routers that they join."""
    return [
        {
            "source": source.layer,
            "target": target.layer,
            "source_router": source.name,
            "target_router": target.name,
        }
        for source, target in pairwise(routers)
    ]


def _path_rows(study: Study, paths: Sequence[Record], kind: str) -> list[Record]:
    """Return the paths of one kind with `words`, one step per layer."""
    key = "states" if study.states == "subset" else "experts"
    return [
        path
        | {
            "words": [
                path_words(router, study.states, step)
                for router, step in zip(study.routers, path[key], strict=True)
            ]
        }
        for path in paths
        if path["kind"] == kind
    ]


def _query(study: Study, folder: Path) -> str:
    """Return a command that queries the chain of this report; empty if the chain has no steps."""
    if study.chain is None or study.paths is None or len(study.routers) < 2:
        return ""
    observed = study.paths.observed.states
    if not len(observed):
        return ""
    router, first = study.routers[0], observed[0]
    wide = not router.alphabet.is_ranked
    experts = first[: router.top_k].tolist() if wide else router.alphabet.unrank(int(first[0])).tolist()
    options = f"--layer {router.layer} --after {experts_words(experts)}"
    return f"python -m routestat.predict {shlex.quote(str(folder))} {options}"
