"""results.json, the parts on all layers at once: the map, co-activation, whether the documents suffice."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from routestat.inference.information.scarcity import Scarcity
from routestat.inference.sample_size.interval_width import Width
from routestat.report.records.parts import caution_of, interval_record, reason, scarcity_record
from routestat.structure.coactivation import Coactivation
from routestat.study.layers import AcrossLayers, LayerCoactivation, LayerSampleSize

Record = dict[str, Any]
STRONGEST = 5
#: An adjusted p-value below this is called found.
FOUND = 0.05


def map_records(breadth: AcrossLayers) -> list[Record]:
    """`map[]`: every pair of layers."""
    if breadth.map is None:
        return []
    found, records = breadth.map, []
    for i, source in enumerate(found.layers):
        for j, target in enumerate(found.layers[i + 1 :], start=i + 1):
            scarce = found.scarce.get((source, target), Scarcity())
            records.append(
                {
                    "source": source,
                    "target": target,
                    "mi_bits": found.mi_bits[i, j],
                    "mi_bits_ci95": interval_record(
                        found.mi_bits_low[i, j], found.mi_bits_high[i, j], scarce
                    ),
                    "mi_bits_plugin": found.mi_bits_plugin[i, j],
                    "cramers_v_corrected": found.cramers_v_corrected[i, j],
                    "design_effect": found.design_effect[i, j],
                    "log10_p_clustered": found.log10_p_clustered[i, j],
                    "log10_q_clustered": found.log10_q_clustered[i, j],
                    **{
                        f"load_{name.replace('-', '_')}": matrix[i, j]
                        for name, matrix in breadth.load_profiles.items()
                    },
                    **reason(found.reasons.get((source, target)), scarce.reason),
                    **scarcity_record(scarce),
                }
            )
    return records


def coactivation_record(item: LayerCoactivation) -> Record:
    """`coactivation[]`: one layer against both nulls, with the pairs that meet most beyond their loads."""
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
        "n_found": int((pooled.log10_q < np.log10(FOUND)).sum()),
        "bits_within_document": documents.bits.value,
        "bits_within_document_ci95": [documents.bits.low, documents.bits.high],
        "log10_p_within_document": documents.log10_p_clustered,
        "strongest": [_pair(pooled, place) for place in surprising.tolist()] if pooled.n_tokens else [],
        **reason(pooled.reason, documents.reason),
        **caution_of(bits=pooled.note, bits_within_document=documents.note),
    }


def coactivation_rows(breadth: AcrossLayers) -> Iterator[Record]:
    """Every pair of experts of every layer, for the table."""
    for item in breadth.within:
        for place in range(len(item.pooled.lift)):
            within = item.documents
            yield {
                "layer": item.router.layer,
                **_pair(item.pooled, place),
                "expected_within_document": within.expected[place],
                "lift_within_document": within.lift[place],
                "log10_q_within_document": within.log10_q[place],
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


def enough_record(item: LayerSampleSize) -> Record:
    """`enough[]`: what fewer documents would have given, and what more would."""
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
