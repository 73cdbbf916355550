"""Every domain of a trace predicted from every other: what the kind of text does to predictors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, board_rows, joined_rows
from routestat.counting.document_sample import Sample, rows_of
from routestat.counting.joined_samples import stretches_of
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.progress import Tick, silent
from routestat.study.transfer import TransferScore, in_test_set, mean_scores
from routestat.traces.metadata import Router

#: Predictors of the matrix: the load, one layer, and all that came before.
MATRIX_PREDICTORS = ("popularity", "layer-1", "ridge-all")
#: Most experts of all layers together for which ridge on everything is fitted for every pair of domains.
MOST_EXPERTS = 512
#: Most tokens of all domains together, and most domains: the cost of a matrix grows with both.
MOST_TOKENS, MOST_DOMAINS = 100_000, 8
#: Least groups of documents of a domain: one to score, one to fit to, and one to choose hyper-parameters on.
LEAST_GROUPS = 3
#: Folds within a domain, and with the test set where that is others.
FOLDS = 5

_TOO_WIDE = (
    f"ridge on everything before is not fitted to domains of models with more than {MOST_EXPERTS} experts"
)


@dataclass(frozen=True, eq=False)
class DomainMatrix:
    """Predictors that are fitted to one domain and scored on another, for all pairs of domains.

    Attributes
    ----------
    domains : tuple of str
        The largest first.
    n_tokens, n_groups : int arrays ``[domain]``
        What is used of each.
    scores : tuple of TransferScore
        By predictor, then training domain, then test domain.
    left_out : tuple of (str, str)
        Domains that are not in the matrix, and why.
    notes : tuple of str
    reason : str
        Why there is no matrix; empty if there is one.
    """

    domains: tuple[str, ...]
    n_tokens: NDArray[np.int64]
    n_groups: NDArray[np.int64]
    scores: tuple[TransferScore, ...]
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    reason: str = ""


def domain_matrix(
    sample: Sample,
    routers: Sequence[Router],
    view: str,
    plan: BoardPlan | None = None,
    *,
    specs: Sequence[PredictorSpec] | None = None,
    most_tokens: int = MOST_TOKENS,
    tick: Tick = silent,
) -> DomainMatrix:
    """Fit predictors to every domain of a trace and score them on every domain.

    Of a domain with more than its equal part of `most_tokens` tokens a stretch of every document is used, so that the
    matrix costs about as much as a board of ``domains · most_tokens`` tokens. On the diagonal
    each of five folds of documents is predicted from the others. A document of a cluster that lies in several domains
    is not trained on where others of its cluster are predicted.

    Parameters
    ----------
    sample : Sample
        Whole documents.
    routers : sequence of Router
        Targets.
    view : {"subset", "expert"}
    plan : BoardPlan, optional
        The matrix is of one layer ahead, without reliability curves.
    specs : sequence of PredictorSpec, optional
        `MATRIX_PREDICTORS` by default; without ridge on everything where all layers together have more than
        `MOST_EXPERTS` experts, as it takes minutes there.
    most_tokens : int
        Of all domains together.
    tick : callable(what, done, total)
    """
    plan = replace(plan or BoardPlan(), horizons=(1,), calibrate=False, network=False)
    wide = sum(router.n_experts for router in routers) > MOST_EXPERTS
    if specs is None:
        names = MATRIX_PREDICTORS[:-1] if wide else MATRIX_PREDICTORS
        specs = [spec for spec in PREDICTORS if spec.name in names]
        too_wide = (_TOO_WIDE,) if wide else ()
    else:
        too_wide = ()
    of_row = _domain_of_rows(sample)
    domains, left_out = _choose(sample, of_row)
    if len(domains) < 2:
        why = (
            f"expected two domains of {LEAST_GROUPS} or more groups of documents, got {len(domains)}: "
            "no domain is predicted from another"
        )
        nothing = np.zeros(0, np.int64)
        return DomainMatrix(tuple(domains), nothing, nothing, (), left_out, (), why)
    rng = np.random.default_rng(plan.seed)
    parts = {name: stretches_of(sample, of_row == name, most_tokens // len(domains), rng) for name in domains}
    boards = {}
    for place, name in enumerate(domains):
        for also, rows in enumerate(
            (_inside(sample, parts, name, routers), _outside(sample, parts, name, routers))
        ):
            ticked = partial(_tick_of_part, tick, 2 * place + also, 2 * len(domains))
            boards[name, also] = make_board(rows, view, plan, specs=specs, tick=ticked)
    means = dict(zip(boards, mean_scores(list(boards.values())), strict=True))
    own = {(name, test): in_test_set(score) for test in domains for name, score in means[test, 0].items()}
    trained = {name: int(_apart(sample, parts, name).sum()) for name in domains}
    scores = []
    for predictor in means[domains[0], 0]:
        for train in domains:
            for test in domains:
                here = own[predictor, test]
                score = here if train == test else in_test_set(means[train, 1][predictor], test)
                n = int(parts[train].sum()) if train == test else trained[train]
                scores.append(TransferScore(train, test, score, None if train == test else here, n))
    used = [int(parts[name].sum()) for name in domains]
    return DomainMatrix(
        tuple(domains),
        np.array(used, np.int64),
        np.array([len(np.unique(sample.group[parts[name]])) for name in domains], np.int64),
        tuple(scores),
        left_out,
        _notes(domains, used, [int((of_row == name).sum()) for name in domains]) + too_wide,
    )


def _domain_of_rows(sample: Sample) -> NDArray[np.str_]:
    """Return each row's domain, empty where its document has none."""
    numbers, of_row = np.unique(sample.document, return_inverse=True)
    words = np.array([sample.domains.get(int(number), "") for number in numbers], np.str_)
    return np.asarray(words[of_row]) if len(words) else np.zeros(0, np.str_)


def _choose(sample: Sample, of_row: NDArray[np.str_]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Return the domains of the matrix, the largest first, and the others with the reason."""
    found, tokens = np.unique(of_row[of_row != ""], return_counts=True)
    order = found[np.argsort(-tokens, kind="stable")].tolist()
    kept: list[str] = []
    left_out: list[tuple[str, str]] = []
    apart = _of_one_domain(sample, of_row)
    for name in order:
        groups = len(np.unique(sample.group[apart & (of_row == name)]))
        if groups < LEAST_GROUPS:
            one = "one group" if groups == 1 else f"{groups} groups"
            left_out.append((name, f"{one} of documents that belong to it alone: fewer than {LEAST_GROUPS}"))
        elif len(kept) == MOST_DOMAINS:
            left_out.append((name, f"only the {MOST_DOMAINS} domains with most tokens are compared"))
        else:
            kept.append(name)
    return kept, tuple(left_out)


def _of_one_domain(sample: Sample, of_row: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Whether all documents of the cluster of each row have one domain ``[row]``."""
    _, domain = np.unique(of_row, return_inverse=True)
    both = np.unique(np.stack([sample.cluster, domain]), axis=1)
    clusters, times = np.unique(both[0], return_counts=True)
    return np.isin(sample.cluster, clusters[times == 1])


def _inside(
    sample: Sample, parts: dict[str, NDArray[np.bool_]], name: str, routers: Sequence[Router]
) -> BoardRows:
    """Rows of one domain, each fold of which is predicted from the others."""
    return board_rows(rows_of(sample, parts[name]), routers, FOLDS)


def _outside(
    sample: Sample, parts: dict[str, NDArray[np.bool_]], name: str, routers: Sequence[Router]
) -> BoardRows:
    """Rows of all domains, of which the others are predicted from one."""
    test = rows_of(sample, _others(parts, name))
    return joined_rows(test, rows_of(sample, _apart(sample, parts, name)), routers, FOLDS)


def _others(parts: dict[str, NDArray[np.bool_]], name: str) -> NDArray[np.bool_]:
    return np.any([rows for other, rows in parts.items() if other != name], axis=0)


def _apart(sample: Sample, parts: dict[str, NDArray[np.bool_]], name: str) -> NDArray[np.bool_]:
    """Rows of one domain ``[row]`` whose clusters have no document in the others."""
    cluster = sample.cluster
    return parts[name] & ~np.isin(cluster, cluster[_others(parts, name)])


def _notes(domains: Sequence[str], used: Sequence[int], tokens: Sequence[int]) -> tuple[str, ...]:
    short = [name for name, some, n in zip(domains, used, tokens, strict=True) if some < n]
    if not short:
        return ()
    return (
        f"of {', '.join(short)} a stretch of every document is used, so that a domain has no more than "
        f"{max(used):,} tokens",
    )


def _tick_of_part(tick: Tick, number: int, parts: int, what: str, done: int, total: int) -> None:
    """Show the progress of one of several equal parts as that of all."""
    tick(f"domains: {what}", number * total + done, parts * total)
