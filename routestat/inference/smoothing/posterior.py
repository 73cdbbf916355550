"""Rows of counts under a Dirichlet prior: evidence, prior, posterior.

One row is one source state; its counts are a multinomial whose probabilities have the prior Dirichlet(alpha).
Tokens are taken as exchangeable within a row. Only `transition_posterior` of tables by group allows for the
dependence of tokens within documents.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.special import count_rows, log_rising
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.smoothing.design_effect import TOO_NARROW, row_weight, transition_design_effect
from routestat.inference.smoothing.prior import positive_alpha, resolve_alpha


def log_evidence(counts: ArrayLike, alpha: ArrayLike) -> Floats | float:
    """Compute the log probability of each row's ordered tokens, with its probabilities integrated out.

    lnG(A) - lnG(A + n) + sum over k of [lnG(alpha_k + c_k) - lnG(alpha_k)], with A = sum of alpha; without the
    multinomial coefficient. A row without tokens has 0.

    Parameters
    ----------
    counts
        Whole counts `[..., K]`.
    alpha
        One positive number for every column, or an array that broadcasts to `counts` (such as `[K]`).

    Returns
    -------
    The log evidence `[...]` in nats; a float for a single row.

    Raises
    ------
    RoutestatError
        For counts that are not whole numbers of zero or more; for alpha of zero or less, or of another length.
    """
    counts = count_rows(counts)
    return _log_evidence(counts, positive_alpha(alpha, counts.shape))


def _log_evidence(counts: Floats, alpha: Floats) -> Floats | float:
    evidence = log_rising(alpha, counts).sum(axis=-1) - log_rising(alpha.sum(axis=-1), counts.sum(axis=-1))
    return float(evidence) if evidence.ndim == 0 else read_only(evidence)


def beta_interval(a: ArrayLike, b: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Compute the equal-tailed limits (low, high) of Beta(a, b); arrays broadcast.

    With a of zero the probability is 0, with b of zero it is 1.
    """
    mine, rest = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    known, tail = (mine <= 0) | (rest <= 0), (1.0 - level) / 2.0
    own, other = np.where(known, 1.0, mine), np.where(known, 1.0, rest)
    ends = special.betaincinv(own, other, tail), special.betainccinv(own, other, tail)
    low, high = (read_only(np.where(known, (rest <= 0).astype(np.float64), end)) for end in ends)
    return low, high


@dataclass(frozen=True, slots=True, eq=False)
class TransitionPosterior:
    """The Dirichlet posterior of every row; see `transition_posterior`.

    Attributes
    ----------
    alpha
        The prior, broadcast to the counts `[..., K]`.
    concentration
        The posterior's parameters `[..., K]`: alpha + counts where tokens are taken as independent; with a design
        effect the same mean with a smaller weight (see `row_weight`).
    mean, mode, sd
        Of each probability `[..., K]`. The mode puts 0 wherever concentration <= 1 and shares the rest in
        proportion to concentration - 1, the limit at the boundary; NaN for a row where no concentration
        exceeds 1, because its density has no single peak.
    log_evidence
        Natural log evidence of each row's ordered sequence `[...]`, tokens taken as independent; a float for a single
        row.
    design_effect
        Dependent tokens per independent one in `sd`, `interval` and `sample`.
    note
        A caution about these; empty where groups of documents were given.
    """

    alpha: Floats
    concentration: Floats
    mean: Floats
    mode: Floats
    sd: Floats
    log_evidence: Floats | float
    design_effect: float = 1.0
    note: str = ""

    def summary(self) -> str:
        """Describe the posterior and the basis of its intervals in words."""
        rows, width = math.prod(self.mean.shape[:-1]), self.mean.shape[-1]
        text = f"Dirichlet posterior of {rows} row{'' if rows == 1 else 's'} of {width} probabilities."
        return f"{text} {self.note or f'Design effect {self.design_effect:.3g}.'}"

    def __repr__(self) -> str:
        """Return the summary."""
        return f"TransitionPosterior({self.summary()})"

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Compute equal-tailed credible limits (low, high) `[..., K]` of each probability from its Beta margin."""
        if not 0 < level < 1:
            raise RoutestatError(f"level: expected a share between 0 and 1, got {level}; use 0.95")
        mine = self.concentration
        return beta_interval(mine, mine.sum(axis=-1, keepdims=True) - mine, level)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw `n` independent samples of all rows, `[n, ..., K]`; every row of every draw sums to one."""
        if not isinstance(rng, np.random.Generator):
            raise RoutestatError(
                "rng: expected a numpy Generator, got something else; use np.random.default_rng(seed)"
            )
        if n < 1:
            raise RoutestatError(f"n: expected one draw or more, got {n}; use at least one")
        return read_only(draw_rows(np.broadcast_to(self.concentration, (n, *self.concentration.shape)), rng))


def draw_rows(concentration: ArrayLike, rng: np.random.Generator) -> Floats:
    """Draw each Dirichlet row `[..., K]` once for these concentrations, above zero."""
    a = np.asarray(concentration, np.float64)
    # Gamma(a) is Gamma(a + 1) times U**(1/a). In logs, because a row of tiny alphas would underflow to 0 / 0.
    logs = np.log(rng.standard_gamma(a + 1.0)) - rng.standard_exponential(a.shape) / a
    return np.asarray(special.softmax(logs, axis=-1))


def transition_posterior(
    counts: ArrayLike, alpha: ArrayLike | str, *, grouped: bool = False
) -> TransitionPosterior:
    """Compute the posterior of each row's probabilities, Dirichlet(alpha + counts).

    For a table that was summed over documents tokens are taken as independent. Tokens of one document are dependent,
    so standard deviations, intervals and draws are then too narrow by the root of the design effect; `note` says so.
    From tables by group of documents (`grouped`) the design effect is estimated, as in `fit_chain`.

    Parameters
    ----------
    counts
        Whole counts `[..., K]`, one row per source; rows and columns without tokens stay. With `grouped`:
        `[group, source, K]`, which are added up.
    alpha
        One positive number, an array that broadcasts to `counts` (such as `[K]`), or the name of a rule that is
        applied to all rows together (see `resolve_alpha`).
    grouped
        Whether the first axis is that of groups, which are taken as independent.

    Raises
    ------
    RoutestatError
        For counts that are not whole numbers of zero or more; for alpha of zero or less, or of another length; for
        grouped counts of other than three axes.
    """
    tokens, effect = count_rows(counts), None
    if grouped:
        if tokens.ndim != 3:
            raise RoutestatError(
                f"counts: expected [group, source, target] with grouped=True, got {tokens.ndim} axes; count with groups"
            )
        # A single group holds no information on the dependence within groups.
        if tokens.any(axis=(1, 2)).sum() > 1:
            effect = transition_design_effect(tokens)
        tokens = tokens.sum(axis=0)
    if not isinstance(alpha, str):
        return posterior_of(tokens, positive_alpha(alpha, tokens.shape), design_effect=effect)
    if alpha == "hierarchical" and tokens.ndim > 2:
        raise RoutestatError(
            f"alpha: hierarchical rows of {tokens.ndim - 1} sources back off one by one; use fit_second_order"
        )
    prior = resolve_alpha(tokens.reshape(-1, tokens.shape[-1]), alpha)
    return posterior_of(tokens, positive_alpha(prior, tokens.shape), alpha, effect)


def posterior_of(
    tokens: Floats, prior: Floats, rule: str | float = 0.0, design_effect: float | None = None
) -> TransitionPosterior:
    """Compute the posterior of rows `[..., K]` with a prior of the same shape; see `transition_posterior`.

    Parameters
    ----------
    tokens, prior
        Counts, and alpha.
    rule
        The rule of the prior, which bounds its weight; see `row_weight`.
    design_effect
        Dependent tokens per independent one; None where it is not known.
    """
    mine = prior + tokens
    whole = mine.sum(axis=-1, keepdims=True)
    mean = mine / whole
    if design_effect is not None:
        own, learned_from = tokens.sum(axis=-1) / design_effect, tokens.sum() / design_effect
        whole = row_weight(rule, prior.sum(axis=-1), learned_from, own)[..., None]
        mine = mean * whole
    over = np.maximum(mine - 1.0, 0.0)
    peak = over.sum(axis=-1, keepdims=True)
    mode = np.divide(over, peak, out=np.full(mine.shape, np.nan), where=peak > 0)
    if mine.shape[-1] == 1:
        mode = np.ones_like(mine)
    sd = np.sqrt(mean * ((whole - mine) / whole) / (whole + 1.0))
    return TransitionPosterior(
        read_only(prior.copy()),
        read_only(mine),
        read_only(mean),
        read_only(mode),
        read_only(sd),
        _log_evidence(tokens, prior),
        1.0 if design_effect is None else design_effect,
        TOO_NARROW if design_effect is None else "",
    )
