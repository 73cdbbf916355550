"""python -m routestat.place TRACE: which expert on which device, as files that engines load."""

import sys
from dataclasses import replace

import numpy as np

from routestat.cli import options, placement_options
from routestat.cli.output_folders import checked_out, keep_traces_apart, named_folder
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, parse_layers, require_tokens, run
from routestat.counting.document_sample import take_sample
from routestat.progress import limited_threads
from routestat.report.html.placement import write_placement
from routestat.report.terminal.placement import summarise
from routestat.serving.placement.placement import Devices
from routestat.serving.steps import make_steps
from routestat.study.placement import PlacementPlan, place_experts
from routestat.study.placement_exports import export_files
from routestat.traces.store import Trace

app = new_app()


@app.command()
def place(
    trace: options.TraceFolder,
    devices: placement_options.NDevices,
    nodes: placement_options.NNodes = 1,
    redundant: placement_options.Redundant = 0,
    objective: placement_options.Objective = "both",
    layers: options.Layers = "all",
    export: placement_options.Exports = "auto",
    pin: placement_options.Pin = None,
    hidden_layers: placement_options.HiddenLayers = None,
    model_config: placement_options.ModelConfig = None,
    out: options.ServingFolder = None,
    groups: options.Groups = 256,
    threads: options.Threads = None,
    cluster: options.Cluster = None,
    template: options.Template = "once",
    drop_dummy_rows: options.DummyRows = False,
    seed: options.Seed = 0,
) -> None:
    """Place experts on devices, and write the placements and pin lists as files that engines load.

    What a placement gains is measured on documents that it was not made from, against the engines' default order.

    Example: python -m routestat.place data/traces/tiny-mixtral --devices 4
    """
    wanted, exports = parse_layers(layers), placement_options.chosen_exports(export)
    objectives = placement_options.chosen_objectives(objective)
    on = Devices(devices, nodes, redundant)
    with ProgressBars() as ticker, limited_threads(threads):
        opened = Trace.open(
            trace,
            progress=ticker.of("checking"),
            cluster=cluster,
            template=template,
            dummy_rows="drop" if drop_dummy_rows else "keep",
        )
        require_tokens(opened, wanted)
        routers = opened.routers(wanted)
        for router in routers:
            on.slots(router.n_experts)
        shape = placement_options.model_shape(opened.meta.routers, hidden_layers, model_config)
        folder = out or named_folder("place", trace.resolve().name)
        keep_traces_apart(folder)
        plan = PlacementPlan(
            on,
            objectives,
            None if wanted is None else tuple(wanted),
            pin,
            groups,
            threads=threads,
            options={
                "trace": str(trace), "devices": devices, "nodes": nodes, "redundant": redundant,
                "objective": objective, "layers": layers, "export": export, "pin": pin,
                "hidden_layers": shape.n_hidden_layers, "groups": groups, "cluster": cluster, "template": template,
                "drop_dummy_rows": drop_dummy_rows, "seed": seed,
            },
        )  # fmt: skip
        with checked_out(folder):
            findings = place_experts(opened, plan, np.random.default_rng(seed), ticker)
            # On one device there is no choice, but what to pin is.
            results = findings.results if devices > 1 else ()
            steps, note = None, ""
            if any(one.needs == "steps" for one in exports):
                sample = take_sample(opened, wanted, groups, progress=ticker.of("reading tokens"))
                steps = make_steps(sample, routers)
                note = f"the profile of tokens is {sample.note}" if sample.note else ""
            notes = (*findings.notes, *shape.notes, *([note] if note else []))
            findings = replace(findings, results=results, notes=notes)
            page, record = write_placement(
                findings, export_files(findings, exports, shape, steps), folder, ticker
            )
    summarise(record, page)


def main() -> None:
    """Entry of ``python -m routestat.place``."""
    sys.exit(run(app, "routestat place"))


if __name__ == "__main__":
    main()
