"""The page of one trace."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from routestat.forecast import catalogue
from routestat.progress import Tick, silent
from routestat.report.html.drawing import drawn_meanwhile
from routestat.report.html.page import Picture, noun_of, render
from routestat.report.html.prediction import prediction_section
from routestat.report.html.transition_maps import transition_maps
from routestat.report.html.windows import windows_section
from routestat.report.numbers import experts_words
from routestat.report.records.layer_pairs import by_information, page_columns
from routestat.report.records.pair_statistic import Cell, Column, PairStatistic, cell
from routestat.report.records.plain import Record
from routestat.report.records.study import TABLES, cells_file, tables_of, write_results
from routestat.report.records.triples import triple_files
from routestat.report.structure_sentences import structure_answers
from routestat.study.blocks import clearest_blocks
from routestat.study.layer_pairs import LayerPair
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing


@dataclass(frozen=True)
class PairTable:
    """A table of the page: its columns, and each pair with one cell per column."""

    columns: list[tuple[Column, PairStatistic]]
    rows: list[tuple[LayerPair, list[Cell]]]


def write_report(
    study: Study, folder: Path, figures: bool = False, tick: Tick = silent, threads: int | None = 1
) -> Path:
    """Write results.json, tables, pictures, routes.graphml and, last, index.html.

    Parameters
    ----------
    study : Study
    folder : path
        Must exist; files of an earlier report in it are replaced.
    figures : bool
        Draw the transitions also as files; the page has its own pictures of them.
    tick : callable(what, done, total)
    threads : int, optional
        All cores by None. With more than one the pictures are drawn while the tables are written.

    Returns
    -------
    Path
        Of index.html.
    """

    def jobs() -> "Mapping[str, Callable[[], Drawing]]":
        # matplotlib takes half a second to import, and only this draws.
        from routestat.report.figures.study import jobs_of  # noqa: PLC0415

        return jobs_of(study, figures)

    with drawn_meanwhile(jobs, folder / "figures", tick, threads) as drawn:
        record = write_results(study, folder)
        pictures = drawn()
    page = folder / "index.html"
    replace_file(page, _page(study, record, pictures, folder).encode())
    # Not earlier: a page that was here before may show them.
    shown = {picture.file for picture in pictures.values()}
    drawn_before = (
        old
        for kind in ("transition", "bayes", "document")
        for old in (folder / "figures").glob(f"{kind}-*.png")
    )
    for old in list(drawn_before):
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


def _page(study: Study, record: Record, pictures: dict[str, Picture], folder: Path) -> str:
    place = None if study.blocks is None else clearest_blocks(study.blocks)
    pairs = study.pairs or ()
    rows = {pair.target.name: row for pair, row in zip(pairs, record.get("dependence", ()), strict=True)}
    listed = record.get("paths", ())
    prediction = prediction_section(record)
    return render(
        "page.html",
        script="prediction.js" if prediction and prediction.picture else "",
        record=record,
        parts=study.parts,
        trace=record["trace"],
        expert=study.states == "expert",
        noun=noun_of(study.routers),
        unit="token" if study.states == "subset" else "pair of slots",
        by_effect=[rows[pair.target.name] for pair in by_information(pairs)],
        pair_tables={name: pair_table(pairs, name) for name in ("dependence", "parts")},
        clearest=None if place is None else record["biclusters"][place],
        paths={kind: _path_rows(study, listed, kind) for kind in ("dominant", "observed", "frequent")},
        structure=structure_answers(study),
        windows=windows_section(record, study.routers, study.states),
        pictures=pictures,
        maps=transition_maps(pairs, study.states),
        explained=catalogue.explained(),
        prediction=prediction,
        steps=_steps(study.routers),
        query=_query(study, folder),
        whole_files=[name for name in TABLES if name in tables_of(record)],
        triple_files=[name for item in study.triples or () for name in triple_files(item)],
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
