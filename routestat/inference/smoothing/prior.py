"""The Dirichlet prior of rows of counts: checked, and chosen by rule."""

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.special import LARGEST_ALPHA, SMALLEST_ALPHA, count_rows
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.smoothing.backoff import hierarchical_alpha
from routestat.inference.smoothing.concentration import fit_concentration


def positive_alpha(alpha: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """Return `alpha` as positive finite floats broadcast to `shape` (`[..., K]`), or raise RoutestatError."""
    try:
        array = np.asarray(alpha, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutestatError(f"alpha: expected a number or an array of numbers, got {alpha!r}") from error
    if not (np.isfinite(array) & (array > 0)).all():
        raise RoutestatError(
            "alpha: expected numbers above zero, got zero, less or NaN; use 0.5 (Jeffreys) or a fit"
        )
    if array.size and not (array.min() >= SMALLEST_ALPHA and array.max() <= LARGEST_ALPHA):
        raise RoutestatError(
            f"alpha: expected numbers from {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}, got {array.min():g} to "
            f"{array.max():g}; beyond them sums with counts lose one or the other"
        )
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise RoutestatError(
            f"alpha: expected one number or {shape[-1]} of them, got shape {array.shape}; match the columns"
        ) from error


#: Rules for the prior, by name; any positive number is one too.
RULES = ("jeffreys", "perks", "empirical-bayes", "hierarchical")


def resolve_alpha(rows: ArrayLike, alpha: ArrayLike | str) -> Floats:
    """Resolve the prior to an array `[K]`: from a number, an array, or one of four names.

    Parameters
    ----------
    rows
        Whole counts `[row, K]`.
    alpha
        A positive number or `[K]` of them; "jeffreys" (1/2); "perks" (1/K); "empirical-bayes" (`fit_concentration`
        of these rows); "hierarchical" (rows back off to the distribution of all rows, and that to the uniform one,
        see `hierarchical_alpha`). The last two are "jeffreys" where the rows hold no token. Empirical Bayes is not
        defined for a single row, which has greatest evidence under a prior that is the row itself with infinite
        weight: it is "perks" where only one row holds tokens.

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
                f"alpha: expected a number or one of {', '.join(RULES)}, got {alpha!r}; pick one"
            )
        used = np.count_nonzero(counts.reshape(-1, width).any(axis=1))
        if alpha == "empirical-bayes" and used > 1:
            return fit_concentration(counts)
        if alpha == "hierarchical" and used:
            return hierarchical_alpha(counts)
        perks = alpha == "perks" or (alpha == "empirical-bayes" and used == 1)
        return read_only(np.full(width, 1.0 / width if perks else 0.5))
    return read_only(positive_alpha(alpha, (width,)).copy())


def parse_alpha(text: str) -> str | float:
    """Parse a prior written as text: a positive number or the name of a rule.

    Raises
    ------
    RoutestatError
        If it is neither.
    """
    try:
        alpha: str | float = float(text)
    except ValueError:
        alpha = text
    resolve_alpha(np.ones((1, 2), int), alpha)  # refuses what is no prior before any work is done
    return alpha
