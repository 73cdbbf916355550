"""Options of `place`: devices, objectives, files, and what a trace does not show of its model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from routestat.cli.runner import parse_names
from routestat.errors import RoutestatError
from routestat.serving.exports.registry import EXPORTS, Export, export_of
from routestat.serving.placement.placement import OBJECTIVES
from routestat.structure.model_facts import require_fit
from routestat.study.model_facts import read_model_facts
from routestat.study.placement_exports import ModelShape
from routestat.traces.metadata import Router

#: What ``--objective`` may be, and the objectives that it stands for.
CHOICES = {"both": OBJECTIVES} | {name: (name,) for name in OBJECTIVES}
#: Files with a line for every token: written where they are named.
LONG = ("cache-profile",)

NDevices = Annotated[
    int, typer.Option("--devices", min=1, help="Devices that experts are placed on, in all nodes.")
]
NNodes = Annotated[int, typer.Option("--nodes", min=1, help="Nodes of equally many devices.")]
Redundant = Annotated[
    int, typer.Option(min=0, help="Slots of every layer beyond one for each expert: busy experts get a copy.")
]
Objective = Annotated[
    str,
    typer.Option(
        help="balance: equal loads of devices; affinity: tokens stay on their device from layer to layer; both: one "
        "placement for each."
    ),
]
Exports = Annotated[
    str,
    typer.Option(
        "--export",
        help=f"Files to write, separated by commas: {', '.join(export.name for export in EXPORTS)}; all; or auto: "
        f"every one that can be made, except {', '.join(LONG)}, which has a line per token and layer.",
    ),
]
Pin = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="CAPACITY",
        help="Experts of each layer that fast memory holds: also list which to pin.",
    ),
]
HiddenLayers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Layers of the model, dense ones included (if not given: the last one of the trace is its last).",
    ),
]
ModelConfig = Annotated[
    Path | None,
    typer.Option(help="The model's config.json, or its folder: its layers, and which of them have experts."),
]


def chosen_objectives(objective: str) -> tuple[str, ...]:
    """Return the objectives that an option names.

    Raises
    ------
    RoutestatError
        If there is no such objective.
    """
    if objective not in CHOICES:
        raise RoutestatError(f"--objective is balance, affinity or both, got {objective!r}")
    return CHOICES[objective]


def chosen_exports(text: str) -> tuple[Export, ...]:
    """Return the exports that an option names.

    Raises
    ------
    RoutestatError
        If one of them does not exist; lists those that do.
    """
    if text == "all":
        return EXPORTS
    if text == "auto":
        return tuple(export for export in EXPORTS if export.name not in LONG)
    return tuple(export_of(name) for name in parse_names(text) or ("",))


def model_shape(routers: Sequence[Router], hidden_layers: int | None, config: Path | None) -> ModelShape:
    """Return the number of layers of the model, and which have experts, as far as the options say it.

    Raises
    ------
    RoutestatError
        If there are fewer layers than in the trace, or the configuration is of another model or number of layers.
    """
    last = max(router.layer for router in routers)
    facts = None if config is None else read_model_facts(config)
    notes: list[str] = []
    if facts is not None:
        notes += require_fit(facts, routers)
        if hidden_layers not in (None, facts.n_layers):
            raise RoutestatError(
                f"--hidden-layers: expected the {facts.n_layers} layers of --model-config, got {hidden_layers}; "
                "leave one of the options out"
            )
        hidden_layers = facts.n_layers
    if hidden_layers is None:
        hidden_layers = last + 1
        notes.append(
            f"the model is taken to have {hidden_layers} {'layers' if hidden_layers > 1 else 'layer'}, as layer {last} "
            "is the last of the trace; --hidden-layers or --model-config corrects this"
        )
    if hidden_layers <= last:
        raise RoutestatError(
            f"--hidden-layers: expected {last + 1} or more, because the trace has layer {last} (counted from 0), got "
            f"{hidden_layers}"
        )
    return ModelShape(hidden_layers, None if facts is None else facts.moe_layers, tuple(notes))
