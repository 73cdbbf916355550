"""results.json, the parts on what a dependence is made of and on what p-values are worth."""

import math
from collections.abc import Sequence
from typing import Any

from routestat.inference.information.scarcity import Scarcity
from routestat.inference.level_checks.level_check import LevelCheck
from routestat.inference.markov.order_selection import LEAST_BITS
from routestat.study.aa_check import AACheck
from routestat.study.decomposition import Budget, Conditional, Decomposition
from routestat.traces.clusters.summary import UnitSummary
from routestat.traces.dummy_rows.findings import Finding

Record = dict[str, Any]
#: What an estimate finds where there is nothing may be this part of what it finds, and no more, for that to be read.
MOST_SHUFFLED = 0.2


def reason(*reasons: str | None) -> Record:
    """Why something is null, as a key of its own; nothing if there is no reason."""
    given = [one for one in dict.fromkeys(reasons) if one]
    return {"reason": "; ".join(given)} if given else {}


def units_record(units: UnitSummary) -> Record:
    """Keys of `trace`, and of each side of a comparison: the independent units, and what was left out."""
    return {
        "n_clusters": units.n_clusters,
        "largest_cluster_documents": units.largest_cluster,
        "clusters_from": list(units.clusters_from),
        "template": {
            "counted": units.template,
            "n_tokens": units.template_tokens,
            "n_documents": units.template_documents,
            "n_tokens_left_out": units.template_left_out,
            "n_documents_without_more": units.template_only,
        },
    }


def not_measured_records(findings: Sequence[Finding]) -> list[Record]:
    """Items of `not_measured`: rows and layers that are no measurements, where the first is, and what was done."""
    return [
        {
            "kind": one.kind,
            "place": one.place,
            "n_rows": one.n_rows,
            "n_documents": one.n_documents,
            "document": one.document,
            "position": one.position,
            "layers": list(one.layers),
            "dropped": one.dropped,
        }
        for one in findings
    ]


def caution_of(**cautions: str | None) -> Record:
    """What to keep in mind with figures that are there: in one text, and of each key that it is about."""
    given = {key: text for key, text in cautions.items() if text}
    if not given:
        return {}
    return {"caution": "; ".join(dict.fromkeys(given.values())), "cautions": given}


def interval_record(low: float, high: float, scarce: Scarcity) -> list[float]:
    """The interval of a table's information; undefined where it would miss the truth too often."""
    return [low, high] if scarce.covered else [math.nan, math.nan]


def scarcity_record(scarce: Scarcity) -> Record:
    """A caution on the information of a table, and whether its interval is worth giving; nothing if all is well."""
    if not scarce.caution:
        return {}
    return {"caution": scarce.caution, **({} if scarce.covered else {"mi_bits_ci95_covers": False})}


def parts_record(parts: Decomposition) -> Record:
    """Keys of `dependence[]`; what could not be had is null and ``reasons`` says why."""
    within, vocabulary = parts.within, parts.vocabulary
    record: Record = {
        "mi_bits_within_document": within.mi_bits,
        "mi_bits_within_document_ci95": [within.low, within.high],
        "log10_p_within_document": within.log10_p_clustered,
        "mi_bits_swapped_types": None if vocabulary is None else vocabulary.kept_bits,
        "mi_bits_swapped_types_ci95": None
        if vocabulary is None
        else [vocabulary.kept_low, vocabulary.kept_high],
        "mi_bits_beyond_token_type": None if vocabulary is None else vocabulary.beyond_bits,
        "mi_bits_beyond_token_type_ci95": None if vocabulary is None else [vocabulary.low, vocabulary.high],
        "log10_p_beyond_token_type": None if vocabulary is None else vocabulary.log10_p,
    }
    record |= _conditional("mi_bits_given_token", parts.given_token)
    record |= _conditional("mi_bits_given_previous", parts.given_previous)
    if parts.p_permuted == parts.p_permuted:
        record["p_permuted"] = parts.p_permuted
    said = (within.reason, vocabulary.reason if vocabulary else None, *parts.reasons)
    return record | {
        "parts_note": parts.note,
        "parts_reasons": [one for one in dict.fromkeys(said) if one],
        "parts_cautions": parts_cautions(parts),
    }


def parts_cautions(parts: Decomposition) -> dict[str, str]:
    """What to keep in mind of single parts, by their keys in `dependence[]`."""
    said = {
        "mi_bits_within_document": parts.within.caution,
        "mi_bits_given_token": _as_much_in_nothing(parts.given_token),
        "mi_bits_given_previous": _as_much_in_nothing(parts.given_previous),
    }
    return {key: caution for key, caution in said.items() if caution}


def is_doubtful(part: Conditional) -> bool:
    """Whether the estimate finds about as much after choices were dealt out anew inside every stratum."""
    found, nothing = part.information, part.shuffled_bits
    return abs(nothing) > MOST_SHUFFLED * abs(found.mi_bits) or found.low <= nothing <= found.high


def claims_nothing(part: Conditional) -> bool:
    """Whether what is found in nothing does no harm: next to none, or within an interval that holds zero."""
    found, nothing = part.information, abs(part.shuffled_bits)
    # Such an interval has to be wide enough for such an error.
    return nothing < LEAST_BITS or (found.low <= 0 <= found.high and nothing <= (found.high - found.low) / 2)


def _as_much_in_nothing(part: Conditional | None) -> str | None:
    if part is None or not is_doubtful(part) or claims_nothing(part):
        return None
    return f"{abs(part.shuffled_bits):.3g} bits are found where there is nothing: what is left cannot be told"


def _conditional(key: str, part: Conditional | None) -> Record:
    if part is None:
        return dict.fromkeys((key, f"{key}_ci95", f"{key}_shuffled", f"log10_p_{key[8:]}"))
    return {
        key: part.information.mi_bits,
        f"{key}_ci95": [part.information.low, part.information.high],
        f"{key}_shuffled": part.shuffled_bits,
        f"log10_p_{key[8:]}": part.test.log10_p_clustered,
    }


def budget_record(budget: Budget, scarce: Sequence[Scarcity] = ()) -> Record:
    """`budget`: sums over the depth; `scarce` holds what is to be said of each pair of adjacent layers."""
    few = sum(bool(one.caution) for one in scarce)
    caution = (
        f"in {few} of {len(scarce)} pairs of layers tokens are too few for the tables: the sum is too high"
    )
    return {
        "adjacent_bits": budget.adjacent_bits,
        "adjacent_bits_se_at_most": budget.adjacent_error,
        "skip_bits": budget.skip_bits,
        "skip_bits_se_at_most": budget.skip_error,
        "rest_bits": None,
        **reason(budget.reason),
        **({"caution": caution} if few else {}),
    }


def calibration_record(found: AACheck, layers: Sequence[int]) -> Record:
    """`calibration`: how often tests reject where there is nothing to find; rates beside `families` are of loads."""
    check = found.halves
    columns = (
        "rate_iid",
        "rate_iid_error",
        "rate_first_order",
        "rate_clustered",
        "rate_clustered_error",
        "design_effect",
    )
    values = (
        check.rate_iid,
        check.error_iid,
        check.rate_first_order,
        check.rate_clustered,
        check.error_clustered,
        check.design_effect,
    )
    return {
        "n_groups": check.n_groups,
        "n_splits": check.n_splits,
        "level": check.level,
        "rate_iid": check.pooled_iid,
        "rate_iid_error": check.pooled_error_iid,
        "rate_first_order": check.pooled_first_order,
        "rate_clustered": check.pooled_clustered,
        "rate_clustered_error": check.pooled_error_clustered,
        "design_effect": check.pooled_design_effect,
        "layers": [
            {"layer": layer, **dict(zip(columns, row, strict=True))}
            for layer, *row in zip(layers, *values, strict=True)
        ],
        "families": [_family(one) for one in found.families],
        "answer": found.answer(),
        "reading": found.reading(),
        **({"note": check.note} if check.note else {}),
        **reason(check.reason),
    }


def _family(check: LevelCheck) -> Record:
    return {
        "family": check.family,
        "n_units": check.n_units,
        "n_draws": check.n_draws,
        "level": check.level,
        "rate_iid": check.rate_iid,
        "rate_iid_error": check.rate_iid_error,
        "rate_clustered": check.rate_clustered,
        "rate_clustered_error": check.rate_clustered_error,
        "p_histogram": check.p_histogram.tolist(),
        "verdict": check.verdict,
        "reading": check.reading(),
        **({"note": check.note} if check.note else {}),
        **reason(check.reason),
    }
