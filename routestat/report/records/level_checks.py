"""`calibration`: how often the tests reject where there is no effect."""

from collections.abc import Sequence

from routestat.inference.level_checks.level_check import LevelCheck
from routestat.report.records.plain import Record, note, reason
from routestat.study.level_checks import LevelChecks


def calibration_record(found: LevelChecks, layers: Sequence[int]) -> Record:
    """Return `calibration`; the rates beside `families` are those of the loads."""
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
        **note(check.note),
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
        **note(check.note),
        **reason(check.reason),
    }
