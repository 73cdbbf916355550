"""The files that engines load, made of what `place` found, and why one could not be made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from routestat.errors import RoutestatError
from routestat.serving.exports.exported import Exported
from routestat.serving.exports.registry import Export, usage_of
from routestat.serving.placement.placement import Placement
from routestat.serving.steps import Steps
from routestat.study.placement_findings import PlacementFindings

#: Folders of files that hold no placement, by the part of the findings that they need.
FOLDERS = {"loads": "loads", "steps": "tokens", "pinned": "pins", "fast_layers": "pins"}
_WITHOUT_PINS = "expected the number of experts that fit, got none; name it by --pin"
_WITHOUT_PLACEMENT = "expected two devices or more to place experts on, got 1"


@dataclass(frozen=True)
class ModelShape:
    """What a trace does not show of its model.

    Attributes
    ----------
    n_hidden_layers : int
        Dense layers included.
    moe_layers : tuple of int, optional
        The layers with experts; None where this is not known.
    notes : tuple of str
        What was assumed, and where the trace and the configuration differ.
    """

    n_hidden_layers: int
    moe_layers: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ExportedFiles:
    """The files of one export.

    Attributes
    ----------
    export : Export
    objective : str
        Of the placement, empty where the file holds none.
    files : mapping of str to bytes
        Content by path in the folder of the report; empty with a `reason`.
    usage : str
        What to type so that the engine reads the first file.
    notes : tuple of str
    reason : str
        Why there are no files, or empty.
    """

    export: Export
    objective: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    usage: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""


def export_files(
    findings: PlacementFindings, exports: Sequence[Export], shape: ModelShape, steps: Steps | None = None
) -> tuple[ExportedFiles, ...]:
    """Make the files of every export: of each objective, or once where they hold no placement.

    Parameters
    ----------
    findings : PlacementFindings
    exports : sequence of Export
    shape : ModelShape
    steps : Steps, optional
        The tokens, for files that list them.

    Returns
    -------
    tuple of ExportedFiles
        What cannot be made has a reason instead of files.
    """
    return tuple(item for export in exports for item in _of_export(findings, export, shape, steps))


def _of_export(
    findings: PlacementFindings, export: Export, shape: ModelShape, steps: Steps | None
) -> Iterator[ExportedFiles]:
    if export.needs != "placement":
        yield _made(findings, export, "", shape, steps=steps)
    elif not findings.results:
        yield ExportedFiles(export, "", reason=_WITHOUT_PLACEMENT)
    else:
        for result in findings.results:
            yield _made(findings, export, result.objective, shape, placement=result.placement)


def _made(
    findings: PlacementFindings,
    export: Export,
    objective: str,
    shape: ModelShape,
    *,
    placement: Placement | None = None,
    steps: Steps | None = None,
) -> ExportedFiles:
    pins = findings.pins
    if pins is None and export.needs in ("pinned", "fast_layers"):
        return ExportedFiles(export, objective, reason=_WITHOUT_PINS)
    try:
        exported = Exported(
            findings.routers,
            shape.n_hidden_layers,
            findings.loads,
            placement,
            None if pins is None else pins.experts,
            fast_layers(findings),
            shape.moe_layers,
            steps,
        )
        files, notes = export.files(exported), export.notes(exported)
    except RoutestatError as error:
        return ExportedFiles(export, objective, reason=str(error))
    folder = objective or FOLDERS[export.needs]
    paths = {f"{folder}/{name}": content for name, content in files.items()}
    return ExportedFiles(export, objective, paths, usage_of(export, next(iter(paths)), placement), notes)


def fast_layers(findings: PlacementFindings) -> tuple[int, ...]:
    """Return the layers whose experts fit whole into the memory that the pins take, the most even loads first.

    All layers need equally many experts per token. Where a few experts have most of the load, those few are what the
    caches of slower memory hold, so these layers are the ones to leave there.
    """
    if findings.pins is None:
        return ()
    memory = sum(map(len, findings.pins.experts))
    sizes: dict[int, int] = {}
    covered: dict[int, float] = {}
    for router, load, experts in zip(findings.routers, findings.loads, findings.pins.experts, strict=True):
        share = np.sort(load)[::-1][: len(experts)].sum() / max(int(load.sum()), 1)
        sizes[router.layer] = sizes.get(router.layer, 0) + router.n_experts
        covered[router.layer] = max(covered.get(router.layer, 0.0), float(share))
    kept = []
    for layer in sorted(covered, key=lambda layer: (covered[layer], layer)):
        if sizes[layer] <= memory:
            kept.append(layer)
            memory -= sizes[layer]
    return tuple(sorted(kept))
