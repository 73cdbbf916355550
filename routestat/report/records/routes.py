"""`paths[]` and `paths_summary`."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.report.path_sentences import given_words, path_sentences
from routestat.report.records.plain import Record, note, reason
from routestat.study.route_evidence import RouteEvidence
from routestat.study.routes import PathFinding
from routestat.traces.metadata import Router

_NO_EXPECTATION = (
    "the chain of the expert view has single experts as states, tokens choose subsets: no expected count"
)


def path_records(found: PathFinding, routers: Sequence[Router], states: str) -> list[Record]:
    """Return `paths[]`: the dominant paths of the chain, then the most frequent ones.

    Parameters
    ----------
    found : PathFinding
    routers : sequence of Router
    states : {"subset", "expert"}
    """
    layers = [router.layer for router in routers]
    key = "states" if states == "subset" else "experts"
    label = (
        f"among the most probable whole-depth paths of the chain given {given_words(found.choice.context)}"
    )
    if found.choice.context == "nothing":
        label = "among the most probable whole-depth paths where layers are independent"
    records = [
        {
            "kind": "dominant",
            "label": label,
            "layers": layers,
            key: path,
            "context": found.choice.context,
            "order": found.choice.order,
            "probability": probability,
            "log2_probability": bits,
            "expected": expected,
            "count": count,
            "n_documents": documents,
            "token_id": None if token_id < 0 else token_id,
            **_evidence(evidence, probability, found.texts),
            **reason(evidence.share.reason),
        }
        for path, probability, bits, count, documents, expected, token_id, evidence in zip(
            found.dominant.states,
            found.dominant.probability,
            found.dominant.log2_probability,
            found.dominant_tokens,
            found.dominant_documents,
            found.dominant_expected,
            found.dominant_token_ids.tolist(),
            found.dominant_evidence,
            strict=True,
        )
    ]
    records += [
        {
            "kind": "observed",
            "label": "among the most frequent whole-depth paths; frequency alone is no evidence",
            "layers": layers,
            **_observed_path(path, routers, key),
            "count": count,
            "n_documents": documents,
            "expected": expected,
            "probability": share,
            **_evidence(evidence, expected / found.observed.n_tokens, found.texts),
            **reason("" if key == "states" else _NO_EXPECTATION, evidence.share.reason),
        }
        for path, count, documents, expected, share, evidence in zip(
            found.observed.states,
            found.observed.tokens,
            found.observed.documents,
            found.expected,
            found.observed_share,
            found.observed_evidence,
            strict=True,
        )
    ]
    return records + _frequent(found, layers)


def _frequent(found: PathFinding, layers: Sequence[int]) -> list[Record]:
    """Return the routes through single experts that most tokens take."""
    if (experts := found.experts) is None:
        return []
    n = found.observed.n_tokens
    return [
        {
            "kind": "frequent",
            "label": "among the most frequent routes of one expert per layer; no token counts for two",
            "layers": layers,
            "experts": [list(layer) for layer in shared],
            "route": route,
            "count": count,
            "n_documents": documents,
            "expected": n * probability,
            "probability": count / n if n else None,
            **_evidence(evidence, probability, found.texts),
            **reason(evidence.share.reason),
        }
        for shared, route, count, documents, probability, evidence in zip(
            experts.frequent.shared,
            experts.states,
            experts.tokens.tolist(),
            experts.documents.tolist(),
            experts.probability.tolist(),
            experts.evidence,
            strict=True,
        )
    ]


def paths_summary(found: PathFinding, states: str) -> Record:
    """Return `paths_summary`: the chain of the dominant paths, how it was chosen, and what the paths are."""
    choice = found.choice
    expected, taken = found.dominant_expected, found.dominant_tokens
    unit = "bits_per_token" if states == "subset" else "bits_per_choice"
    record: Record = {
        "context": choice.context,
        "words": given_words(choice.context),
        "order": choice.order,
        "over": choice.over or None,
        f"gain_{unit}": None if choice.gain is None else choice.gain.value,
        f"gain_{unit}_ci95": None if choice.gain is None else _limits(choice.gain),
        "compared": {
            name: {unit: one.value, f"{unit}_ci95": _limits(one)} for name, one in choice.bits.items()
        },
        "n_tokens": found.observed.n_tokens,
        "n_dominant": len(taken),
        "dominant_expected": float(expected.sum()),
        "dominant_taken": int(taken.sum()),
        "dominant_never_taken": int((taken == 0).sum()),
    }
    if found.experts is not None:
        record["frequent_share_of_tokens"] = found.experts.covered
        record["frequent_complete"] = found.experts.frequent.complete
    record["reading"] = path_sentences(found, states)
    notes = [one for one in (choice.note, found.experts.note if found.experts else "") if one]
    return record | note("; ".join(notes)) | reason("" if choice.gain else "nothing was compared")


def _evidence(evidence: RouteEvidence, probability: float, texts: Mapping[int, str]) -> Record:
    """Return the keys of the tokens and documents of a path, of its share and its lift."""
    lift = evidence.lift(probability)
    return {
        "share_ci95": _limits(evidence.share),
        "lift": lift.value,
        "lift_ci95": _limits(lift),
        "tokens": [
            {"id": token, "count": count, **({"text": texts[token]} if token in texts else {})}
            for token, count in evidence.token_ids
        ],
        "documents": list(evidence.documents),
    }


def _limits(one: Estimate) -> list[float]:
    return [one.low, one.high]


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
