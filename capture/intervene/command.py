"""The command ``python -m capture.intervene``: force a choice at one layer and measure its effect on later ones."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from capture.command_line import run_command, with_settings
from capture.forward import Runner
from capture.inputs import RunInputs, prepare_inputs
from capture.intervene.effects import TreatmentEffect, treatment_effects
from capture.intervene.forcing import WEIGHT_VARIANTS, Intervention
from capture.intervene.records import write_effects
from capture.intervene.stored_run import StoredRun, read_run
from capture.intervene.terminal import print_effects
from capture.intervene.treatment import Treatment, parse_treatments
from capture.loop import record_documents
from capture.positions import Layout
from capture.provenance import fixed_options, trace_meta
from capture.routers import RouterSite
from capture.settings import RecordSettings, RunSettings
from capture.store import RUN_FILE, CaptureStore, refuse_taken
from routestat.cli.options import Seed, TopRows
from routestat.cli.output_folders import check_out, keep_traces_apart
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router
from routestat.traces.number_ranges import span

app = new_app()
OBSERVED = "observed"


@app.command()
@with_settings
def intervene(
    run: RunSettings,
    layer: Annotated[int, typer.Option(min=0, help="Layer whose choice is forced.")],
    do: Annotated[
        list[str] | None,
        typer.Option(
            help="Choice that every token is forced to: a state (12), its experts (1+7), natural, or random (each "
            "token its own random subset). Several values may follow."
        ),
    ] = None,
    weights_of: Annotated[
        str,
        typer.Option(
            help="Weights of forced experts: renorm (the router's own rule), uniform, or slot (the natural "
            "weights, the largest for the expert with the highest score)."
        ),
    ] = "renorm",
    horizon: Annotated[int, typer.Option(min=1, help="Number of later MoE layers to compare.")] = 1,
    top: TopRows = 5,
    seed: Seed = 0,
) -> None:
    """Force a layer's choice for every token of some documents; P(next | do) beside P(next | observed).

    Example: python -m capture.intervene data/tiny-mixtral --layer 5 --do 12 --text README.md --window 255 --out do
    """
    if weights_of not in WEIGHT_VARIANTS:
        raise RoutestatError(f"--weights-of is {', '.join(WEIGHT_VARIANTS)}, got {weights_of!r}")
    run.check()
    out = run.out
    keep_traces_apart(out)
    check_out(out)
    # What earlier runs forced stays in the results.
    words = [*(do or ()), *(_forced_before(out) if run.resume else ())]
    # Examined before the weights are read: a wrong layer must not cost the loading of a large model.
    inputs = prepare_inputs(run, examine=lambda sites: _plan(sites, layer, words, seed, horizon))
    source, targets, treatments = _plan(inputs.loaded.sites, layer, words, seed, horizon)
    for name in (OBSERVED, *map(_store_name, treatments)):
        refuse_taken(out / name, run.resume)
    intervention = Intervention(inputs.loaded.model, source, weights_of)
    _record(inputs, out / OBSERVED, None, f"1 of {len(treatments) + 1}: natural")
    for number, treatment in enumerate(treatments, start=2):
        title = f"{number} of {len(treatments) + 1}: {treatment.description}"
        _record(inputs, out / _store_name(treatment), (treatment, intervention), title)
    natural, effects = _measure(out, [site.as_router for site in (source, *targets)], treatments)
    write_effects(out, effects, natural, weights_of)
    print_effects(effects, natural, weights_of, top, out)


def _store_name(treatment: Treatment) -> str:
    return f"do-{treatment.name}"


def _forced_before(out: Path) -> list[str]:
    """Return the treatments whose traces a folder has."""
    return [
        store.name.removeprefix("do-") for store in sorted(out.glob("do-*")) if (store / RUN_FILE).exists()
    ]


def _plan(
    sites: Sequence[RouterSite], layer: int, words: Sequence[str], seed: int, horizon: int
) -> tuple[RouterSite, tuple[RouterSite, ...], tuple[Treatment, ...]]:
    """Return the router to force, the routers after it, and the treatments; refuse what the routers do not allow."""
    here = [site for site in sites if site.layer == layer]
    if not here:
        layers = span([site.layer for site in sites])
        raise RoutestatError(f"--layer {layer} has no router: the MoE layers are {layers}")
    if len(here) > 1:
        names = ", ".join(site.module for site in here)
        raise RoutestatError(
            f"--layer {layer} has {len(here)} routers ({names}); such a layer cannot be forced"
        )
    after = tuple(site for site in sites if site.layer > layer)
    if not after:
        raise RoutestatError(f"--layer {layer} is the last MoE layer: no choice follows it")
    if horizon > len(after):
        raise RoutestatError(f"--horizon {horizon}: only {len(after)} MoE layers follow layer {layer}")
    return here[0], after[:horizon], parse_treatments(words, here[0].as_router, seed)


def _record(inputs: RunInputs, out: Path, forced: tuple[Treatment, Intervention] | None, title: str) -> None:
    """Run all documents into a trace of their own, with a forced choice or without."""
    print(f"run {title}", file=sys.stderr)
    loaded = inputs.loaded
    facts: dict[str, Any] = {}
    runner = Runner(loaded.model, loaded.sites, loaded.pad)
    if forced is not None:
        treatment, intervention = forced
        facts = {"layer": treatment.router.layer, **treatment.record, "weights_of": intervention.variant}
        runner.forcing = partial(_forcing, treatment, intervention)
    # Documents are prefilled and the choices alone are recorded, whatever the seed of the random subsets.
    run, record = replace(inputs.settings, out=out), RecordSettings()
    store = CaptureStore(
        out,
        trace_meta(run, record, loaded, facts),
        fixed_options(run, record, inputs.texts, facts),
        resume=run.resume,
    )
    record_documents(inputs, runner, store)


def _forcing(
    treatment: Treatment, intervention: Intervention, layout: Layout
) -> AbstractContextManager[None]:
    return intervention.forcing(treatment.subsets(layout))


def _measure(
    out: Path, routers: Sequence[Router], treatments: Sequence[Treatment]
) -> tuple[StoredRun, list[TreatmentEffect]]:
    """Return the natural run and the effect of every treatment on every router after the first."""
    with ProgressBars() as bars:
        natural = read_run(out / OBSERVED, routers, bars.of("checking"))
        effects: list[TreatmentEffect] = []
        for treatment in treatments:
            forced = read_run(
                out / _store_name(treatment), routers, bars.of(f"checking do({treatment.name})")
            )
            for steps, target in enumerate(routers[1:], start=1):
                progress = bars.of(f"do({treatment.name}), {target.name}")
                effects += treatment_effects(natural, forced, treatment, target, steps, progress)
    return natural, effects


def main() -> None:
    """Run the command on the arguments of the process."""
    run_command(app, "capture.intervene")
