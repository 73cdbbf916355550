"""All pictures of the page of one trace, by the names that it knows them by."""

from collections.abc import Callable, Sequence

from routestat.forecast import catalogue
from routestat.report.figures import bayes as bayes_figures
from routestat.report.figures import blocks as block_figures
from routestat.report.figures import board as board_figure
from routestat.report.figures import documents as document_figures
from routestat.report.figures import heatmaps
from routestat.report.figures import layers as layer_figures
from routestat.report.figures import level_checks as level_check_figures
from routestat.report.figures import memory as memory_figures
from routestat.report.figures import modules as module_figures
from routestat.report.figures import routes as route_figure
from routestat.report.figures import specialisation as specialisation_figure
from routestat.report.figures import triples as triple_figure
from routestat.report.figures import windows as window_figure
from routestat.report.figures.style import Drawing
from routestat.study.blocks import BlockFinding, clearest_blocks
from routestat.study.layers import LayerLoad
from routestat.study.modules import ModuleFindings
from routestat.study.trace_study import Study

PANELS = (
    ("exact_set", "exact set"),
    ("recall_at_k", "recall@k"),
    ("top1_hit", "top-1 hit"),
    ("log_loss_bits", "log loss, bits (less is better)"),
)


def jobs_of(study: Study, transitions: bool) -> dict[str, Callable[[], Drawing]]:
    """Return what draws each picture of the parts of a study, and each of its transitions where these are wanted."""
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
        jobs["block_numbers"] = lambda: block_figures.gains(found, study.states)
    if (graph := study.graph) is not None:
        jobs["routes"] = lambda: route_figure.routes(graph)
    if (triples := study.triples) is not None:
        jobs["triples"] = lambda: triple_figure.triples(triples, study.states)
    if (modules := study.modules) is not None:
        jobs |= _jobs_of_modules(modules, study.loads)
    if (special := study.specialisation) is not None:
        jobs["specialisation"] = lambda: specialisation_figure.specialisation(special, study.states)
    if (windows := study.windows) is not None:
        jobs["windows"] = lambda: window_figure.windows(windows)
    if study.bayes is not None:
        for name, drawn in bayes_figures.all_pictures(study.bayes).items():
            jobs[name] = lambda drawn=drawn: drawn  # type: ignore[misc]
    for item in (study.pairs or ()) if transitions else ():
        name = f"transition-{item.source.layer}-{item.target.layer}"
        jobs[name] = lambda item=item: heatmaps.joint_and_conditional(item, study.states)  # type: ignore[misc]
    return jobs


def _jobs_of_modules(found: ModuleFindings, loads: Sequence[LayerLoad]) -> dict[str, Callable[[], Drawing]]:
    jobs: dict[str, Callable[[], Drawing]] = {"expert_use": lambda: module_figures.expert_use(loads)}
    if (shared := found.shared) is not None:
        jobs["deployment"] = lambda: module_figures.deployment(shared, loads)
        jobs["module_pairs"] = lambda: module_figures.module_pairs(shared)
    if (identity := found.identity) is not None:
        jobs["identity"] = lambda: module_figures.identity(identity)
    for view in found.documents:
        jobs |= document_figures.pages(view)
    return jobs


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
        reasons = dict.fromkeys(item.found.number.reason for item in found)
        return "No transition has blocks to show" + "".join(f"; {why}" for why in reasons if why) + "."
    return block_figures.matrices(found[place], study.states)
