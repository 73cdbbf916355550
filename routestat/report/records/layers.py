"""Records of layers: their loads, the map of all pairs, co-activation, and sample sizes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.information.scarcity import Scarcity
from routestat.inference.sample_size.interval_width import Width
from routestat.report.records.layer_pairs import covered, scarcity_record
from routestat.report.records.plain import Record, caution, reason
from routestat.structure.coactivation import Coactivation
from routestat.structure.load_balance import Balance
from routestat.study.layers import FOUND, AcrossLayers, LayerCoactivation, LayerLoad, LayerSampleSize

STRONGEST = 5


def load_record(load: LayerLoad) -> Record:
    """Return an item of `layers[]`."""
    balance = load.balance
    return {
        "layer": load.router.layer,
        "router": load.router.name,
        "n_tokens": balance.n_tokens,
        "entropy_bits": load.entropy_bits,
        "load_entropy_bits": balance.entropy_bits,
        "load_gini": balance.load_gini,
        "load_max_over_mean": balance.load_max_over_mean,
        "load_cv": balance.coefficient_of_variation,
        "dead_experts": list(balance.dead_experts),
        "load": balance.load,
        "load_ci95": np.column_stack([balance.load_low, balance.load_high]),
        **reason(balance.reason, _no_interval(balance)),
    }


def _no_interval(balance: Balance) -> str:
    flat = np.isnan(balance.load_low).any() and not balance.reason
    return "an expert that every group used never, always or alike has no interval" if flat else ""


def map_records(across: AcrossLayers) -> list[Record]:
    """Return `map[]`: every pair of layers."""
    if across.map is None:
        return []
    found, records = across.map, []
    for i, source in enumerate(found.layers):
        for j, target in enumerate(found.layers[i + 1 :], start=i + 1):
            scarce = found.scarce.get((source, target), Scarcity())
            records.append(
                {
                    "source": source,
                    "target": target,
                    "mi_bits": found.mi_bits[i, j],
                    "mi_bits_ci95": list(covered(found.mi_bits_low[i, j], found.mi_bits_high[i, j], scarce)),
                    "mi_bits_plugin": found.mi_bits_plugin[i, j],
                    "cramers_v_corrected": found.cramers_v_corrected[i, j],
                    "design_effect": found.design_effect[i, j],
                    "log10_p_clustered": found.log10_p_clustered[i, j],
                    "log10_q_clustered": found.log10_q_clustered[i, j],
                    **{
                        f"load_{name.replace('-', '_')}": matrix[i, j]
                        for name, matrix in across.load_profiles.items()
                    },
                    **reason(found.reasons.get((source, target)), scarce.reason),
                    **scarcity_record(scarce),
                }
            )
    return records


def coactivation_record(item: LayerCoactivation) -> Record:
    """Return an item of `coactivation[]`: one layer against both nulls, and the pairs that depart most from them."""
    pooled, documents = item.pooled, item.documents
    surprising = np.argsort(-np.nan_to_num(np.abs(pooled.difference)), kind="stable")[:STRONGEST]
    return {
        "layer": item.router.layer,
        "router": item.router.name,
        "n_tokens": pooled.n_tokens,
        "bits": pooled.bits.value,
        "bits_ci95": [pooled.bits.low, pooled.bits.high],
        "bits_plugin": pooled.bits_plugin,
        "log10_p_clustered": pooled.log10_p_clustered,
        "n_pairs": len(pooled.lift),
        "n_found": item.n_found,
        "bits_within_document": documents.bits.value,
        "bits_within_document_ci95": [documents.bits.low, documents.bits.high],
        "log10_p_within_document": documents.log10_p_clustered,
        "strongest": [_pair(pooled, place) for place in surprising.tolist()] if pooled.n_tokens else [],
        **reason(pooled.reason, documents.reason),
        **caution(bits=pooled.note, bits_within_document=documents.note),
    }


def coactivation_columns(across: AcrossLayers) -> dict[str, NDArray[Any]]:
    """Return pairs of experts of all layers column by column ``[pair]``.

    Listed are the pairs that tokens chose together, and those that significantly did not.
    """
    # Layers with as many experts have the same pairs.
    pairs = {len(item.pooled.experts): item.pooled.experts for item in across.coactivation or ()}
    named = {n: np.array([f"{i} {j}" for i, j in listed.tolist()], dtype=str) for n, listed in pairs.items()}
    parts = [_pairs(item, named[len(item.pooled.experts)]) for item in across.coactivation or ()]
    names = parts[0] if parts else ()
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _pairs(item: LayerCoactivation, words: NDArray[np.str_]) -> dict[str, NDArray[Any]]:
    pooled, within = item.pooled, item.documents
    found = math.log10(FOUND)
    listed = (pooled.observed > 0) | (pooled.log10_q <= found) | (within.log10_q <= found)
    return {
        "layer": np.full(np.count_nonzero(listed), item.router.layer),
        "experts": words[listed],
        **{name: getattr(pooled, name)[listed] for name in ("observed", "expected", "lift", "z", "log10_q")},
        "expected_within_document": within.expected[listed],
        "lift_within_document": within.lift[listed],
        "log10_q_within_document": within.log10_q[listed],
    }


def _pair(found: Coactivation, place: int) -> Record:
    return {
        "experts": found.experts[place],
        "observed": found.observed[place],
        "expected": found.expected[place],
        "lift": found.lift[place],
        "z": found.z[place],
        "log10_q": found.log10_q[place],
    }


def sample_size_record(item: LayerSampleSize) -> Record:
    """Return an item of `enough[]`: precision with fewer documents, and expected with more."""
    found, missed = item.enough, item.unseen
    return {
        "layer": item.router.layer,
        "n_groups": found.n_groups,
        "n_documents": found.n_documents,
        "groups": [*found.sizes.tolist(), *found.ahead.tolist()],
        **_width("load", found.load),
        **_width("mi_bits", found.information),
        "mi_bits_plugin": found.mi_bits_plugin,
        "mi_bits_endless": found.mi_bits_endless,
        "ranking_tau": found.ranking_tau,
        "ranking_tau_target": found.ranking_target,
        "documents_for_ranking": found.ranking_documents,
        "experts_seen": missed.seen,
        "experts_at_least": missed.at_least,
        "coverage": missed.coverage,
        **({"caution": found.note} if found.note else {}),
        **reason(found.reason, missed.reason),
    }


def _width(name: str, width: Width | None) -> Record:
    if width is None:
        return {}
    return {
        f"{name}_half_width": [*width.measured.tolist(), *width.ahead.tolist()],
        f"{name}_half_width_target": width.target,
        f"documents_for_{name}": width.documents_needed,
    }
