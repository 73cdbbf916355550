"""`paths[]`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.report.records.plain import Record, reason
from routestat.study.routes import PathFinding
from routestat.traces.metadata import Router

_NO_EXPECTATION = (
    "the chain of the expert view has single experts as states, tokens choose subsets: no expected count"
)


def path_records(found: PathFinding, routers: Sequence[Router], states: str) -> list[Record]:
    """Return `paths[]`: the dominant paths of the chain, then the most frequent observed paths."""
    layers = [router.layer for router in routers]
    key = "states" if states == "subset" else "experts"
    dominant = [
        {
            "kind": "dominant",
            "label": "among the most probable whole-depth paths of the fitted chain of order 1",
            "layers": layers,
            key: states,
            "probability": probability,
            "log2_probability": bits,
            "expected": expected if key == "states" else None,
            "count": count,
            "n_documents": documents,
            **reason("" if key == "states" else _NO_EXPECTATION),
        }
        for states, probability, bits, count, documents, expected in zip(
            found.dominant.states,
            found.dominant.probability,
            found.dominant.log2_probability,
            found.dominant_tokens,
            found.dominant_documents,
            found.dominant_expected,
            strict=True,
        )
    ]
    observed = [
        {
            "kind": "observed",
            "label": "among the most frequent whole-depth paths; frequency alone is no evidence",
            "layers": layers,
            **_observed_path(states, routers, key),
            "count": count,
            "n_documents": documents,
            "expected": expected,
            "probability": share,
            **reason("" if key == "states" else _NO_EXPECTATION),
        }
        for states, count, documents, expected, share in zip(
            found.observed.states,
            found.observed.tokens,
            found.observed.documents,
            found.expected,
            found.observed_share,
            strict=True,
        )
    ]
    return dominant + observed


def _observed_path(states: NDArray[np.integer], routers: Sequence[Router], key: str) -> Record:
    """States in the state view; in the expert view the k experts of every layer."""
    if key == "states":
        return {"states": states}
    rows, at = [], 0
    for router in routers:
        if router.alphabet.is_ranked:
            rows.append(router.alphabet.unrank(states[at]).tolist())
            at += 1
        else:
            rows.append(states[at : at + router.top_k].tolist())
            at += router.top_k
    return {"experts": rows}
