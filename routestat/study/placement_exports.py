"""The files of every engine that fits to what `place` found, and why one could not be made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from routestat.errors import RoutestatError
from routestat.serving.exports.registry import Export, Exported
from routestat.serving.placement.placement import Placement
from routestat.study.placement_findings import PlacementFindings


@dataclass(frozen=True)
class ModelShape:
    """What a trace does not show of its model.

    Attributes
    ----------
    n_hidden_layers : int
        Dense layers included.
    """

    n_hidden_layers: int


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
    command : str
        How an engine is given them; empty where it is not a command.
    notes : tuple of str
    reason : str
        Why there are no files, or empty.
    """

    export: Export
    objective: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    command: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""


def export_files(
    findings: PlacementFindings, exports: Sequence[Export], shape: ModelShape
) -> tuple[ExportedFiles, ...]:
    """Make the files of every export: of each objective, or once where they hold no placement.

    Parameters
    ----------
    findings : PlacementFindings
    exports : sequence of Export
    shape : ModelShape
    """
    return tuple(item for export in exports for item in _of_export(findings, export, shape))


def _of_export(
    findings: PlacementFindings, export: Export, shape: ModelShape
) -> Iterator[ExportedFiles]:
    if export.needs != "placement":
        yield _made(export, "", _exported(findings, shape, None))
        return
    for result in findings.results:
        yield _made(export, result.objective, _exported(findings, shape, result.placement))


def _exported(findings: PlacementFindings, shape: ModelShape, placement: Placement | None) -> Exported:
    pinned = tuple(item.experts for item in findings.pins) or None
    return Exported(
        findings.routers,
        shape.n_hidden_layers,
        findings.loads,
        placement,
        pinned,
        _fast_layers(findings),
    )


def _fast_layers(findings: PlacementFindings) -> tuple[int, ...]:
    """Layers whose experts fit whole into the memory that the pins take, those with the most even loads first.

    All layers need equally many experts per token; where a few experts have most of the load, the others are best
    left to slower memory.
    """
    if not findings.pins:
        return ()
    slots = sum(len(item.experts) for item in findings.pins)
    covered = [
        np.sort(load)[::-1][: len(item.experts)].sum() / max(int(load.sum()), 1)
        for load, item in zip(findings.loads, findings.pins, strict=True)
    ]
    kept = []
    for place in np.argsort(covered, kind="stable").tolist():
        router = findings.routers[place]
        if router.n_experts <= slots:
            kept.append(router.layer)
            slots -= router.n_experts
    return tuple(sorted(kept))


def _made(export: Export, objective: str, exported: Exported) -> ExportedFiles:
    try:
        files = export.files(exported)
    except RoutestatError as error:
        return ExportedFiles(export, objective, reason=str(error))
    paths = {f"{objective}/{name}" if objective else name: content for name, content in files.items()}
    command = export.command.format(file=next(iter(paths), ""), devices=_devices(exported))
    return ExportedFiles(export, objective, paths, command)


def _devices(exported: Exported) -> int:
    return 1 if exported.placement is None else exported.placement.devices.n_devices
