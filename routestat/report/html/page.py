"""index.html: the findings as a page that needs nothing but its own folder, and runs no script.

What the page says is in the templates; here are the numbers' dress, the pictures and the writing.
"""

import base64
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from routestat.forecast import catalogue
from routestat.report.cautions import NONE as MISSING
from routestat.report.cautions import Cautions
from routestat.report.figures import bayes as bayes_figures
from routestat.report.figures import calibration as calibration_figures
from routestat.report.figures import memory as memory_figures
from routestat.report.figures import study as figures
from routestat.report.figures import style as canvas
from routestat.report.records.study import Record, write_results
from routestat.structure.route_graph import graphml
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file
from routestat.traces.metadata import Router
from routestat.traces.number_ranges import span

PANELS = (
    ("exact_set", "exact set"),
    ("recall_at_k", "recall@k"),
    ("top1_hit", "top-1 hit"),
    ("log_loss_bits", "log loss, bits (less is better)"),
)
WHOLE_FILES = (
    "layers", "dependence", "order", "contexts", "horizons", "map", "coactivation", "enough", "prediction", "paths",
    "biclusters",
)  # fmt: skip
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Picture:
    """A PNG of the report and its size in CSS pixels, or the reason why there is none."""

    file: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def write_report(
    study: Study, folder: Path, tick: Callable[[str, int, int], None] = lambda what, done, total: None
) -> Path:
    """Write results.json, tables, pictures, routes.graphml and, last, index.html.

    Parameters
    ----------
    study : Study
    folder : path
        Must exist; files of an earlier report in it are replaced.
    tick : callable(what, done, in_all)

    Returns
    -------
    Path
        Of index.html.
    """
    record = write_results(study, folder)
    replace_file(folder / "routes.graphml", graphml(study.paths.graph).encode())
    pictures = _draw(study, folder / "figures", tick)
    page = folder / "index.html"
    replace_file(page, _page(study, record, pictures, folder).encode())
    # Only now: the page that was here before may have shown them.
    shown = {picture.file for picture in pictures.values()}
    for old in [*(folder / "figures").glob("transition-*.png"), *(folder / "figures").glob("bayes-*.png")]:
        if f"figures/{old.name}" not in shown:
            old.unlink()
    return page


def number(value: float | int | None, digits: int = 3) -> str:
    """A number for people: so many significant digits, thousands apart, no e-notation; – where undefined."""
    if value is None or value != value:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    # Rounded first: 999.7 has four digits once three of them are kept.
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0:
        text = "0"
    elif 1e-4 <= abs(rounded) < 10**digits:
        text = f"{rounded:#.{digits}g}".rstrip(".")
    elif 10**digits <= abs(rounded) < 1e15:
        text = f"{value:,.0f}"
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return text.replace("-", "−")


def path_words(router: Router, states: str, step: int | Sequence[int]) -> str:
    """One step of a path as experts: of a state its subset, of an expert itself, of k experts all."""
    if isinstance(step, int):
        experts = [step] if states == "expert" else router.alphabet.unrank(step).tolist()
    else:
        experts = list(step)
    return ",".join(map(str, experts))


def _draw(study: Study, folder: Path, tick: Callable[[str, int, int], None]) -> dict[str, Picture]:
    """All pictures by name; one at a time, because a figure holds far more memory than its file."""
    folder.mkdir(exist_ok=True)
    layers = [router.layer for router in study.routers]
    jobs: dict[str, Callable[[], canvas.Drawing]] = {
        "load": lambda: figures.load(study.loads),
        "information": lambda: figures.information(study.dependence, study.loads, study.states),
        "map": lambda: (
            figures.layer_map(study.breadth.map, study.states)
            if study.breadth.map is not None
            else f"No map: {study.breadth.map_reason}."
        ),
        "calibration": lambda: calibration_figures.p_histograms(study.calibration.families),
        "contexts": lambda: memory_figures.contexts(study.memory),
        "horizons": lambda: memory_figures.horizons(study.memory),
        "board": lambda: figures.board(study.mean_board, PANELS, catalogue.baselines()),
        "blocks": lambda: _draw_blocks(study),
        "routes": lambda: figures.routes(study.paths.graph, layers, study.paths.dominant),
    }
    if study.bayes is not None:
        for name, drawn in bayes_figures.all_pictures(study.bayes).items():
            jobs[name] = lambda drawn=drawn: drawn  # type: ignore[misc]
    for item in study.dependence:
        name = f"transition-{item.source.layer}-{item.target.layer}"
        jobs[name] = lambda item=item: figures.joint_and_conditional(item, study.states)  # type: ignore[misc]
    return draw_all(jobs, folder, tick)


def draw_all(
    jobs: Mapping[str, Callable[[], canvas.Drawing]], folder: Path, tick: Callable[[str, int, int], None]
) -> dict[str, Picture]:
    """Draw and save every picture of a page; one at a time."""
    pictures = {}
    for done, (name, job) in enumerate(jobs.items()):
        tick("drawing figures", done, len(jobs))
        drawn = job()
        if isinstance(drawn, str):
            pictures[name] = Picture(reason=drawn)
        else:
            width, height = canvas.save(drawn, folder / f"{name}.png")
            pictures[name] = Picture(f"figures/{name}.png", width, height)
    tick("drawing figures", len(jobs), len(jobs))
    return pictures


def clearest_blocks(biclusters: Sequence[Record]) -> int | None:
    """Which transition's blocks explain most beyond what noise's explain; None if none has any."""
    beyond = {
        place: item["share_of_mi"] - item["share_of_mi_noise"]
        for place, item in enumerate(biclusters)
        if item["share_of_mi"] is not None and item["share_of_mi_noise"] is not None
    }
    return max(beyond, key=lambda place: beyond[place]) if beyond else None


def _draw_blocks(study: Study) -> canvas.Drawing:
    shares = [
        {"share_of_mi": b.blocks.share_of_mi, "share_of_mi_noise": b.null.mean_share} for b in study.blocks
    ]
    known = [{key: None if value != value else value for key, value in share.items()} for share in shares]
    place = clearest_blocks(known)
    if place is None:
        reasons = dict.fromkeys(b.blocks.reason or b.null.reason for b in study.blocks)
        return "No transition has blocks to show" + "".join(f"; {why}" for why in reasons if why) + "."
    return figures.blocks(study.blocks[place], study.dependence[place], study.states)


def page_environment() -> Environment:
    """The templates, with the numbers' dress; text is escaped."""
    environment = Environment(
        loader=PackageLoader("routestat.report.html", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    environment.globals["Cautions"] = Cautions
    environment.filters |= {"number": number, "num": _data, "span": span, "reasons": _reasons}
    return environment


def _page(study: Study, record: Record, pictures: dict[str, Picture], folder: Path) -> str:
    environment = page_environment()
    style = environment.get_template("style.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    place = clearest_blocks(record["biclusters"])
    return environment.get_template("page.html").render(
        record=record,
        trace=record["trace"],
        expert=study.states == "expert",
        noun=_noun(study.routers),
        unit="token" if study.states == "subset" else "pair of slots",
        by_effect=_by_effect(record["dependence"]),
        clearest=None if place is None else record["biclusters"][place],
        paths={kind: _path_rows(study, record["paths"], kind) for kind in ("dominant", "observed")},
        pictures=pictures,
        explained=catalogue.explained(),
        baselines=catalogue.baselines(),
        ask=_question(study, folder),
        whole_files=WHOLE_FILES,
        cell_files=[f"transition-{item.source.name}-{item.target.name}" for item in study.dependence],
        style=Markup(style),  # ours, from the package: nothing of the trace is in it
        style_hash=digest,
    )


def _data(value: float | int | None, digits: int = 3) -> Markup:
    """A number as shown, with the exact one of results.json beside it for machines."""
    if value is None:
        return Markup('<span class="none">{}</span>').format(MISSING)
    return Markup('<data value="{}">{}</data>').format(repr(value), number(value, digits))


def _reasons(rows: Iterable[Record]) -> list[str]:
    """Why cells of these rows are –, each reason once."""
    return list(dict.fromkeys(row["reason"] for row in rows if row.get("reason")))


def _by_effect(rows: Sequence[Record]) -> list[Record]:
    """Largest information first, undefined last."""
    return sorted(rows, key=lambda row: -row["mi_bits"] if row["mi_bits"] is not None else float("inf"))


def _noun(routers: Sequence[Router]) -> str:
    """What a token gets at a router: a pair when k = 2 everywhere."""
    sizes = {router.top_k for router in routers}
    return "pair" if sizes == {2} else "expert" if sizes == {1} else "subset"


def _path_rows(study: Study, paths: Sequence[Record], kind: str) -> list[Record]:
    """Paths of one kind with `words`, a step per layer."""
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


def _question(study: Study, folder: Path) -> str:
    """A command that asks this report's chain; empty where it has no answer to give."""
    observed = study.paths.observed.states
    if len(study.routers) < 2 or not len(observed):
        return ""
    router, first = study.routers[0], observed[0]
    wide = not router.alphabet.is_ranked
    experts = first[: router.top_k].tolist() if wide else router.alphabet.unrank(int(first[0])).tolist()
    after = ",".join(map(str, experts))
    return f"python -m routestat.predict {shlex.quote(str(folder))} --layer {router.layer} --after {after}"
