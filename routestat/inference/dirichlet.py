"""Rows of counts under a Dirichlet prior: evidence, concentration, posterior.

One row is one source state; its counts are a multinomial whose probabilities have the prior Dirichlet(alpha).
Tokens are taken as exchangeable within a row: nothing here knows of documents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.tables import Floats, read_only, whole_counts

# The evidence of a column that nobody used is greatest at alpha zero, where no Dirichlet exists and a prediction
# of exactly zero could never be forgiven: it gets this share of the others' sum, and no more than this.
UNSEEN = 1e-6
# Beyond these a double cannot hold alpha + count, and posteriors are 0, 1 or NaN.
SMALLEST_ALPHA, LARGEST_ALPHA = 1e-15, 1e15
# The sum of a fitted alpha stays above this, where a row of any length already follows its first token.
SMALLEST_SUM = 1e-4
# It stays below this many times the longest row. Beyond it the prior outweighs the
# data ten thousand to one and the evidence no longer tells one value from another.
LARGEST_SUM_PER_TOKEN = 1e4
STEPS = 500


def log_rising(x: ArrayLike, n: ArrayLike) -> Floats:
    """lnGamma(x + n) - lnGamma(x) for x > 0 and n >= 0, element by element, without cancellation at large x."""
    x, n = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64))
    far = x > 1e3
    result = np.asarray(special.gammaln(x + n) - special.gammaln(x))
    if far.any():
        x, n = x[far], n[far]
        # Stirling's series, differenced term by term; the two large parts share their leading digits.
        tail = _stirling_tail(x + n) - _stirling_tail(x)
        result[far] = (x - 0.5) * np.log1p(n / x) - n + n * np.log(x + n) + tail
    return result


def _stirling_tail(x: Floats) -> Floats:
    return (1.0 - 1.0 / (30.0 * x * x)) / (12.0 * x)


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


def _rows(rows: ArrayLike) -> NDArray[np.float64]:
    counts = whole_counts(rows, "counts")
    if counts.ndim == 0 or counts.shape[-1] == 0:
        raise RoutestatError(
            "counts: wanted rows [..., K] with K of one or more, got none; pass a row of counts"
        )
    return counts.astype(np.float64)


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
    counts = _rows(counts)
    return _log_evidence(counts, positive_alpha(alpha, counts.shape))


def _log_evidence(counts: Floats, alpha: Floats) -> Floats | float:
    evidence = log_rising(alpha, counts).sum(axis=-1) - log_rising(alpha.sum(axis=-1), counts.sum(axis=-1))
    return float(evidence) if evidence.ndim == 0 else read_only(evidence)


class _Evidence:
    """The summed evidence of rows as a function of alpha `[K]`, with its derivatives; only cells with counts."""

    def __init__(self, rows: Floats) -> None:
        source, self.column = np.nonzero(rows)
        self.count = rows[source, self.column]
        # Few totals, many rows: equal ones are evaluated once.
        self.total, self.times = np.unique(rows.sum(axis=1), return_counts=True)
        self.width = rows.shape[1]

    def __call__(self, alpha: Floats) -> float:
        cells = log_rising(alpha[self.column], self.count).sum()
        return float(cells - self.times @ log_rising(alpha.sum(), self.total))

    def _per_column(self, cells: Floats) -> Floats:
        return np.bincount(self.column, weights=cells, minlength=self.width).astype(np.float64)

    def slopes(self, alpha: Floats) -> tuple[Floats, float]:
        """Per column sum of psi(alpha + c) - psi(alpha), and sum of psi(A + n) - psi(A): the gradient's parts."""
        mine, whole = alpha[self.column], alpha.sum()
        cells = special.psi(mine + self.count) - special.psi(mine)
        return self._per_column(cells), float(
            self.times @ (special.psi(whole + self.total) - special.psi(whole))
        )

    def curvatures(self, alpha: Floats) -> tuple[Floats, float]:
        """The Hessian's diagonal `[K]` (negative) and its rank-one part (positive, the same in every cell)."""
        mine, whole = alpha[self.column], alpha.sum()
        cells = special.zeta(2.0, mine + self.count) - special.zeta(2.0, mine)
        corner = special.zeta(2.0, whole) - special.zeta(2.0, whole + self.total)
        return self._per_column(cells), float(self.times @ corner)


def _newton_step(alpha: Floats, up: Floats, down: float, diagonal: Floats, corner: float) -> Floats:
    """The Newton step in log alpha, damped where the evidence is not concave so that it still climbs."""
    gradient = alpha * (up - down)
    bend = alpha * alpha * diagonal + gradient
    # The Hessian in log alpha is diag(bend) + corner * alpha alpha'. Along a ridge or near a saddle it has a
    # direction that curves upwards; the shift grows until none is left.
    shift = max(0.0, 2.0 * float(bend.max()))
    for _ in range(100):
        damped = bend - shift
        weight = 1.0 + corner * (alpha * alpha / damped).sum()
        if damped.max() < 0 and weight > 0:
            break
        shift = max(4.0 * shift, 1e-9 * float(np.abs(bend).max()))
    plain = gradient / damped
    step = -(plain - alpha / damped * (corner * (alpha @ plain) / weight))
    return step * min(1.0, 3.0 / np.abs(step).max()) if step.any() else step


def _symmetric_step(alpha: Floats, up: Floats, down: float, diagonal: Floats, corner: float) -> Floats:
    a, width = alpha[0], alpha.size
    gradient = a * (up.sum() - width * down)
    bend = a * a * (diagonal.sum() + width * width * corner) + gradient
    return np.full(width, np.clip(gradient / max(abs(bend), 1e-300), -3.0, 3.0))


def _within_bounds(alpha: Floats, largest: float) -> Floats:
    return alpha * (np.clip(alpha.sum(), SMALLEST_SUM, largest) / alpha.sum())


def _fixed_point(evidence: _Evidence, alpha: Floats, ratio: Floats, largest: float) -> tuple[Floats, float]:
    """Minka's step, doubled for as long as that climbs: alone it creeps where the evidence is nearly flat."""
    trial = _within_bounds(alpha * ratio, largest)
    height = evidence(trial)
    for _ in range(20):
        ratio = np.clip(ratio * ratio, 1e-4, 1e4)
        further = _within_bounds(alpha * ratio, largest)
        reached = evidence(further)
        if not reached > height:
            break
        trial, height = further, reached
    return trial, height


def fit_concentration(rows: ArrayLike, symmetric: bool = False) -> Floats:
    """The alpha `[K]` that maximises the summed evidence of the rows: empirical Bayes.

    Newton in log alpha with the Hessian's diagonal-plus-rank-one form, damped where it is not concave; where
    that does not climb, Minka's fixed point, which always does. The evidence can have a second, lower maximum
    when the rows are few and short; the climb starts from the pooled shares with a mean of one. Rows are taken
    as independent draws from one Dirichlet.

    Parameters
    ----------
    rows
        Whole counts `[row, K]`. Rows without tokens say nothing and are ignored.
    symmetric
        One number for all columns. The result is still `[K]`.

    Notes
    -----
    The best value can lie at a boundary where no Dirichlet exists. A column that was never counted (unless
    `symmetric`) would get zero: it is left out of the fit and gets 1e-6 of the others' sum, at most 1e-6. Rows
    that each use one column only drive the sum to zero: it stops at 1e-4. Rows no more unlike than one
    multinomial would make them drive the sum to infinity: it stops at 10,000 times the longest row, shared out
    as the pooled counts are. Where no row has two tokens the sum cannot be known and stays at its start, the
    number of columns in use.

    Raises
    ------
    RoutestatError
        For anything but a table of whole counts with at least one token.

    References
    ----------
    Minka (2000), Estimating a Dirichlet distribution.
    """
    counts = _rows(rows)
    if counts.ndim != 2:
        raise RoutestatError(f"rows: wanted counts [row, K], got {counts.ndim} axes; reshape them")
    if not counts.any():
        raise RoutestatError(
            "rows: wanted at least one token to fit alpha to, got none; give alpha as a number"
        )
    seen = np.ones(counts.shape[1], dtype=bool) if symmetric else counts.any(axis=0)
    fitted = np.empty(counts.shape[1])
    fitted[seen] = _maximise(counts[:, seen], symmetric)
    fitted[~seen] = UNSEEN * min(1.0, fitted[seen].sum())
    return read_only(fitted)


def _maximise(counts: Floats, symmetric: bool) -> Floats:
    evidence = _Evidence(counts)
    width = counts.shape[1]
    largest = LARGEST_SUM_PER_TOKEN * counts.sum(axis=1).max()
    share = np.full(width, 1.0 / width) if symmetric else counts.sum(axis=0) / counts.sum()
    alpha = _within_bounds(share * width, largest)
    if evidence.total.max() < 2:
        return alpha
    best = evidence(alpha)
    for _ in range(STEPS):
        up, down = evidence.slopes(alpha)
        if alpha.sum() > 0.999 * largest:
            # Up here the best direction is the pooled share. A larger sum would still be better: stop.
            limit = share * largest
            up, down = evidence.slopes(limit)
            if limit @ up >= limit.sum() * down:
                return limit
        make = _symmetric_step if symmetric else _newton_step
        step = make(alpha, up, down, *evidence.curvatures(alpha))
        trial = _within_bounds(alpha * np.exp(step), largest)
        height = evidence(trial)
        # Rounding in the evidence grows with its size; a last step may lose that much and still be right.
        if height < best - 1e-12 * abs(best):
            ratio = (np.full(width, up.mean()) if symmetric else up) / down
            trial, height = _fixed_point(evidence, alpha, ratio, largest)
        moved = np.abs(np.log(trial / alpha)).max()
        alpha, best = trial, max(best, height)
        if moved < 1e-9:
            break
    return alpha


def resolve_alpha(rows: ArrayLike, alpha: ArrayLike | str) -> Floats:
    """The prior `alpha` as an array `[K]`: a number, an array, or one of three names.

    Parameters
    ----------
    rows
        Whole counts `[row, K]`.
    alpha
        A positive number or `[K]` of them; "jeffreys" (1/2); "perks" (1/K); "empirical-bayes"
        (`fit_concentration` of these rows; "jeffreys" where the rows hold no token, for want of anything to fit).

    Raises
    ------
    RoutestatError
        For another name, or an alpha that is not positive or not of length K.
    """
    counts = _rows(rows)
    width = counts.shape[-1]
    if isinstance(alpha, str):
        if alpha not in ("jeffreys", "perks", "empirical-bayes"):
            raise RoutestatError(
                f"alpha: wanted a number, 'jeffreys', 'perks' or 'empirical-bayes', got {alpha!r}; pick one"
            )
        if alpha == "empirical-bayes" and counts.any():
            return fit_concentration(counts)
        return read_only(np.full(width, 1.0 / width if alpha == "perks" else 0.5))
    return read_only(positive_alpha(alpha, (width,)).copy())


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
        shape = (n, *self.concentration.shape)
        # Gamma(a) is Gamma(a + 1) times U**(1/a). In logs, or a row of tiny alphas underflows to 0 / 0.
        logs = np.log(rng.standard_gamma(self.concentration + 1.0, size=shape))
        logs -= rng.standard_exponential(size=shape) / self.concentration
        return read_only(special.softmax(logs, axis=-1))


def transition_posterior(counts: ArrayLike, alpha: ArrayLike) -> TransitionPosterior:
    """The posterior of each row's probabilities: Dirichlet(alpha + counts).

    Parameters
    ----------
    counts
        Whole counts `[..., K]`, one row per source; rows and columns without tokens stay.
    alpha
        One positive number, or an array that broadcasts to `counts` (such as `[K]`). For the names
        ("jeffreys" and so on) see `resolve_alpha`.

    Raises
    ------
    RoutestatError
        For counts that are not whole numbers of zero or more; for alpha of zero or less, or of another length.
    """
    tokens = _rows(counts)
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
