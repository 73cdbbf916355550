"""The effect of the data set on a predictor: a regression of its score on domain, phase and depth.

The score of a cell, which is the tokens of one group of documents, one phase and one domain at one target layer, is

    score = reference + domain + phase + depth · (place − ½) + ends · (2 · place − 1)² + error

where the place of a layer is 0 for the first target of the model and 1 for the last. The regression is weighted by
tokens. Errors of cells of one group may depend on each other in any way (they share documents, and all layers have the
same tokens): the covariance is cluster-robust, with groups of documents as clusters. Intervals and p-values are those
of Student's t, with the degrees of freedom that groups are worth (`routestat.inference.base.estimate.effective_dof`;
G − 1 for G groups of one size), for a domain or phase those of its scarcer side: a difference is known no better than
either side.

References
----------
Liang & Zeger (1986), Biometrika 73; Cameron & Miller (2015), J. Human Resources 50; MacKinnon & Webb (2018),
Econometrics J. 21, on few clusters at a level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.forecast.scores import PROBABILISTIC, PredictionScore
from routestat.inference.base.estimate import (
    Estimate,
    check_level,
    effective_dof,
    with_interval,
    without_interval,
)
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.traces.metadata import Router
from routestat.traces.validation import PHASES

#: Names of the terms of depth: the change from the first layer to the last, and how much more the ends have.
DEPTH, ENDS = "depth", "depth, ends"
#: What is known of a document without a domain.
NO_DOMAIN = "(none)"
# A term whose part that the terms before it do not give is smaller than this share of it adds nothing.
_NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True)
class EffectTerm:
    """One term of the regression.

    Attributes
    ----------
    term : str
        ``reference``, ``domain X``, ``phase X``, ``depth`` or ``depth, ends``.
    reference : str
        The level that it is the difference to; empty for depth, all of them for the reference.
    estimate : Estimate
        In the units of the score.
    dof : float
        Degrees of freedom of its interval; NaN where there is none.
    log10_p : float
        That it is zero, two-sided; NaN for the reference, and where there is no interval.
    """

    term: str
    reference: str
    estimate: Estimate
    dof: float
    log10_p: float


@dataclass(frozen=True, eq=False)
class DataEffect:
    """The effect of domain, phase and depth on one score of one predictor.

    Attributes
    ----------
    predictor, score : str
    terms : tuple of EffectTerm
        Without those that are the same in all cells or follow from others.
    left_out : tuple of (str, str)
        Those terms, and why they are left out.
    n_tokens, n_cells, n_groups : int
        A token counts once for each target layer.
    reason : str
        Why there are no terms; empty if there are.
    """

    predictor: str
    score: str
    terms: tuple[EffectTerm, ...]
    left_out: tuple[tuple[str, str], ...]
    n_tokens: int
    n_cells: int
    n_groups: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Term:
    """A column of the design: its name, its reference, and which cells are at its level and at the reference."""

    name: str
    reference: str
    values: Floats
    sides: tuple[NDArray[np.bool_], ...] = ()


def effect_of_data(
    scores: Sequence[PredictionScore],
    routers: Sequence[Router],
    score: str = "recall_at_k",
    level: float = 0.95,
) -> DataEffect:
    """Regress the score of a predictor on domain, phase and depth.

    Parameters
    ----------
    scores : sequence of PredictionScore
        Of one predictor at several targets, not pooled; such as ``[s for s in board if s.predictor == name]``.
    routers : sequence of Router
        All of the board, in order of depth.
    score : str
        One of `routestat.forecast.scores.SCORES`.
    level : float
        Of confidence.

    Returns
    -------
    DataEffect
        Reference levels are the domain with most tokens, and prefill.

    Raises
    ------
    RoutestatError
        If the scores are of several predictors, or pooled over targets.
    """
    check_level(level)
    places = {router.name: place for place, router in enumerate(routers)}
    if len({one.predictor for one in scores}) != 1 or any(one.router not in places for one in scores):
        raise RoutestatError(
            "the effect of the data set: expected the scores of one predictor at single targets, got "
            f"{len({one.predictor for one in scores})} predictors or pooled targets; choose one from the board"
        )
    name = scores[0].predictor
    if score in PROBABILISTIC and not all(one.has_probabilities for one in scores):
        return DataEffect(
            name, score, (), (), 0, 0, 0, "this predictor ranks experts but gives no probabilities"
        )
    cells = _Cells.of(scores, [places[one.router] for one in scores], score)
    size = cells.tokens_of_groups()
    facts = int(cells.weight.sum()), len(cells.weight), int(np.count_nonzero(size))
    terms, left_out = _columns(cells)
    if why := too_few(size):
        return DataEffect(name, score, (), (), *facts, why)
    found = tuple(
        _term(cells, term, float(value), float(error), level)
        for term, value, error in zip(terms, *_fitted(cells, terms), strict=True)
    )
    return DataEffect(name, score, found, tuple(left_out), *facts)


@dataclass(frozen=True, slots=True)
class _Cells:
    """The rows of the regression ``[cell]``: scores, tokens, groups, levels and places."""

    score: Floats
    weight: Floats
    group: NDArray[np.int64]
    domain: NDArray[np.str_]
    phase: NDArray[np.str_]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Sequence[PredictionScore], places: Sequence[int], score: str) -> "_Cells":
        """Collect the cells of all targets that hold tokens."""
        tokens = np.concatenate([one.sums[:, 0] for one in scores])
        sums = np.concatenate([one.column(score) for one in scores])
        group = np.concatenate([one.cells.group for one in scores])
        domain, phase = (
            np.array([word for one in scores for word in getattr(one.cells, kind)], np.str_)
            for kind in ("domain", "phase")
        )
        place = np.repeat(places, [len(one.cells) for one in scores])
        used = tokens > 0
        named = np.where(domain == "", NO_DOMAIN, domain)
        return cls(
            sums[used] / tokens[used], tokens[used], group[used], named[used], phase[used], place[used]
        )

    def tokens_of_groups(self, chosen: NDArray[np.bool_] | None = None) -> Floats:
        """Tokens of each group ``[group]``, of all cells or of the chosen ones."""
        which = slice(None) if chosen is None else chosen
        return np.bincount(self.group[which], self.weight[which]).astype(np.float64)


def _columns(cells: _Cells) -> tuple[list[_Term], list[tuple[str, str]]]:
    """Return the terms of the design, and those that add nothing with the reason."""
    every, left_out = [], []
    references = []
    for kind, words in (("domain", cells.domain), ("phase", cells.phase)):
        levels, at = np.unique(words, return_inverse=True)
        most = np.bincount(at, cells.weight)
        key = -most if kind == "domain" else np.array([PHASES.index(one) for one in levels])
        order = np.argsort(key, kind="stable").tolist()
        if len(levels) < 2:
            left_out.append((kind, f"there is one {kind} only"))
            continue
        reference = str(levels[order[0]])
        references.append(f"{kind} {reference}")
        for one in order[1:]:
            sides = at == one, at == order[0]
            every.append(_Term(f"{kind} {levels[one]}", reference, sides[0].astype(np.float64), sides))
    first, last = (int(at(cells.place)) for at in (np.min, np.max)) if len(cells.place) else (0, 0)
    if first == last:
        left_out.append((DEPTH, "there is one target layer only"))
    else:
        place = (cells.place - first) / (last - first)
        every += [_Term(DEPTH, "", place - 0.5), _Term(ENDS, "", (2.0 * place - 1.0) ** 2)]
        references.append("the middle of the model")
    start = _Term("reference", ", ".join(references), np.ones(len(cells.weight)))
    kept = [start]
    root = np.sqrt(cells.weight)
    for term in every:
        known = np.stack([root * one.values for one in kept], axis=1)
        column = root * term.values
        remains = column - known @ np.linalg.lstsq(known, column, rcond=None)[0]
        if remains @ remains > _NEGLIGIBLE * (column @ column):
            kept.append(term)
        else:
            left_out.append(
                (term.name, "it follows from the terms before it: these cannot be distinguished here")
            )
    return kept, left_out


def _fitted(cells: _Cells, terms: Sequence[_Term]) -> tuple[Floats, Floats]:
    """Return the coefficients of the terms and their cluster-robust standard errors."""
    # A second to import, and needed here alone.
    from statsmodels.regression.linear_model import WLS  # noqa: PLC0415

    design = np.stack([term.values for term in terms], axis=1)
    fit = WLS(cells.score, design, weights=cells.weight).fit(
        cov_type="cluster", cov_kwds={"groups": cells.group, "use_correction": True}, use_t=True
    )
    return np.asarray(fit.params), np.asarray(fit.bse)


def _term(cells: _Cells, term: _Term, value: float, error: float, level: float) -> EffectTerm:
    """Return a term with its interval; none where a side of it has too few groups."""
    size = cells.tokens_of_groups()
    groups = int(np.count_nonzero(size))
    dof, nan = effective_dof(size[size > 0]), float("nan")
    for side, of in zip(term.sides, (term.name, term.reference), strict=False):
        own = cells.tokens_of_groups(side)
        if why := too_few(own, f"of {of}"):
            return EffectTerm(term.name, term.reference, without_interval(value, groups, why), nan, nan)
        dof = min(dof, effective_dof(own[own > 0]))
    estimate = with_interval(value, error, dof, groups, level)
    p = nan if term.name == "reference" else float(log10_t_tails(value / error, dof)) if error > 0 else nan
    return EffectTerm(term.name, term.reference, estimate, dof, p)
