"""The command: force a choice at one layer, record what follows, and set it beside what was observed."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from capture import options
from capture.command import serve
from capture.forward import Runner
from capture.inputs import RunInputs, prepare_inputs
from capture.intervene.effects import read_run, treatment_effects
from capture.intervene.forcing import VARIANTS, Intervention
from capture.intervene.records import write
from capture.intervene.terminal import show
from capture.intervene.treatment import Treatment, parse_treatments
from capture.loop import CaptureLoop
from capture.positions import Layout
from capture.routers import RouterSite
from capture.settings import Asked
from capture.store import RUN_FILE, CaptureStore, refuse_taken
from routestat.cli.output_folders import check_out, keep_traces_apart
from routestat.cli.progress_bars import ProgressBars
from routestat.errors import RoutestatError
from routestat.traces.number_ranges import span

app = typer.Typer(add_completion=False)
OBSERVED = "observed"


@app.command()
def intervene(
    model: options.Model,
    layer: Annotated[int, typer.Option(min=0, help="The layer whose choice is forced.")],
    out: Annotated[Path, typer.Option(help="Folder of the stores and of intervene.json.")],
    do: Annotated[
        list[str] | None,
        typer.Option(
            help="What every token is forced to: a state (12), its experts (1+7), natural, or random: a subset "
            "of its own, drawn blindly. Several in a row."
        ),
    ] = None,
    weights_of: Annotated[
        str,
        typer.Option(
            help="Weights of forced experts: renorm (the router's own rule), uniform, or slot (the natural "
            "weights, the heaviest for the expert it likes best)."
        ),
    ] = "renorm",
    horizon: Annotated[int, typer.Option(min=1, help="How many MoE layers on to look.")] = 1,
    top: Annotated[int, typer.Option(min=1, help="How many rows of a table to print.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of --do random.")] = 0,
    text: options.Texts = None,
    dataset: options.Dataset = "",
    column: options.Column = "text",
    split: options.Split = "",
    dataset_config: options.DatasetConfig = "",
    limit: options.Limit = 0,
    chat_template: options.ChatTemplate = False,
    max_length: options.MaxLength = 0,
    window: options.Window = 0,
    batch_size: options.BatchSize = 8,
    dtype: options.Dtype = "auto",
    device_map: options.DeviceMap = "",
    load_in_4bit: options.In4Bit = False,
    experts: options.Experts = "",
    revision: options.Revision = "",
    trust_remote_code: options.TrustRemoteCode = False,
    threads: options.Threads = 0,
    save_every: options.SaveEvery = 60.0,
    resume: options.Resume = False,
) -> None:
    """Force a layer's choice for every token of some documents; P(next | do) beside P(next | observed).

    Example: python -m capture.intervene data/tiny-mixtral --layer 5 --do 12 --text README.md --window 255 --out do
    """
    given = dict(locals())
    if weights_of not in VARIANTS:
        raise RoutestatError(f"--weights-of is {', '.join(VARIANTS)}, got {weights_of!r}")
    shared = {name: value for name, value in given.items() if name in Asked.__dataclass_fields__}
    # The seed is the random subsets' own; the observed run must not depend on it.
    asked = Asked(**{**_PREFILL, **shared, "seed": 0})
    asked.check()
    keep_traces_apart(out)
    check_out(out)
    # What earlier runs forced stays in the results.
    words = [*(do or ()), *(_forced(out) if resume else ())]
    # Before the weights are read: the wrong layer shall not cost the loading of a large model.
    prepared = prepare_inputs(asked, lambda sites: _plan(sites, layer, words, seed, horizon))
    source, targets, treatments = _plan(prepared.loaded.sites, layer, words, seed, horizon)
    for name in (OBSERVED, *(f"do-{treatment.name}" for treatment in treatments)):
        refuse_taken(out / name, resume)
    intervention = Intervention(prepared.loaded.model, source, weights_of)
    _run(prepared, out / OBSERVED, None, f"1 of {len(treatments) + 1}: natural")
    for number, treatment in enumerate(treatments, start=2):
        words_of_run = f"{number} of {len(treatments) + 1}: {treatment.words}"
        _run(prepared, out / f"do-{treatment.name}", (treatment, intervention), words_of_run)
    routers = [site.as_router for site in (source, *targets)]
    with ProgressBars() as ticker:
        natural = read_run(out / OBSERVED, routers, ticker.of("checking"))
        followed = []
        for treatment in treatments:
            store = out / f"do-{treatment.name}"
            forced = read_run(store, routers, ticker.of(f"checking do({treatment.name})"))
            for steps, target in enumerate(routers[1:], start=1):
                progress = ticker.of(f"do({treatment.name}), {target.name}")
                followed += treatment_effects(natural, forced, treatment, target, steps, progress)
    write(out, followed, natural, weights_of)
    show(followed, natural, weights_of, top, out)


def _forced(out: Path) -> list[str]:
    """What a folder's stores were forced to."""
    return [
        store.name.removeprefix("do-") for store in sorted(out.glob("do-*")) if (store / RUN_FILE).exists()
    ]


# What `Asked` knows beyond this command: documents are prefilled, and only the choices are recorded.
_PREFILL: dict[str, object] = {
    "max_new_tokens": 0,
    "num_beams": 1,
    "prompt_lookup": 0,
    "compiled": False,
    "sample": False,
    "top1": False,
    "weights": False,
    "lookahead": "",
    "lookahead_variant": "residual",
}


def _plan(
    sites: Sequence[RouterSite], layer: int, words: Sequence[str], seed: int, horizon: int
) -> tuple[RouterSite, tuple[RouterSite, ...], tuple[Treatment, ...]]:
    """The router to force, those that follow it, and what to force; all that can be refused from the routers alone."""
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


def _run(prepared: RunInputs, store: Path, forced: tuple[Treatment, Intervention] | None, words: str) -> None:
    """One run over all documents into a store of its own."""
    print(f"run {words}", file=sys.stderr)
    loaded, said = prepared.loaded, {}
    runner = Runner(loaded.model, loaded.sites, loaded.pad)
    if forced is not None:
        treatment, intervention = forced
        said = {"layer": treatment.router.layer, **treatment.record, "weights_of": intervention.variant}
        runner.forcing = partial(_forcing, treatment, intervention)
    asked = replace(prepared.asked, out=store, intervention=said)
    output = CaptureStore(store, asked.meta(loaded), asked.options(prepared.texts), resume=asked.resume)
    left = prepared.left(len(output.done))
    try:
        CaptureLoop(runner, output, prepared.encoder, asked.batch_size, asked.save_every, left).run(
            prepared.documents()
        )
    except KeyboardInterrupt:
        kept = f"{len(output.done):,} documents are kept in {store}"
        print(f"note: {kept}; go on with --resume", file=sys.stderr)
        raise


def _forcing(
    treatment: Treatment, intervention: Intervention, layout: Layout
) -> AbstractContextManager[None]:
    return intervention.forcing(treatment.subsets(layout))


def main() -> None:
    """Entry of ``python -m capture.intervene``."""
    serve(app, "capture.intervene")
