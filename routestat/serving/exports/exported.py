"""What exports are made of, and what all of them check."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.serving.placement.placement import Placement
from routestat.serving.steps import Steps
from routestat.traces.metadata import Router
from routestat.traces.number_ranges import span


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
    moe_layers : tuple of int, optional
        All layers of the model that have experts, traced or not; None where this is not known. Then every layer
        without a router is taken as a dense one.
    steps : Steps, optional
        The tokens, one document at a time, for files that list them.
    """

    routers: tuple[Router, ...]
    n_hidden_layers: int
    loads: tuple[NDArray[np.int64], ...]
    placement: Placement | None = None
    pinned: tuple[NDArray[np.int64], ...] | None = None
    fast_layers: tuple[int, ...] = ()
    moe_layers: tuple[int, ...] | None = None
    steps: Steps | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises
        ------
        RoutestatError
            If layers are outside the model, or the parts are of different routers.
        """
        if not self.routers:
            raise RoutestatError("expected one router or more to export, got none")
        layers = {router.layer for router in self.routers}
        if self.n_hidden_layers <= max(layers):
            raise RoutestatError(
                f"expected more hidden layers than the last layer of the trace, which is {max(layers)} (counted "
                f"from 0), got {self.n_hidden_layers}; name the number of layers of the model"
            )
        if self.moe_layers is not None:
            self._check_moe_layers(layers, self.moe_layers)
        self._check_loads()
        if unknown := sorted(set(self.fast_layers) - self._layers_with_experts):
            raise RoutestatError(f"expected layers with experts to keep on the device, got {span(unknown)}")
        if self.placement is not None and self.placement.routers != self.routers:
            raise RoutestatError("expected a placement of the exported routers, got one of others")
        if self.steps is not None and self.steps.routers != self.routers:
            raise RoutestatError("expected the tokens of the exported routers, got those of others")
        if self.pinned is not None:
            self._check_pinned(self.pinned)

    @property
    def _layers_with_experts(self) -> set[int]:
        return set(self.moe_layers or ()) | {router.layer for router in self.routers}

    def _check_moe_layers(self, layers: set[int], moe_layers: tuple[int, ...]) -> None:
        if list(moe_layers) != sorted(set(moe_layers)):
            raise RoutestatError("expected the layers with experts in ascending order, each once")
        if dense := sorted(layers - set(moe_layers)):
            raise RoutestatError(
                f"expected the model's layers with experts to include those of the trace, but they lack "
                f"{span(dense)}; give the configuration of the traced model"
            )
        if outside := [layer for layer in moe_layers if not 0 <= layer < self.n_hidden_layers]:
            raise RoutestatError(
                f"expected layers with experts among the {self.n_hidden_layers} of the model, got "
                f"{span(outside)}"
            )

    def _check_loads(self) -> None:
        lengths = [len(load) for load in self.loads]
        if lengths != [router.n_experts for router in self.routers]:
            raise RoutestatError(f"expected a count for every expert of every router, got lengths {lengths}")
        if any((load < 0).any() for load in self.loads):
            raise RoutestatError("expected counts of 0 or more, found a negative one")

    def _check_pinned(self, pinned: tuple[NDArray[np.int64], ...]) -> None:
        if len(pinned) != len(self.routers):
            raise RoutestatError(f"expected a list of experts for each router, got {len(pinned)} lists")
        for router, experts in zip(self.routers, pinned, strict=True):
            ids = experts.tolist()
            if len(set(ids)) != len(ids) or not set(ids) <= set(range(router.n_experts)):
                raise RoutestatError(
                    f"{router.name}: expected different experts of {router.n_experts} to pin"
                )
