"""The registry of exports: to add an engine, write its file in this package and add its line to `EXPORTS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.serving.placement.placement import Placement
from routestat.traces.metadata import Router


@dataclass(frozen=True, eq=False)
class Exported:
    """What exports are made of.

    Attributes
    ----------
    routers : tuple of Router
        In order of depth.
    n_hidden_layers : int
        Of the model, dense ones included.
    loads : tuple of int array ``[expert]``
        For each router how often each expert was chosen.
    placement : Placement, optional
        None for files that say nothing of devices.
    pinned : tuple of int array, optional
        For each router the experts to pin, the most used first.
    fast_layers : tuple of int
        Layers whose experts are kept on the device, where an engine moves whole layers.
    """

    routers: tuple[Router, ...]
    n_hidden_layers: int
    loads: tuple[NDArray[np.int64], ...]
    placement: Placement | None = None
    pinned: tuple[NDArray[np.int64], ...] | None = None
    fast_layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """One registered export.

    Attributes
    ----------
    name : str
        As ``--export`` names it.
    engine : str
        The engine and its option, for readers.
    files : callable(Exported)
        Returns the content of each file by its name.
    needs : str
        "placement" or "loads".
    experimental : bool
        Whether no release of the engine reads the file yet.
    """

    name: str
    engine: str
    files: Callable[[Exported], Mapping[str, bytes]]
    needs: str = "placement"
    experimental: bool = False


#: Every export, in the order in which they are listed.
EXPORTS: tuple[Export, ...] = ()
