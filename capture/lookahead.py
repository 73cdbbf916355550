"""Gate lookahead: the choice of the router n layers ahead, computed from a state of the current layer.

The target layer's own norm and gate are applied to a state of the source layer:

- ``input``: the source router's input as it is;
- ``residual``: the residual stream before the source's own norm, with the target's norm;
- ``output``: the source layer's output (known only after its experts ran), with the target's norm.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from capture.hooks import Recorder, input_device
from capture.router_outputs import COMMON
from capture.routers import RouterSite
from routestat.errors import RoutestatError

# Share of tokens on which a gate must reproduce its own executed choice.
LEAST_AGREEMENT = 0.9
VARIANTS = ("input", "residual", "output")
# Names of the norm that feeds the router, in its layer; the first that exists is taken.
_NORMS = ("pre_ff_layernorm", "ffn_norm", "post_attention_layernorm")
# Blocks whose router reads the residual stream itself; post_attention_layernorm belongs to the attention.
_NO_NORM = ("FlexOlmoSparseMoeBlock",)


class Lookahead:
    """Apply the gates of later layers early, in every step of a recorder.

    Parameters
    ----------
    model : nn.Module
    sites : sequence of RouterSite
    distances : sequence of int
        Layers ahead; at 0 the layer's own gate must give the executed choice.
    variant : {"residual", "input", "output"}

    Raises
    ------
    RoutestatError
        If the gate of this model family needs more than its input, its norm is not known, or two layers have
        different alphabets (the states of a column are those of its own layer).
    """

    def __init__(
        self,
        model: Any,
        sites: Sequence[RouterSite],
        distances: Sequence[int],
        variant: str = "residual",
    ) -> None:
        if variant not in VARIANTS:
            raise RoutestatError(f"a lookahead's variant is {', '.join(VARIANTS)}, got {variant!r}")
        if not distances or min(distances) < 0:
            raise RoutestatError(f"lookahead wants numbers of layers such as 1,2,3,4, got {list(distances)}")
        self.variant = variant
        self.distances = tuple(sorted(set(distances)))
        self._layers = {site.name: _layer_module(model, site) for site in sites}
        self._gates = {site.name: _gate(site, self._layers[site.name]) for site in sites}
        by_layer = {site.layer: site for site in sites}
        if len(by_layer) < len(sites):
            raise RoutestatError("lookahead is not defined where a layer has several routers")
        self.targets = {
            site.name: {n: by_layer[site.layer + n] for n in self.distances if site.layer + n in by_layer}
            for site in sites
        }
        if not any(self.targets.values()):
            raise RoutestatError(
                f"no layer with a router lies {', '.join(map(str, self.distances))} layers after another; "
                f"routers are at {', '.join(str(site.layer) for site in sites)}"
            )
        for site in sites:
            for n, target in self.targets[site.name].items():
                if (target.n_experts, target.top_k) != (site.n_experts, site.top_k):
                    raise RoutestatError(
                        f"lookahead {n} from {site.name}: {target.name} has another alphabet"
                    )
        self._model, self._sites = model, tuple(sites)

    def verify(self) -> None:
        """Check that every gate, applied to its own layer, gives the executed choice: a wrong norm would not.

        Raises
        ------
        RoutestatError
            Naming the first router whose gate does not.
        """
        variant = "input" if self.variant == "input" else "residual"
        own = Lookahead(self._model, self._sites, [0], variant)
        device = input_device(self._model)
        with torch.no_grad(), own.attached_to(Recorder(self._model, self._sites)) as recorder:
            self._model(input_ids=torch.arange(2, 34, device=device)[None], use_cache=False)
        step = recorder.steps[0]
        for site in self._sites:
            early, real = (
                np.sort(a, axis=1) for a in (step.ahead[f"{site.name}.ahead0"], step.experts[site.name])
            )
            # In low precision some ties differ; a wrong norm changes far more.
            if (early == real).all(axis=1).mean() < LEAST_AGREEMENT:
                raise RoutestatError(
                    f"{site.module}: its own gate, applied early, does not give the executed choice; "
                    "lookahead is not known for this family"
                )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the trace's columns, in the order of depth."""
        return tuple(f"{site.name}.ahead{n}" for site in self._sites for n in self.targets[site.name])

    @contextmanager
    def attached_to(self, recorder: Recorder) -> Iterator[Recorder]:
        """Open `recorder` and compute the lookahead in its steps; remove all hooks whatever happens."""
        handles: list[Any] = []
        with recorder:
            try:
                for site in self._sites:
                    if self.targets[site.name]:
                        handles.append(self._attach(recorder, site))
                yield recorder
            finally:
                for handle in handles:
                    handle.remove()

    def _attach(self, recorder: Recorder, site: RouterSite) -> Any:
        def apply_gates(state: Tensor) -> None:
            step = recorder.step
            if step is None:
                return
            for n, target in self.targets[site.name].items():
                norm, choose = self._gates[target.name]
                with torch.no_grad():
                    early = _on_device_of(target.router, state.detach())
                    early = early if norm is None or self.variant == "input" else norm.forward(early)
                    chosen = choose(early.reshape(-1, early.shape[-1]))
                step.ahead[f"{site.name}.ahead{n}"] = chosen.to(torch.int16)

        norm, _ = self._gates[site.name]
        if self.variant == "input":
            return site.router.register_forward_pre_hook(lambda _, args: apply_gates(args[0]))
        if self.variant == "residual":
            source = site.block if norm is None else norm
            return source.register_forward_pre_hook(lambda _, args: apply_gates(args[0]))
        return self._layers[site.name].register_forward_hook(
            lambda _, args, output: apply_gates(output[0] if isinstance(output, tuple) else output)
        )


def _layer_module(model: nn.Module, site: RouterSite) -> nn.Module:
    """Return the decoder layer of a router: the module whose name ends in the layer's number."""
    parts = site.module.split(".")
    return model.get_submodule(".".join(parts[: parts.index(str(site.layer)) + 1]))


def _gate(site: RouterSite, layer: Any) -> tuple[nn.Module | None, Callable[[Tensor], Tensor]]:
    """Return the norm before a router, and its choice ``[token, slot]`` for normed states ``[token, hidden]``."""
    kind = type(site.router).__name__
    if site.deviation is not COMMON and kind != "Llama4Router":
        raise RoutestatError(f"{site.module} ({kind}): lookahead is not known for this family")
    norm: nn.Module | None = None
    if type(site.block).__name__ not in _NO_NORM:
        norm = next(
            (found for name in _NORMS if isinstance(found := getattr(layer, name, None), nn.Module)), None
        )
        if norm is None or isinstance(norm, nn.ModuleList):
            raise RoutestatError(f"{site.module}: none of {', '.join(_NORMS)} is the norm of its layer")

    def choose(state: Tensor) -> Tensor:
        # forward instead of a call: the recorder's hooks must not record this choice as executed.
        bias = getattr(site.block, "expert_bias", None)
        output = site.router.forward(state) if bias is None else site.router.forward(state, bias)
        found = site.deviation.read(output, site.top_k)
        assert found.indices is not None
        return found.indices

    return norm, choose


def _on_device_of(router: nn.Module, state: Tensor) -> Tensor:
    """Return the state on the device of a router, which may be another GPU."""
    device = next(router.parameters()).device
    # Offloaded weights are on no device until the module is called; its own hook then moves the input.
    return state if device.type == "meta" else state.to(device)
