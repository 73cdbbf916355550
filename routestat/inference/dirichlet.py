"""Rows of counts under a Dirichlet prior: evidence, prior, posterior.

One row is one source state; its counts are a multinomial whose probabilities have the prior Dirichlet(alpha).
Tokens are taken as exchangeable within a row: nothing here knows of documents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.backoff import hierarchical_alpha
from routestat.inference.concentration import fit_concentration
from routestat.inference.rising import LARGEST_ALPHA, SMALLEST_ALPHA, count_rows, log_rising
from routestat.inference.tables import Floats, read_only


def positive_alpha(alpha: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """`alpha` as positive finite floats broadcast to `shape` (`[..., K]`), or a RoutestatError."""
    try:
        array = np.asarray(alpha, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutestatError(f"alpha: wanted a number or an array of numbers, got {alpha!r}") from error
    if not (np.isfinite(array) & (array > 0)).all():
        raise RoutestatError(
            "alpha: wanted numbers above zero, got zero, less or NaN; use 0.5 (Jeffreys) or a fit"
        )
    if array.size and not (array.min() >= SMALLEST_ALPHA and array.max() <= LARGEST_ALPHA):
        raise RoutestatError(
            f"alpha: wanted numbers from {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}, got {array.min():g} to "
            f"{array.max():g}; beyond them sums with counts lose one or the other"
        )
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise RoutestatError(
            f"alpha: wanted one number or {shape[-1]} of them, got shape {array.shape}; match the columns"
        ) from error


def log_evidence(counts: ArrayLike, alpha: ArrayLike) -> Floats | float:
    """Natural log of the probability of each row's ordered sequence of tokens, its probabilities integrated out.

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


#: Rules for the prior, by name; any positive number is one too.
RULES = ("jeffreys", "perks", "empirical-bayes", "hierarchical")


def resolve_alpha(rows: ArrayLike, alpha: ArrayLike | str) -> Floats:
    """The prior `alpha` as an array `[K]`: a number, an array, or one of four names.

    Parameters
    ----------
    rows
        Whole counts `[row, K]`.
    alpha
        A positive number or `[K]` of them; "jeffreys" (1/2); "perks" (1/K); "empirical-bayes" (`fit_concentration`
        of these rows); "hierarchical" (rows back off to the law of all rows, and that to the uniform one, see
        `hierarchical_alpha`). The last two are "jeffreys" where the rows hold no token, for want of anything to fit.

    Raises
    ------
    RoutestatError
        For another name, or an alpha that is not positive or not of length K.
    """
    counts = count_rows(rows)
    width = counts.shape[-1]
    if isinstance(alpha, str):
        if alpha not in RULES:
            raise RoutestatError(
                f"alpha: wanted a number or one of {', '.join(RULES)}, got {alpha!r}; pick one"
            )
        if alpha == "empirical-bayes" and counts.any():
            return fit_concentration(counts)
        if alpha == "hierarchical" and counts.any():
            return hierarchical_alpha(counts)
        return read_only(np.full(width, 1.0 / width if alpha == "perks" else 0.5))
    return read_only(positive_alpha(alpha, (width,)).copy())


def parse_alpha(text: str) -> str | float:
    """A prior written as text: a positive number or the name of a rule.

    Raises
    ------
    RoutestatError
        If it is neither.
    """
    try:
        alpha: str | float = float(text)
    except ValueError:
        alpha = text
    resolve_alpha(np.ones((1, 2), int), alpha)  # complains of what is no prior, before any work is done
    return alpha


@dataclass(frozen=True, slots=True, eq=False)
class TransitionPosterior:
    """The Dirichlet posterior of every row; see `transition_posterior`.

    Attributes
    ----------
    alpha
        The prior, broadcast to the counts `[..., K]`.
    concentration
        alpha + counts, the posterior's parameters `[..., K]`.
    mean, mode, sd
        Of each probability `[..., K]`. The mode puts 0 wherever concentration <= 1 and shares the rest in
        proportion to concentration - 1, the limit at the boundary; NaN for a row where no concentration
        exceeds 1, because its density has no single peak.
    log_evidence
        Natural log evidence of each row's ordered sequence `[...]`; a float for a single row.
    """

    alpha: Floats
    concentration: Floats
    mean: Floats
    mode: Floats
    sd: Floats
    log_evidence: Floats | float

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Equal-tailed credible limits (low, high) of each probability, from its Beta margin; each `[..., K]`."""
        if not 0 < level < 1:
            raise RoutestatError(f"level: wanted a share between 0 and 1, got {level}; use 0.95")
        if self.mean.shape[-1] == 1:
            return read_only(np.ones_like(self.mean)), read_only(np.ones_like(self.mean))
        mine = self.concentration
        rest = mine.sum(axis=-1, keepdims=True) - mine
        tail = (1.0 - level) / 2.0
        low, high = special.betaincinv(mine, rest, tail), special.betainccinv(mine, rest, tail)
        return read_only(low), read_only(high)

    def sample(self, rng: np.random.Generator, n: int) -> Floats:
        """`n` independent draws of all rows, `[n, ..., K]`; every row of every draw sums to one."""
        if not isinstance(rng, np.random.Generator):
            raise RoutestatError(
                "rng: wanted a numpy Generator, got something else; use np.random.default_rng(seed)"
            )
        if n < 1:
            raise RoutestatError(f"n: wanted one draw or more, got {n}; ask for at least one")
        return read_only(draw_rows(np.broadcast_to(self.concentration, (n, *self.concentration.shape)), rng))


def draw_rows(concentration: ArrayLike, rng: np.random.Generator) -> Floats:
    """One draw of each Dirichlet row `[..., K]` of these concentrations, above zero."""
    a = np.asarray(concentration, np.float64)
    # Gamma(a) is Gamma(a + 1) times U**(1/a). In logs, or a row of tiny alphas underflows to 0 / 0.
    logs = np.log(rng.standard_gamma(a + 1.0)) - rng.standard_exponential(a.shape) / a
    return np.asarray(special.softmax(logs, axis=-1))


def transition_posterior(counts: ArrayLike, alpha: ArrayLike | str) -> TransitionPosterior:
    """The posterior of each row's probabilities: Dirichlet(alpha + counts).

    Parameters
    ----------
    counts
        Whole counts `[..., K]`, one row per source; rows and columns without tokens stay.
    alpha
        One positive number, an array that broadcasts to `counts` (such as `[K]`), or the name of a rule that is
        applied to all rows together (see `resolve_alpha`).

    Raises
    ------
    RoutestatError
        For counts that are not whole numbers of zero or more; for alpha of zero or less, or of another length.
    """
    tokens = count_rows(counts)
    if isinstance(alpha, str):
        if alpha == "hierarchical" and tokens.ndim > 2:
            raise RoutestatError(
                f"alpha: hierarchical rows of {tokens.ndim - 1} sources back off one by one; use fit_second_order"
            )
        alpha = resolve_alpha(tokens.reshape(-1, tokens.shape[-1]), alpha)
    prior = positive_alpha(alpha, tokens.shape)
    mine = prior + tokens
    whole = mine.sum(axis=-1, keepdims=True)
    mean = mine / whole
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
    )
