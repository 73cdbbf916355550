"""Facts of a model from its configuration: shared, expert, router and active parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routestat.errors import RoutestatError
from routestat.structure.model_config import Config
from routestat.structure.model_families import FAMILIES, Family, gated
from routestat.traces.metadata import Router

#: Bytes of a parameter by the type of the weights.
BYTES = {
    "float64": 8.0,
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "float8_e4m3fn": 1.0,
    "float8_e5m2": 1.0,
}
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes
    ----------
    name : str
    parameters : int, optional
        Of all layers together; None where the family's rule is not known.
    active : int, optional
        Of these, used for one token.
    """

    name: str
    parameters: int | None
    active: int | None


@dataclass(frozen=True)
class ModelFacts:
    """Numbers of parameters of a model.

    Attributes
    ----------
    family : str
        `model_type` of the configuration.
    n_layers : int
    moe_layers : tuple of int, optional
        The layers that have routed experts; None where the rule is not known.
    n_experts, top_k, n_identity_experts : int
        Routed experts of a layer that compute something, choices of a token, and experts that compute nothing.
    n_shared_experts : int, optional
        Experts of a layer that every token takes.
    expert_parameters : int
        Of one routed expert of one layer, its biases included.
    router_parameters, shared_parameters : int, optional
        Of one layer.
    parts : tuple of Part
        Routed experts, shared experts, routers, dense networks, attention, normalisation and embeddings.
    dtype : str
        Of the weights, as the configuration says; empty where it does not.
    bytes_per_parameter : float, optional
        None where the type is not said, or the weights are quantised.
    reason : str
        Why something is None; empty if nothing is.
    """

    family: str
    n_layers: int
    moe_layers: tuple[int, ...] | None
    n_experts: int
    top_k: int
    n_identity_experts: int
    n_shared_experts: int | None
    expert_parameters: int
    router_parameters: int | None
    shared_parameters: int | None
    parts: tuple[Part, ...]
    dtype: str
    bytes_per_parameter: float | None
    reason: str = ""

    @property
    def parameters(self) -> int | None:
        """All parameters of the model."""
        return _sum([part.parameters for part in self.parts])

    @property
    def active_parameters(self) -> int | None:
        """Parameters that a token uses: k experts of every layer instead of all, and everything else.

        Identity experts have none: a token that chooses some uses fewer.
        """
        return _sum([part.active for part in self.parts])

    @property
    def active_without_embeddings(self) -> int | None:
        """Active parameters without the embeddings of input and output, which some publications leave out."""
        return _sum([part.active for part in self.parts if part.name != "embeddings"])

    @property
    def expert_bytes(self) -> float | None:
        """Bytes of one routed expert of one layer."""
        return None if self.bytes_per_parameter is None else self.expert_parameters * self.bytes_per_parameter

    @property
    def n_choices(self) -> int:
        """The experts that a router chooses among, identity experts included."""
        return self.n_experts + self.n_identity_experts


def model_facts(values: Mapping[str, Any]) -> ModelFacts:
    """Compute the numbers of parameters of a model from its configuration.

    Parameters
    ----------
    values : mapping
        The content of ``config.json``.

    Returns
    -------
    ModelFacts
        For an unknown family what follows from the common keys, with gated experts (three matrices); the rest None.

    Raises
    ------
    RoutestatError
        If it is not the configuration of a mixture-of-experts model, or a value is not a number.
    """
    config = Config.of(values)
    family = FAMILIES.get(config.family)
    hidden, layers, experts = (config.number(name) for name in ("hidden", "layers", "experts"))
    top_k, width = config.number("top_k"), config.number("expert_width")
    sizes = {"hidden size": hidden, "number of layers": layers, "width of an expert": width}
    if empty := [name for name, found in sizes.items() if not found]:
        raise RoutestatError(
            f"the model's config.json: expected a {empty[0]} of 1 or more, found 0; correct it"
        )
    if not 0 < top_k <= experts:
        raise RoutestatError(
            f"the model's config.json: expected 1 to {experts} experts per token, the number of experts, found "
            f"{top_k}; correct it"
        )
    if family is None:
        expert = gated(hidden, width)
        name = config.family or "without a model_type"
        return ModelFacts(
            config.family, layers, None, experts, top_k, 0, None, expert, experts * hidden, None,
            tuple(Part(part, None, None) for part in ("experts", "shared experts", "routers", "dense networks",
                                                      "attention", "normalisation", "embeddings")),
            config.dtype, _bytes(config),
            _joined(f"the family {name} is not known here: experts are taken as gated, other parts are not counted",
                    _why_no_bytes(config)),
        )  # fmt: skip
    return _of_family(config, family, hidden, layers, experts, top_k, width)


def _of_family(
    config: Config, family: Family, hidden: int, layers: int, experts: int, top_k: int, width: int
) -> ModelFacts:
    with_experts = tuple(layer for layer in range(layers) if family.has_experts(config, layer))
    n, identity = len(with_experts), family.identity(config)
    expert = gated(hidden, width) + family.matrices_bias(config)
    router = (experts + identity) * hidden + family.router_bias(config)
    shared, dense = family.shared(config), family.dense(config) * layers
    if n < layers:
        dense += (layers - n) * (gated(hidden, config.number("dense_width")) + family.dense_bias(config))
    tables = 1 if config.flag("tie_word_embeddings", family.tied) else 2
    everywhere = (
        ("shared experts", n * shared),
        ("routers", n * router),
        ("dense networks", dense),
        ("attention", sum(family.mixer(config, layer) for layer in range(layers))),
        ("normalisation", layers * family.norms(config) + family.final_norm(config)),
        ("embeddings", tables * config.number("vocabulary") * hidden + family.head_bias(config)),
    )
    routed = Part("experts", n * experts * expert, n * top_k * expert)
    return ModelFacts(
        config.family, layers, with_experts, experts, top_k, identity, family.n_shared(config), expert, router,
        shared, (routed, *(Part(name, count, count) for name, count in everywhere)), config.dtype, _bytes(config),
        _why_no_bytes(config),
    )  # fmt: skip


def require_fit(facts: ModelFacts, routers: Sequence[Router]) -> tuple[str, ...]:
    """Check that a trace can be of the model.

    Parameters
    ----------
    facts : ModelFacts
    routers : sequence of Router
        Of the trace.

    Returns
    -------
    tuple of str
        Where the trace differs in what a run can change: experts per token, and how layers are numbered.

    Raises
    ------
    RoutestatError
        If the numbers of experts differ.
    """
    others = sorted({router.n_experts for router in routers} - {facts.n_choices})
    if others:
        raise RoutestatError(
            f"--model-config: expected the model of the trace, whose routers have {_listed(others)} experts, found "
            f"a model with {facts.n_choices}; give the config.json of the traced model"
        )
    notes = []
    if chosen := sorted({router.top_k for router in routers} - {facts.top_k}):
        notes.append(
            f"the trace has {_listed(chosen)} experts per token, the model's configuration {facts.top_k}"
        )
    if facts.moe_layers is not None:
        unknown = sorted({router.layer for router in routers} - set(facts.moe_layers))
        if unknown:
            notes.append(
                f"by the model's configuration layers {_listed(unknown)} of the trace have no experts: "
                "the trace may number its layers otherwise"
            )
    return tuple(notes)


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _MOST_SHOWN} more" if len(numbers) > _MOST_SHOWN else ""
    return ", ".join(map(str, numbers[:_MOST_SHOWN])) + more


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _bytes(config: Config) -> float | None:
    return None if config.quantised else BYTES.get(config.dtype)


def _why_no_bytes(config: Config) -> str:
    if config.quantised:
        return f"weights are quantised ({config.quantised}): their bytes do not follow from the configuration"
    if not config.dtype:
        return "the configuration does not say the type of the weights"
    return "" if config.dtype in BYTES else f"the bytes of the type {config.dtype} are not known here"


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
