"""`model_facts` and `model_parts` of results.json."""

import statistics
from collections.abc import Callable, Sequence

import numpy as np

from routestat.report.records.plain import Record, note, reason
from routestat.structure.model_facts import ModelFacts
from routestat.study.layers import LayerLoad
from routestat.study.model_facts import ModelFindings


def model_facts_records(found: ModelFindings, loads: Sequence[LayerLoad]) -> Record:
    """Return the keys of results.json that hold these findings, with the loads of the layers in short.

    Parameters
    ----------
    found : ModelFindings
    loads : sequence of LayerLoad
        Of the same routers.
    """
    facts = found.facts
    measures: dict[str, Callable[[LayerLoad], float]] = {
        "load_entropy_bits": lambda load: load.balance.entropy_bits,
        "load_gini": lambda load: load.balance.load_gini,
        "load_max_over_mean": lambda load: load.balance.load_max_over_mean,
        "load_cv": lambda load: load.balance.coefficient_of_variation,
    }
    dead = [len(load.balance.dead_experts) for load in loads]
    kinds = sum(one.n_kinds for one in found.unseen)
    at_least = [one.at_least for one in found.unseen]
    return {
        "model_facts": {
            **parameter_record(facts),
            **{key: _spread([measure(load) for load in loads]) for key, measure in measures.items()},
            "n_dead_experts": sum(dead),
            "n_layers_with_dead_experts": sum(number > 0 for number in dead),
            "n_expert_places": kinds,
            "experts_seen": sum(one.seen for one in found.unseen),
            "experts_at_least": float(np.sum(at_least)) if np.isfinite(at_least).all() else None,
            **note("; ".join(found.notes)),
            **reason(facts.reason, *(one.reason for one in found.unseen)),
        },
        "model_parts": part_records(facts),
    }


def parameter_record(facts: ModelFacts) -> Record:
    """Return the keys on parameters and bytes, from the configuration alone, without the reason of what is null."""
    return {
        "family": facts.family,
        "n_layers": facts.n_layers,
        "n_moe_layers": None if facts.moe_layers is None else len(facts.moe_layers),
        "moe_layers": None if facts.moe_layers is None else list(facts.moe_layers),
        "n_experts": facts.n_experts,
        "top_k": facts.top_k,
        "n_shared_experts": facts.n_shared_experts,
        "n_identity_experts": facts.n_identity_experts,
        "parameters": facts.parameters,
        "active_parameters": facts.active_parameters,
        "active_parameters_without_embeddings": facts.active_without_embeddings,
        "expert_parameters": facts.expert_parameters,
        "shared_parameters": facts.shared_parameters,
        "router_parameters": facts.router_parameters,
        "dtype": facts.dtype or None,
        "bytes_per_parameter": facts.bytes_per_parameter,
        "expert_bytes": facts.expert_bytes,
    }


def part_records(facts: ModelFacts) -> list[Record]:
    """Return the items of `model_parts`."""
    return [
        {
            "part": part.name,
            "parameters": part.parameters,
            "active_parameters": part.active,
            "share_of_parameters": _share(part.parameters, facts.parameters),
            "bytes": _bytes(part.parameters, facts),
            **(reason(facts.reason) if part.parameters is None else {}),
        }
        for part in facts.parts
    ]


def _bytes(parameters: int | None, facts: ModelFacts) -> float | None:
    if parameters is None or facts.bytes_per_parameter is None:
        return None
    return parameters * facts.bytes_per_parameter


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


def _spread(values: Sequence[float]) -> Record:
    """Return the median over the layers, and the least and the largest."""
    known = [float(value) for value in values if np.isfinite(value)]
    if not known:
        return {"median": None, "min": None, "max": None}
    return {"median": statistics.median(known), "min": min(known), "max": max(known)}
