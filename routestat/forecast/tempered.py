"""Tempered predictors of the expert view: naive Bayes and ridge, put together by exponents.

The tempered ones make log weights of the conditional-Bernoulli law from parts, each linear in a token's features:
the log odds of the target's own loads; naive Bayes, the shifts of these log odds that each of the sources' experts
brings; ridge, how far the predicted probability lies from the load in units of the indicator's standard deviation.
Experts of one token depend on each other, so naive Bayes says everything several times over; ridge does not, but
says probabilities, not log odds. Exponents that multiply the parts mend both: one for the load, one for each source
of naive Bayes, one for ridge, fitted by likelihood, which is concave in them. With top-1 routers and one source
naive Bayes alone, at exponents of one, is the exact law.

The load alone has a fitted exponent too (`fit_load`): it is what every model becomes when its other exponents are
zero. Were the load taken as counted there and tempered here, a longer model would predict better than the load even
where sources say nothing, because it shrinks loads that differ by chance alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.counting.moments import Moments, tempered_likelihood
from routestat.forecast import ridge
from routestat.inference.dirichlet import resolve_alpha
from routestat.inference.tables import Floats, Integers

#: The parts that each kind of tempered predictor puts together; the load always is one more.
KINDS = {"tempered-bayes": ("bayes",), "ridge": ("ridge",), "factorised": ("bayes", "ridge")}
#: Pulls exponents towards the load alone, as much as so much curvature of the log likelihood would.
PULL = 1.0
# The load's exponent is not negative, and not zero either: experts keep their order where loads say next to nothing.
LEAST_EXPONENT = 1e-6
# Where there is no fold to choose a penalty by.
PLAIN_PENALTY = 100.0
# Newton begins near where exponents tend to lie and stops within a part of their error.
START, STEPS, CLOSE = {"bayes": 0.2, "ridge": 2.0}, 40, 1e-2


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
    """

    bias: Floats
    weights: Floats
    whole: tuple[Floats, Floats] | None
    exponents: Floats
    penalties: Floats


def fit_tempered(
    moments: Moments,
    asked: Mapping[int, Sequence[str]],
    alpha: str | float,
    whole: bool = False,
    loads: Integers | None = None,
) -> dict[tuple[int, str], Tempered]:
    """Tempered predictors by (width, kind), each from the first `width` sources of a design.

    Nothing of a fold is used to predict it: its model is fitted to the other folds, with the penalty and the
    exponents at which a model without the next fold as well predicts that next fold best. With fewer than three
    folds there is no such model, and exponents stay with the load alone.

    Parameters
    ----------
    moments : Moments
    asked : mapping of width to kinds
    alpha : str or float
        Dirichlet prior of a row P(· | expert of a source), as for `resolve_alpha`.
    whole : bool
        Whether to fit the factorised ones to all folds too.
    loads : int array ``[fold, j]``, optional
        How often each expert of the target was chosen, on all of its tokens; those of the design unless given.

    Returns
    -------
    Nothing at all where some fold's model would have no tokens to be fitted to.
    """
    tokens = moments.across[:, slice(*moments.design.offsets[:2])].sum(axis=(1, 2), dtype=np.int64)
    if len(tokens) < 2 or tokens.max() == tokens.sum():
        return {}
    priors = _priors(moments, alpha)
    fitted = {}
    for width, kinds in asked.items():
        tables = _Tables(moments, width, alpha, priors, loads)
        fits = _fit_width(tables, kinds, nested=_can_nest(tokens), whole=whole)
        fitted.update({(width, kind): fit for kind, fit in fits.items()})
    return fitted


def fit_load(moments: Moments, loads: Integers, alpha: str | float) -> Floats:
    """Log weights ``[fold, j]`` of the target's own load, each without the fold and tempered without it.

    The model that all of `fit_tempered` are extensions of: the load's log odds, multiplied by the exponent at which
    the load of all folds but this one and the next predicts the next fold best. Loads that differ by chance alone
    have an exponent near zero, and predict as uniform choices do.

    Parameters
    ----------
    moments : Moments
        Of a design without sources: only its sampled tokens are looked at.
    loads : int array ``[fold, j]``
        How often each expert was chosen.
    alpha : str or float
        Dirichlet prior of the load where it is a number; a learned one is 1/E, and the exponent does the rest.
    """
    n_folds, top_k = len(loads), moments.design.target.top_k
    total, rows = loads.sum(axis=0), range(n_folds)
    base = np.array([_base(total - loads[fold], alpha, top_k)[1] for fold in rows])
    if not _can_nest(loads.sum(axis=1)):
        return base
    after = [(fold + 1) % n_folds for fold in rows]
    inner = np.array([_base(total - loads[fold] - loads[after[fold]], alpha, top_k)[1] for fold in rows])
    fitted = _exponents(moments, (moments.folds - 1) % n_folds, _Parts(inner, {}, {}, (), ()), ())
    return np.asarray(np.maximum(fitted, LEAST_EXPONENT) * base)


def _can_nest(tokens: NDArray[np.number]) -> bool:
    """Whether tokens ``[fold]`` are left once any fold and the next are taken away."""
    return len(tokens) > 2 and bool(max(tokens + np.roll(tokens, -1)) < tokens.sum())


def _fit_width(tables: "_Tables", kinds: Sequence[str], nested: bool, whole: bool) -> dict[str, Tempered]:
    n_folds, sample = tables.n_folds, tables.sample
    alone = [(f,) for f in range(n_folds)]
    pairs = [(f, (f + 1) % n_folds) for f in range(n_folds)]
    errors = np.array([tables.errors(out) if nested else np.zeros(len(ridge.PENALTIES)) for out in pairs])
    penalties = np.array([ridge.best_penalty(e) if e.any() else PLAIN_PENALTY for e in errors])
    pooled = ridge.best_penalty(errors.sum(axis=0)) if errors.any() else PLAIN_PENALTY
    inner = tables.parts(pairs, penalties) if nested else None
    left_out, all_in = tables.parts(alone, penalties), tables.parts([()], [pooled])
    fitted = {}
    for kind in kinds:
        names, kept = KINDS[kind], None
        exponents = np.tile(np.eye(1 + len(left_out.split(names)))[0], (n_folds, 1))
        if inner is not None:
            # The tokens of a fold set the exponents of the fold before it.
            exponents = _exponents(sample, (sample.folds - 1) % n_folds, inner, names)
        if whole and kind == "factorised":
            common = _exponents(sample, sample.folds, left_out, names, shared=True)
            both = zip(all_in.mixed(names, common[:1]), left_out.mixed(names, common), strict=True)
            bias, weights = (np.concatenate(one_and_more) for one_and_more in both)
            kept = (bias, weights)
        fitted[kind] = Tempered(*left_out.mixed(names, exponents), kept, exponents, penalties)
    return fitted


def _priors(moments: Moments, alpha: str | float) -> list[list[Floats]]:
    """Alpha ``[j]`` of every source, learned from each third of the folds, then from all.

    For any two folds there is a third that holds neither.
    """
    design = moments.design
    thirds = [moments.across[third::3].sum(axis=0, dtype=np.int64) for third in range(3)]
    blocks = [slice(*ends) for ends in pairwise(design.offsets)]
    return [[resolve_alpha(table[block], alpha) for block in blocks] for table in (*thirds, sum(thirds))]


def log_odds(inclusion: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """Log weights that give about these inclusion probabilities: exact for k = 1, log p/(1 − p) for large k."""
    return np.asarray(np.log(inclusion) - np.log1p(-inclusion * ((top_k - 1) / top_k)))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What log weights are made of.

    ``base[model, j]`` is the load's; ``bias[model, j]`` and ``weights[model, feature, j]`` go by the part's name.
    Naive Bayes is a part for each source: `blocks` and `slots` are the features and the slots of the sources.
    """

    base: Floats
    bias: dict[str, Floats]
    weights: dict[str, Floats]
    blocks: tuple[slice, ...]
    slots: tuple[slice, ...]

    def split(self, names: Sequence[str]) -> list[tuple[int, slice, slice]]:
        """Parts after the load: the place of the name, the features, the slots."""
        parts: list[tuple[int, slice, slice]] = []
        for at, name in enumerate(names):
            whole = slice(0, self.blocks[-1].stop), slice(0, self.slots[-1].stop)
            sources = zip(self.blocks, self.slots, strict=True) if name == "bayes" else [whole]
            parts += [(at, features, slots) for features, slots in sources]
        return parts

    def mixed(self, names: Sequence[str], exponents: Floats) -> tuple[Floats, Floats]:
        """Bias and weights once every part is multiplied by its exponent ``[model, 1 + part]``."""
        bias, weights = exponents[:, :1] * self.base, np.zeros_like(self.weights[names[0]])
        for (at, features, _), power in zip(self.split(names), exponents.T[1:], strict=True):
            bias = bias + power[:, None] * self.bias[names[at]]
            weights[:, features] += power[:, None, None] * self.weights[names[at]][:, features]
        return bias, weights

    def arrays(self, names: Sequence[str]) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """The same for `tempered_likelihood`."""
        if not names:
            models, experts = self.base.shape
            nothing = np.zeros((0, models, experts)), np.zeros((0, models, 0, experts))
            return self.base, *nothing, np.zeros((0, 3), np.int64)
        spans = [(at, slots.start, slots.stop) for at, _, slots in self.split(names)]
        bias, weights = ([kept[name] for name in names] for kept in (self.bias, self.weights))
        return self.base, np.array(bias), np.array(weights), np.array(spans, np.int64)


class _Tables:
    """The tables of a design's first sources, ready to be summed over all folds but some."""

    def __init__(
        self,
        moments: Moments,
        width: int,
        alpha: str | float,
        priors: Sequence[Sequence[Floats]],
        loads: Integers | None,
    ) -> None:
        design = moments.design
        self.top_k, self.n_folds = design.target.top_k, len(moments.across)
        self.blocks = [slice(*ends) for ends in pairwise(design.offsets[: width + 1])]
        ends = np.cumsum([0, *(router.top_k for router, _ in design.sources[:width])]).tolist()
        self.spans = [slice(*both) for both in pairwise(ends)]
        self.slots, features = ends[-1], design.offsets[width]
        self.alpha, self.priors = alpha, priors
        self.within = moments.within[:, :features, :features].astype(np.float64)
        self.across = moments.across[:, :features].astype(np.float64)
        self.sums = (self.within.sum(axis=0), self.across.sum(axis=0))
        self.loads = self.across.sum(axis=1) / self.slots if loads is None else loads
        self.sample = replace(moments, features=np.ascontiguousarray(moments.features[:, : self.slots]))

    def without(self, out: Sequence[int]) -> ridge.Moments:
        """Moments of all folds but these."""
        within, across = self.sums
        for fold in out:
            within, across = within - self.within[fold], across - self.across[fold]
        return ridge.moments(within, across, self.top_k, self.slots)

    def errors(self, out: tuple[int, int]) -> Floats:
        """Squared errors ``[penalty]`` of a ridge without these two folds on the second of them."""
        test = ridge.moments(self.within[out[1]], self.across[out[1]], self.top_k, self.slots)
        return ridge.held_out_errors(self.without(out), test)

    def parts(self, outs: Sequence[Sequence[int]], penalties: Sequence[float] | Floats) -> _Parts:
        """The parts of a model without each of these sets of folds."""
        made = [self._part(out, penalty) for out, penalty in zip(outs, penalties, strict=True)]
        base, lift, about, slope = (np.array(part) for part in zip(*made, strict=True))
        bias, weights = {"bayes": np.zeros_like(base), "ridge": about}, {"bayes": lift, "ridge": slope}
        return _Parts(base, bias, weights, tuple(self.blocks), tuple(self.spans))

    def _part(self, out: Sequence[int], penalty: float) -> tuple[Floats, Floats, Floats, Floats]:
        of = self.without(out)
        load, base = _base(self.loads.sum(axis=0) - self.loads[list(out)].sum(axis=0), self.alpha, self.top_k)
        third = next(t for t in (0, 1, 2) if t not in {fold % 3 for fold in out}) if out else 3
        given = [
            _share(of.across[block], prior, self.top_k)
            for block, prior in zip(self.blocks, self.priors[third], strict=False)
        ]
        fit = ridge.fit_ridge(of, penalty)
        unit = np.sqrt(load * (1.0 - load))
        about = (fit.intercept - of.targets / of.tokens) / unit
        return base, log_odds(np.concatenate(given), self.top_k) - base, about, fit.weights / unit


def _base(load: NDArray[np.number], alpha: str | float, top_k: int) -> tuple[Floats, Floats]:
    """Inclusion probabilities and log weights ``[j]`` of a load: a learned prior is worth one choice in all."""
    single = 1.0 / len(load) if isinstance(alpha, str) else float(alpha)
    share = _share(np.asarray(load, np.float64), np.full(len(load), single), top_k)
    return share, log_odds(share, top_k)


def _share(counts: Floats, prior: Floats, top_k: int) -> Floats:
    """Inclusion probabilities ``[..., j]``: k times the posterior mean share of a row's choices."""
    total = counts.sum(axis=-1, keepdims=True) + prior.sum()
    return np.asarray(np.clip(top_k * (counts + prior) / total, 1e-9, 1.0 - 1e-9))


def _exponents(
    sample: Moments, models: NDArray[np.int64], parts: _Parts, names: Sequence[str], shared: bool = False
) -> Floats:
    """Exponents ``[model, 1 + part]`` of greatest likelihood on the sampled tokens, each model's own or one for all.

    Newton steps, halved where they overshoot; the likelihood is concave.
    """
    made, split = parts.arrays(names), parts.split(names)
    alone = np.zeros((len(parts.base), 1 + len(split)))
    alone[:, 0] = 1.0
    at, best, reached = alone.copy(), alone, np.full(len(alone), -np.inf)
    at[:, 1:] = [START[names[name]] for name, _, _ in split]
    step, done = np.zeros_like(at), np.zeros(len(at), np.bool_)
    for _ in range(STEPS):
        value, slope, curve = tempered_likelihood(sample, models, made, at)
        if shared:
            value, slope, curve = (
                np.broadcast_to(x.sum(axis=0, keepdims=True), x.shape) for x in (value, slope, curve)
            )
        away = at - alone
        value, slope = value - 0.5 * PULL * (away**2).sum(axis=1), slope - PULL * away
        better = value >= reached - 1e-9 * np.abs(reached)
        best, reached = np.where(better[:, None], at, best), np.where(better, value, reached)
        newton = np.linalg.solve(curve + PULL * np.eye(at.shape[1]), slope[..., None])[..., 0]
        step = np.where(better[:, None], newton, step / 2.0)
        at = np.where(done[:, None], at, best + step)
        # What is left after a step so small is far smaller still.
        done |= (np.abs(step) < CLOSE).all(axis=1)
        if done.all():
            break
    return at
