"""The noise-corrected backbone: which cells of the transitions exceed independence by more than their noise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only, whole_counts

#: Standard errors that a kept score exceeds at least: one-sided 1 % per cell, the strictest level of the reference.
LEAST_DELTA = 2.32
#: Independent tokens below which the moments of the prior are not defined.
FEWEST = 3.0
# Cells of independent tables that are drawn at least, and tables per transition at most.
_CELLS, _MOST_DRAWS = 40_000, 100


@dataclass(frozen=True, eq=False)
class NoiseCorrected:
    """Scores of the cells of one transition; see `noise_corrected`.

    Attributes
    ----------
    score : float array ``[source, target]``
        (lift − 1) / (lift + 1), from −1 (never together) over 0 (as independent) to 1; NaN in empty rows and columns.
    standard_error : float array ``[source, target]``
        Of the score; NaN where it is not defined.
    """

    score: Floats
    standard_error: Floats

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        read_only(self.score)
        read_only(self.standard_error)

    @property
    def ratio(self) -> Floats:
        """The score in standard errors ``[source, target]``; −∞ where there is none."""
        ratio = np.full(self.score.shape, -np.inf)
        np.divide(self.score, self.standard_error, out=ratio, where=self.standard_error > 0)
        return ratio

    def lift_limits(self, z: float) -> tuple[Floats, Floats]:
        """Return the lifts whose scores are `z` standard errors below and above, ``[source, target]``."""
        low, high = (
            np.clip(self.score + sign * z * self.standard_error, -1.0, 1.0 - 1e-12) for sign in (-1, 1)
        )
        return (1.0 + low) / (1.0 - low), (1.0 + high) / (1.0 - high)


@dataclass(frozen=True, eq=False)
class Backbone:
    """The kept cells of several transitions; see `backbone_of`.

    Attributes
    ----------
    scores : tuple of NoiseCorrected
        One per transition.
    kept : tuple of bool arrays ``[source, target]``
    delta : float
        Standard errors that the scores of kept cells exceed; infinite where none is kept.
    n_cells : int
        Cells with a score.
    n_noise : float
        Cells that independent tables of the same margins exceed `delta` in, on average, over all transitions.
    """

    scores: tuple[NoiseCorrected, ...]
    kept: tuple[NDArray[np.bool_], ...]
    delta: float
    n_cells: int
    n_noise: float

    @property
    def n_kept(self) -> int:
        """Cells kept, over all transitions."""
        return sum(int(kept.sum()) for kept in self.kept)


def noise_corrected(counts: ArrayLike, design_effect: float = 1.0) -> NoiseCorrected:
    """Score every cell of a table against independence, with a standard error of the score.

    With N the table's total, the share P of a cell has a beta prior whose mean and variance are those of the
    hypergeometric distribution of the cell at its margins, divided by N and N²; its posterior mean p gives the
    variance N p (1 − p) of the count, and the delta method the standard error of the score, where the margins and the
    total grow with the cell. Tokens of one document are dependent: all counts are first divided by the
    design effect, the number of dependent tokens that are worth one independent token.

    Parameters
    ----------
    counts : array_like ``[source, target]``
        One transition; states of different layers are never compared.
    design_effect : float
        Less than 1, or NaN, is taken as 1.

    Raises
    ------
    RoutestatError
        If `counts` is not a table of counts.

    Notes
    -----
    The second parameter of the prior is that of a beta distribution with these moments,
    μ (1 − μ)² / σ² − (1 − μ). The program that the authors published has 1 − μ² in place of (1 − μ)².

    References
    ----------
    Coscia & Neffke, Network Backboning with Noisy Data, ICDE (2017).
    """
    return _scored(_table(counts) / _at_least_one(design_effect))


def _scored(table: Floats) -> NoiseCorrected:
    """Compute the scores of counts that need not be whole."""
    total = float(table.sum())
    rows, columns = table.sum(axis=1)[:, None], table.sum(axis=0)
    margins = rows * columns
    used = margins > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        kappa = total / margins
        lift = kappa * table
        score = (lift - 1.0) / (lift + 1.0)
        mean = margins / total**2
        variance = margins * (total - rows) * (total - columns) / (total**4 * (total - 1.0))
        strength = mean * (1.0 - mean) / variance - 1.0
        posterior = (mean * strength + table) / (strength + total)
        slope = 1.0 / margins - total * (rows + columns) / margins**2
        change = 2.0 * (kappa + table * slope) / (lift + 1.0) ** 2
        error = np.sqrt(total * posterior * (1.0 - posterior)) * np.abs(change)
    # With one source or one target in use the margins determine the cell: there is no noise and no excess.
    defined = used & (variance > 0) & np.isfinite(error) & (total >= FEWEST)
    return NoiseCorrected(np.where(used, score, np.nan), np.where(defined, error, np.nan))


def backbone_of(
    tables: Sequence[ArrayLike],
    design_effects: Sequence[float],
    rng: np.random.Generator,
    level: float = 0.05,
) -> Backbone:
    """Keep the cells of all transitions whose scores exceed `delta` standard errors.

    `delta` is the least number, but no less than `LEAST_DELTA`, at which independent tables have at most `level` times
    as many cells above it as the observed tables have. These tables have the shares of the observed margins, and as
    many independent tokens as the observed ones are worth: the standard error is that of a normal distribution, and
    counts of a few tokens exceed it more often.

    Parameters
    ----------
    tables : sequence of array_like ``[source, target]``
    design_effects : sequence of float
        One per table.
    rng : numpy.random.Generator
    level : float
        Share of the kept cells that may be due to chance, above 0.

    Raises
    ------
    RoutestatError
        If a table is not one of counts, or `level` is not above 0.

    References
    ----------
    Storey & Tibshirani, Statistical significance for genomewide studies, PNAS 100 (2003), on the ratio of expected to
    observed discoveries.
    """
    if not level > 0:
        raise RoutestatError(f"level: expected a share above 0, got {level}; 0.05 is usual")
    counts = [_table(table) for table in tables]
    effects = [_at_least_one(effect) for effect in design_effects]
    scores = tuple(_scored(table / effect) for table, effect in zip(counts, effects, strict=True))
    draws = int(np.clip(_CELLS // max(sum(table.size for table in counts), 1), 1, _MOST_DRAWS))
    noise = [
        _high_ratios(independent_table(table, effect, rng))
        for table, effect in zip(counts, effects, strict=True)
        for _ in range(draws)
    ]
    ratios = [one.ratio for one in scores]
    delta, n_noise = _threshold(
        np.concatenate([ratio[ratio > LEAST_DELTA] for ratio in ratios] or [np.empty(0)]),
        np.concatenate(noise or [np.empty(0)]),
        draws,
        level,
    )
    kept = tuple(read_only(ratio >= delta) for ratio in ratios)
    n_cells = sum(int(np.isfinite(one.score).sum()) for one in scores)
    return Backbone(scores, kept, delta, n_cells, n_noise)


def independent_table(counts: ArrayLike, design_effect: float, rng: np.random.Generator) -> Floats:
    """Draw an independent table with the shares of the margins and as many tokens as the counts are worth.

    Parameters
    ----------
    counts, design_effect
        As for `noise_corrected`.
    rng : numpy.random.Generator

    Returns
    -------
    float array ``[source, target]``
        Whole counts of independent tokens.
    """
    table = _table(counts)
    total = int(table.sum())
    tokens = int(total / _at_least_one(design_effect))
    if not tokens:
        return np.zeros(table.shape)
    shares = np.outer(table.sum(axis=1) / total, table.sum(axis=0) / total)
    return rng.multinomial(tokens, shares.ravel() / shares.sum()).reshape(table.shape).astype(np.float64)


def _high_ratios(table: Floats) -> Floats:
    ratio = _scored(table).ratio
    return np.asarray(ratio[ratio > LEAST_DELTA])


def _threshold(observed: Floats, noise: Floats, draws: int, level: float) -> tuple[float, float]:
    """Return the least threshold that holds the level, and the mean number of cells of noise above it."""
    ordered, by_chance = np.sort(observed), np.sort(noise)
    above = len(by_chance) - np.searchsorted(by_chance, ordered)
    # One more than was drawn: with few draws no cell of noise may lie above a threshold that noise does exceed.
    holds = (above + 1) / draws <= level * np.arange(len(ordered), 0, -1)
    if not holds.any():
        return float("inf"), 0.0
    place = int(np.argmax(holds))
    return float(ordered[place]), float(above[place] / draws)


def _table(counts: ArrayLike) -> NDArray[np.int64]:
    table = whole_counts(counts, "counts")
    if table.ndim != 2:
        raise RoutestatError(f"counts: expected [source, target], got {table.ndim} axes; sum over the groups")
    return table.astype(np.int64)


def _at_least_one(design_effect: float) -> float:
    return design_effect if design_effect > 1.0 else 1.0
