"""Tempered predictors of the expert view: naive Bayes and ridge, combined by exponents.

The log weights of the conditional-Bernoulli distribution are a sum of parts, each linear in a token's features: the
log odds of the target's own loads; naive Bayes, the shift of these log odds by each of the sources' experts; ridge,
the difference between the predicted probability and the load in units of the indicator's standard deviation. Experts
of one token depend on each other, so naive Bayes counts the same information several times; ridge does not, but
gives probabilities, not log odds. Exponents that multiply the parts correct both: one for the load, one for each
source of naive Bayes, one for ridge, fitted by maximum likelihood, which is concave in them. With top-1 routers and
one source, naive Bayes with exponents of one is the exact conditional distribution.

The load alone has a fitted exponent too (`fit_load`): every model is the load when its other exponents are zero. If
the load were used as counted by itself and tempered in longer models, these would predict better even where sources
carry no information, because tempering shrinks loads that differ by chance alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.moments import Moments
from routestat.forecast import ridge
from routestat.forecast.exponents import Parts, greatest_exponents, log_odds
from routestat.forecast.ridge_of_tokens import TokenErrors, TokenRidges
from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.prior import resolve_alpha

#: The parts of each kind of tempered predictor; the load is always one more.
KINDS = {"tempered-bayes": ("bayes",), "ridge": ("ridge",), "factorised": ("bayes", "ridge")}
# The load's exponent is above zero, so that experts keep their order where loads hardly differ.
LEAST_EXPONENT = 1e-6
# The penalty where no fold is left to choose one by, and the place where a search begins.
PLAIN_PENALTY, START = 100.0, len(ridge.PENALTIES) // 2
# Fewer tokens for each feature are solved for as tokens: a penalty needs an equation for each of those of a fold only.
_FEW = 1.5


@dataclass(frozen=True, slots=True)
class Tempered:
    """Log weights ``bias[j] + Σ weights[feature, j]`` of several models of one kind.

    Attributes
    ----------
    bias, weights : float arrays ``[fold, j]``, ``[fold, feature, j]``
        Without each fold, and tempered without it: for held-out scores.
    whole : pair of float arrays ``[1 + fold, j]``, ``[1 + fold, feature, j]``, or None
        Fitted to all folds, then without each, all with the same exponents: for errors by the jackknife.
    exponents : float array ``[fold, 1 + part]``
        Of the load, then of each part.
    penalties : float array ``[fold]``
    base : float array ``[fold, j]``
        The load's own log weights without each fold, the same for all predictors of a target.
    """

    bias: Floats
    weights: Floats
    whole: tuple[Floats, Floats] | None
    exponents: Floats
    penalties: Floats
    base: Floats


def fit_tempered(
    moments: Moments,
    kinds: Mapping[int, Sequence[str]],
    alpha: str | float,
    whole: bool = False,
    loads: "Loads | None" = None,
) -> dict[tuple[int, str], Tempered]:
    """Fit tempered predictors by (width, kind), each from the first `width` sources of a design.

    No token of a fold is used to predict it: its model is fitted to the other folds, with the penalty and the
    exponents at which a model without the next fold as well predicts that next fold best. With fewer than three
    folds there is no such model, and all exponents but the load's are zero.

    Parameters
    ----------
    moments : Moments
    kinds : mapping of width to sequence of str
    alpha : str or float
        Dirichlet prior of a row P(· | expert of a source), as for `resolve_alpha`.
    whole : bool
        Whether to fit the factorised ones to all folds too.
    loads : Loads, optional
        Of the target, on all of its tokens; of the tokens of the design unless given.

    Returns
    -------
    dict of (width, kind) to Tempered
        Empty where some fold's model would have no tokens to be fitted to.
    """
    tokens = moments.across[:, slice(*moments.design.offsets[:2])].sum(axis=(1, 2), dtype=np.int64)
    if len(tokens) < 2 or tokens.max() == tokens.sum():
        return {}
    priors = _priors(moments, alpha)
    fitted = {}
    for width, own in kinds.items():
        tables = _Tables(moments, width, alpha, priors, loads)
        fits = _fit_width(tables, own, nested=_can_nest(tokens), whole=whole)
        fitted.update({(width, kind): fit for kind, fit in fits.items()})
    return fitted


class Loads:
    """How often each expert of a target was chosen ``[fold, j]``, and what that gives without some folds.

    All models of a target start from the same loads, which are fitted once.
    """

    def __init__(self, counts: NDArray[np.number], alpha: str | float, top_k: int) -> None:
        self.counts, self._alpha, self._top_k = counts, alpha, top_k
        self._total, self._found = counts.sum(axis=0), dict[tuple[int, ...], tuple[Floats, Floats]]()

    def without(self, out: Sequence[int]) -> tuple[Floats, Floats]:
        """Inclusion probabilities and log weights ``[j]`` of all folds but these, a single row."""
        key = tuple(sorted(out))
        if key not in self._found:
            load = self._total - self.counts[list(key)].sum(axis=0)
            prior = resolve_alpha(load[None], self._alpha)
            share = _share(np.asarray(load, np.float64), prior, self._top_k)
            self._found[key] = share, log_odds(share, self._top_k)
        return self._found[key]


def fit_load(moments: Moments, loads: Loads) -> Tempered:
    """Fit the target's own load: for each fold without the fold, with one exponent and no weights.

    All models of `fit_tempered` extend this one: the load's log odds, multiplied by the exponent at which the load of
    all folds but this one and the next predicts the next fold best. Loads that differ by chance alone have an
    exponent near zero and predict like uniform choices.

    Parameters
    ----------
    moments : Moments
        Of a design without sources; only its sampled tokens are used.
    loads : Loads
    """
    n_folds = len(loads.counts)
    rows = range(n_folds)
    base = np.array([loads.without((fold,))[1] for fold in rows])
    exponents = np.ones((n_folds, 1))
    if _can_nest(loads.counts.sum(axis=1)):
        inner = np.array([loads.without((fold, (fold + 1) % n_folds))[1] for fold in rows])
        parts = Parts(inner, {}, {}, (), ()).of_sample(moments, (moments.folds - 1) % n_folds, ())
        fitted = greatest_exponents(parts, ())
        exponents = np.maximum(fitted, LEAST_EXPONENT)
    nothing = np.zeros((n_folds, 0, base.shape[1]))
    return Tempered(exponents * base, nothing, None, exponents, np.full(n_folds, np.nan), base)


def _can_nest(tokens: NDArray[np.number]) -> bool:
    """Whether tokens ``[fold]`` are left once any fold and the next are taken away."""
    return len(tokens) > 2 and bool(max(tokens + np.roll(tokens, -1)) < tokens.sum())


def _fit_width(tables: "_Tables", kinds: Sequence[str], nested: bool, whole: bool) -> dict[str, Tempered]:
    n_folds, sample = tables.n_folds, tables.sample
    alone = [(f,) for f in range(n_folds)]
    pairs = [(f, (f + 1) % n_folds) for f in range(n_folds)]
    errors = [tables.errors(out) for out in pairs] if nested else []
    chosen = _penalties(errors)
    penalties = np.array(
        [PLAIN_PENALTY if at < 0 else ridge.PENALTIES[at] for at in chosen] or [PLAIN_PENALTY] * n_folds
    )
    every = list(dict.fromkeys(name for kind in kinds for name in KINDS[kind]))
    # The tokens of a fold set the exponents of the fold before it.
    inner = None
    if nested:
        ridges = [error.fit(at) if at >= 0 else None for error, at in zip(errors, chosen, strict=True)]
        inner = tables.parts(pairs, penalties, ridges).of_sample(sample, (sample.folds - 1) % n_folds, every)
    left_out = tables.parts(alone, penalties)
    fitted = {}
    for kind in kinds:
        names, kept = KINDS[kind], None
        exponents = np.tile(np.eye(1 + len(left_out.split(names)))[0], (n_folds, 1))
        if inner is not None:
            exponents = greatest_exponents(inner, names)
        if whole and kind == "factorised":
            own = left_out.of_sample(sample, sample.folds, names)
            common = greatest_exponents(own, names, shared=True)
            all_in = tables.parts([()], [_pooled(errors, chosen)])
            both = zip(all_in.mixed(names, common[:1]), left_out.mixed(names, common), strict=True)
            bias, weights = (np.concatenate(one_and_more) for one_and_more in both)
            kept = (bias, weights)
        fitted[kind] = Tempered(*left_out.mixed(names, exponents), kept, exponents, penalties, left_out.base)
    return fitted


def _penalties(errors: Sequence[ridge.HeldOutErrors | TokenErrors]) -> list[int]:
    """Return the place of each fold's penalty of least error, −1 where there is nothing to choose by.

    No search begins where that of another fold ended: what the other has seen would decide between two minima.
    """
    found = [ridge.least_error(fold.error, len(ridge.PENALTIES), START) for fold in errors]
    return [at if fold.error(at) else -1 for fold, at in zip(errors, found, strict=True)]


def _pooled(errors: Sequence[ridge.HeldOutErrors | TokenErrors], chosen: Sequence[int]) -> float:
    """Return the penalty of least error on all folds together."""
    known = [at for at in chosen if at >= 0]
    if not known:
        return PLAIN_PENALTY

    def error(at: int) -> float:
        return sum(fold.error(at) for fold in errors)

    return ridge.PENALTIES[ridge.least_error(error, len(ridge.PENALTIES), int(np.median(known)))]


def _priors(moments: Moments, alpha: str | float) -> list[list[Floats]]:
    """Alpha ``[j]`` of every source, learned from each third of the folds, then from all.

    For any two folds there is a third that holds neither.
    """
    design = moments.design
    thirds = [moments.across[third::3].sum(axis=0, dtype=np.int64) for third in range(3)]
    blocks = [slice(*ends) for ends in pairwise(design.offsets)]
    return [[resolve_alpha(table[block], alpha) for block in blocks] for table in (*thirds, sum(thirds))]


class _Tables:
    """The tables of a design's first sources, ready to be summed over all folds but some."""

    def __init__(
        self,
        moments: Moments,
        width: int,
        alpha: str | float,
        priors: Sequence[Sequence[Floats]],
        loads: "Loads | None",
    ) -> None:
        design = moments.design
        self.top_k, self.n_folds = design.target.top_k, len(moments.across)
        self.blocks = [slice(*ends) for ends in pairwise(design.offsets[: width + 1])]
        ends = np.cumsum([0, *(router.top_k for router, _ in design.sources[:width])]).tolist()
        self.spans = [slice(*both) for both in pairwise(ends)]
        self.slots, features = ends[-1], design.offsets[width]
        self.alpha, self.priors = alpha, priors
        self._within = moments.within[:, :features, :features]
        self.across = moments.across[:, :features].astype(np.float64)
        self.total = self.across.sum(axis=0)
        self._few = _token_ridges(moments, self.slots, features)
        if self._few is None:
            self._within = self._within.astype(np.float64)
            self._pairs = self._within.sum(axis=0)
        self.loads = (
            Loads(self.across.sum(axis=1) / self.slots, alpha, self.top_k) if loads is None else loads
        )
        self.sample = replace(moments, features=np.ascontiguousarray(moments.features[:, : self.slots]))

    def without(self, out: Sequence[int]) -> ridge.TokenMoments:
        """Moments of all folds but these."""
        within = self._pairs
        for fold in out:
            within = within - self._within[fold]
        return ridge.moments(within, self.across_without(out), self.top_k, self.slots)

    def across_without(self, out: Sequence[int]) -> Floats:
        """Tokens of all folds but these with a feature and an expert of the target."""
        return self.total - self.across[list(out)].sum(axis=0)

    def errors(self, out: tuple[int, int]) -> ridge.HeldOutErrors | TokenErrors:
        """Squared errors of a ridge without these two folds on the second of them."""
        if self._few is not None:
            return self._few.errors(out)
        test = ridge.moments(self._within[out[1]], self.across[out[1]], self.top_k, self.slots)
        return ridge.HeldOutErrors(self.without(out), test)

    def fit(self, out: Sequence[int], penalty: float) -> ridge.Ridge:
        """Fit a ridge without these folds."""
        if self._few is not None:
            return self._few.fit(out, penalty)
        return ridge.fit_ridge(self.without(out), penalty)

    def parts(
        self,
        outs: Sequence[Sequence[int]],
        penalties: Sequence[float] | Floats,
        fitted: Sequence[ridge.Ridge | None] | None = None,
    ) -> Parts:
        """Return the parts of a model without each of these sets of folds; ridges may be `fitted` already."""
        ridges = fitted or [None] * len(outs)
        made = [self._part(*one) for one in zip(outs, penalties, ridges, strict=True)]
        base, lift, about, slope = (np.array(part) for part in zip(*made, strict=True))
        bias, weights = {"bayes": np.zeros_like(base), "ridge": about}, {"bayes": lift, "ridge": slope}
        return Parts(base, bias, weights, tuple(self.blocks), tuple(self.spans))

    def _part(
        self, out: Sequence[int], penalty: float, fitted: ridge.Ridge | None
    ) -> tuple[Floats, Floats, Floats, Floats]:
        across = self.across_without(out)
        load, base = self.loads.without(out)
        third = next(t for t in (0, 1, 2) if t not in {fold % 3 for fold in out}) if out else 3
        given = [
            _share(across[block], prior, self.top_k)
            for block, prior in zip(self.blocks, self.priors[third], strict=False)
        ]
        fit = fitted or self.fit(out, penalty)
        unit = np.sqrt(load * (1.0 - load))
        targets = across.sum(axis=0)
        about = (fit.intercept - self.top_k * targets / targets.sum()) / unit
        return base, log_odds(np.concatenate(given), self.top_k) - base, about, fit.weights / unit


def _token_ridges(moments: Moments, slots: int, features: int) -> TokenRidges | None:
    """Return the ridges of the tokens themselves where all were kept and they are few against the features."""
    tokens = int(moments.across.sum(dtype=np.int64)) // (moments.features.shape[1] * moments.targets.shape[1])
    if tokens != len(moments.folds) or tokens >= _FEW * features:
        return None
    rows = moments.features[:, :slots]
    return TokenRidges(rows, moments.targets, moments.folds, features, moments.design.target.n_experts)


def _share(counts: Floats, prior: Floats, top_k: int) -> Floats:
    """Inclusion probabilities ``[..., j]``: k times the posterior mean share of a row's choices."""
    total = counts.sum(axis=-1, keepdims=True) + prior.sum()
    return np.asarray(np.clip(top_k * (counts + prior) / total, 1e-9, 1.0 - 1e-9))
