"""`transfer[]`, `transfer_domains[]` and `data_effect[]`: what the data set does to predictors."""

from collections.abc import Sequence

from routestat.forecast.effect_of_data import DataEffect
from routestat.inference.base.estimate import Estimate
from routestat.report.records.plain import Record, reason
from routestat.study.data_set import DataSetFindings
from routestat.study.domain_matrix import DomainMatrix
from routestat.study.transfer import TransferScore

_SCORES = ("recall_at_k", "exact_set", "recall_at_2k", "log_loss_bits")
# Keys of the differences to predictors that are fitted to the test set's own documents.
_DIFFERENCES = {"recall_at_k": "recall_less_than_own", "log_loss_bits": "log_loss_more_than_own"}


def data_set_records(found: DataSetFindings) -> Record:
    """Return the keys of results.json on the data set; what does not apply is absent."""
    record: Record = {}
    if found.transfer is not None:
        record["transfer"] = transfer_records(found.transfer.scores)
    if found.domains is not None:
        if found.domains.scores:
            record["transfer"] = transfer_records(found.domains.scores)
        if domains := domain_records(found.domains):
            record["transfer_domains"] = domains
    if found.notes:
        record["transfer_notes"] = list(found.notes)
    if found.effect is not None:
        record["data_effect"] = data_effect_records([found.effect])
    return record


def transfer_records(scores: Sequence[TransferScore]) -> list[Record]:
    """Return `transfer[]`: each predictor fitted to one set of documents and scored on another.

    Parameters
    ----------
    scores : sequence of TransferScore
        Those of a `Transfer` or of a `DomainMatrix`.
    """
    return [_transfer_record(one) for one in scores]


def _transfer_record(one: TransferScore) -> Record:
    record: Record = {
        "predictor": one.score.predictor,
        "train": one.train,
        "test": one.test,
        "held_out": one.is_held_out,
        "n_train_tokens": one.n_train_tokens,
        "n_tokens": one.score.n_tokens,
    }
    reasons = []
    for name in _SCORES:
        estimate = one.score.estimate(name)
        record |= _with_interval(name, estimate)
        reasons.append(estimate.reason)
    if not one.is_held_out:
        for name, key in _DIFFERENCES.items():
            estimate = one.less_than_own(name)
            record |= _with_interval(key, estimate)
            reasons.append(estimate.reason)
    return record | reason(*reasons)


def domain_records(matrix: DomainMatrix) -> list[Record]:
    """Return `transfer_domains[]`: what is used of each domain, and why one is left out of the matrix."""
    used = [
        {"domain": name, "n_tokens": tokens, "n_groups": groups}
        for name, tokens, groups in zip(
            matrix.domains, matrix.n_tokens.tolist(), matrix.n_groups.tolist(), strict=True
        )
    ]
    return used + [
        {"domain": name, "n_tokens": None, "n_groups": None, **reason(why)} for name, why in matrix.left_out
    ]


def data_effect_records(effects: Sequence[DataEffect]) -> list[Record]:
    """Return `data_effect[]`: the terms of the regressions, and those that were left out with the reason.

    Parameters
    ----------
    effects : sequence of DataEffect
        Of one or more scores.
    """
    return [record for effect in effects for record in _effect_records(effect)]


def _effect_records(effect: DataEffect) -> list[Record]:
    about: Record = {"predictor": effect.predictor, "score": effect.score}
    facts: Record = {"n_tokens": effect.n_tokens, "n_groups": effect.n_groups}
    records = [
        {
            **about,
            "term": one.term,
            "reference": one.reference or None,
            **_with_interval("estimate", one.estimate),
            "dof": one.dof,
            "log10_p": one.log10_p,
            **facts,
            **reason(one.estimate.reason),
        }
        for one in effect.terms
    ]
    left_out = [("all", effect.reason)] if effect.reason else []
    undefined = dict.fromkeys(("reference", "estimate", "dof", "log10_p")) | {"estimate_ci95": [None, None]}
    return records + [
        {**about, "term": term, **undefined, **facts, **reason(why)}
        for term, why in (*left_out, *effect.left_out)
    ]


def _with_interval(name: str, estimate: Estimate) -> Record:
    return {name: estimate.value, f"{name}_ci95": [estimate.low, estimate.high]}
