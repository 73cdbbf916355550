"""Pairs of modules that all layers share: which follows which, and which are chosen together.

A module is used at some depths more than at others, so that pairs would depend on each other by that alone. All
expectations are hence those of every single step, at its own loads, and are summed over the steps.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    ratio,
    sandwich_variance,
    size_shares,
    without_interval,
)
from routestat.inference.base.moderated import moderated_square
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.base.units import log10_sign_floor, too_few
from routestat.structure.coactivation_null import pooled_pairs

# Sweeps of the fit to the margins; most tables need twenty.
_SWEEPS, _CLOSE, _FITS = 2000, 1e-10, 1e-6
# Variances and errors below this are those of cells that cannot vary.
_SMALL = 1e-9
# Modules of a token, and modules left over, from which there are pairs to choose.
_CHOSEN_TOGETHER = 2
# The margins of a table without its diagonal determine it up to this many modules.
_DETERMINED = 2


@dataclass(frozen=True)
class ModulePairs:
    """Cells of a table of pairs against their expectation.

    Attributes
    ----------
    first, second : int arrays ``[pair]``
        Of pairs over steps the module before and the one after; within a step first < second.
    observed, expected : float arrays ``[pair]``
        Numbers of pairs.
    lift, z, log10_p, log10_q : float arrays ``[pair]``
        observed / expected; clustered score with moderated variance (see `cell_tests`), its two-sided p-value, and that
        adjusted over all pairs after Benjamini and Yekutieli.
    reason : str
        Why there is no test; empty if there is.
    """

    first: Integers
    second: Integers
    observed: Floats
    expected: Floats
    lift: Floats
    z: Floats
    log10_p: Floats
    log10_q: Floats
    reason: str = ""


@dataclass(frozen=True)
class Repeats:
    """How often a module is used again at the next step: the diagonal of the table of pairs.

    Attributes
    ----------
    share : Estimate
        Of the uses of modules, those that are followed by a use of the same module by the token at the next step.
    expected : float
        The same where the choices of two steps are independent.
    z, log10_p : float
    reason : str
    """

    share: Estimate
    expected: float
    z: float
    log10_p: float
    reason: str = ""


def repeats(tables: Sequence[ArrayLike], top_k: Sequence[int]) -> Repeats:
    """Measure how often a module is used again at the next step, beyond what the loads of both steps give.

    Parameters
    ----------
    tables : sequence of array_like ``[group, module, module]``
        Of each step with the next: k × k cells of a token.
    top_k : sequence of int
        Modules of a token at the later of the two steps.
    """
    sums: _Sums | None = None
    for table, k in zip(tables, top_k, strict=True):
        found = np.asarray(table, np.float64)
        total = found.sum(axis=(1, 2))
        whole, own = _diagonal(found.sum(axis=2), found.sum(axis=1), total)
        diagonal = np.trace(found, axis1=1, axis2=2)
        sums = _Sums.added(sums, diagonal[:, None], whole, own[:, None], whole, total / k)
    n = 0.0 if sums is None else float(sums.size.sum())
    if sums is None or not n:
        nothing = without_interval(math.nan, 0, "no token has choices at two successive steps")
        return Repeats(nothing, math.nan, math.nan, math.nan, nothing.reason)
    share, expected = ratio(sums.observed[:, 0], sums.size), float(sums.expected[0]) / n
    if why := too_few(sums.size):
        return Repeats(share, expected, math.nan, math.nan, why)
    total, error = float(sums.scores.sum()), float(np.sqrt(sums.spread()[0]))
    if not error > 1e-9 * n:
        return Repeats(share, expected, math.nan, math.nan, "repeats do not vary over documents")
    return Repeats(share, expected, total / error, float(sums.log10_p(np.array(total / error))))


def successions(tables: Iterable[ArrayLike]) -> ModulePairs:
    """Test which module follows which at the next step, repeats of the same module left out.

    Without its diagonal a table cannot be independent; the null is quasi-independence, e_ij = a_i b_j for i ≠ j with
    the margins of the table: given that the module changes, the next does not depend on the one before.

    Parameters
    ----------
    tables : iterable of array_like ``[group, module, module]``
        Of each step with the next.

    References
    ----------
    Goodman (1968), JASA 63: quasi-independence.
    """
    sums: _Sums | None = None
    modules, complete = 0, True
    for table in tables:
        found = np.asarray(table, np.float64)
        modules = found.shape[1]
        off = ~np.eye(modules, dtype=bool)
        found = np.where(off, found, 0.0)
        whole, own, fitted = _without_diagonal(found)
        complete &= fitted
        n = max(float(found.sum()), 1.0)
        r, c = found.sum(axis=(0, 2)) / n, found.sum(axis=(0, 1)) / n
        variance = whole * np.outer(1.0 - r, 1.0 - c)
        sums = _Sums.added(
            sums, found[:, off], whole[off], own[:, off], variance[off], found.sum(axis=(1, 2))
        )
    if sums is None:
        return _nothing(np.zeros((0, 2), np.int64), "there is only one step")
    reason = "" if modules > _DETERMINED else f"{modules} modules: the margins determine which follows which"
    if not complete:
        reason = reason or "the table without its diagonal has no fit to its margins"
    return _pairs(np.argwhere(~np.eye(modules, dtype=bool)), sums, reason)


def joint_selection(
    steps: Iterable[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]], top_k: int
) -> ModulePairs:
    """Test which modules are chosen together in a step, against choosing without replacement at each step's loads.

    Parameters
    ----------
    steps : iterable of (pairs ``[group, pair]``, inclusions ``[group, module]``, tokens ``[group]``)
        As for `routestat.structure.coactivation.coactivation`.
    top_k : int
        Modules of a token at every step.
    """
    sums: _Sums | None = None
    modules = 0
    for pairs, inclusions, tokens in steps:
        modules = inclusions.shape[1]
        found, n = pairs.astype(np.float64), tokens.astype(np.float64)
        whole, own, variance = np.zeros(found.shape[1]), np.zeros_like(found), np.zeros(found.shape[1])
        kept = n > 0
        if kept.sum() > 1:
            blocks = list(pooled_pairs(inclusions[kept].astype(np.float64), n[kept], top_k))
            whole, own[kept], variance = (
                np.concatenate([block[at] for block in blocks], axis=-1) for at in range(3)
            )
        sums = _Sums.added(sums, found, whole, own, variance, n)
    cells = np.stack(np.triu_indices(modules, 1), axis=1)
    if sums is None:
        return _nothing(cells, "there are no tokens")
    reason = "a token has one module per step: none are chosen together" if top_k < _CHOSEN_TOGETHER else ""
    if modules - top_k < _CHOSEN_TOGETHER:
        reason = reason or f"{top_k} of {modules} modules: the loads determine the pairs"
    return _pairs(cells, sums, reason)


@dataclass(frozen=True)
class _Sums:
    """Sums over the steps: cells ``[group, cell]``, their expectation and variance ``[cell]``, and sizes ``[group]``.

    `scores` are the cells less each group's part of the expectation.
    """

    observed: Floats
    expected: Floats
    scores: Floats
    variance: Floats
    size: Floats

    @classmethod
    def added(
        cls,
        before: "_Sums | None",
        cells: Floats,
        whole: ArrayLike,
        own: Floats,
        variance: ArrayLike,
        size: Floats,
    ) -> "_Sums":
        """Return the sums with one step more."""
        step = cls(
            cells, np.atleast_1d(np.asarray(whole, np.float64)), cells - own,
            np.atleast_1d(np.asarray(variance, np.float64)), size,
        )  # fmt: skip
        if before is None:
            return step
        return cls(*(getattr(before, field.name) + getattr(step, field.name) for field in fields(cls)))

    def spread(self) -> Floats:
        """Compute the variance of the summed scores over groups ``[cell]``."""
        total, kept = self.scores.sum(axis=0), self.size > 0
        return sandwich_variance((self.scores - size_shares(self.size)[:, None] * total)[kept])

    def log10_p(self, z: Floats) -> Floats:
        """Compute two-sided log10 p-values."""
        used = self.size[self.size > 0]
        return np.maximum(log10_t_tails(z, effective_dof(used)), log10_sign_floor(len(used)))


def _diagonal(rows: Floats, columns: Floats, total: Floats) -> tuple[float, Floats]:
    """Compute the expected repeats of all groups, and each group's part: fitted with it minus fitted without it."""
    n = total.sum()
    if not n:
        return 0.0, np.zeros(len(total))
    r, c = rows.sum(axis=0), columns.sum(axis=0)
    whole = float((r * c).sum() / n)
    rest = n - total
    without = ((r - rows) * (c - columns)).sum(axis=1)
    return whole, whole - np.divide(without, rest, out=np.zeros_like(rest), where=rest > 0)


def _without_diagonal(found: Floats) -> tuple[Floats, Floats, bool]:
    """Fit cells ``[i, j]`` to the margins; return them, each group's part ``[group, i, j]``, and whether they fit."""
    rows, columns = found.sum(axis=2), found.sum(axis=1)
    r = np.vstack([rows.sum(axis=0), rows.sum(axis=0) - rows])
    c = np.vstack([columns.sum(axis=0), columns.sum(axis=0) - columns])
    a, b = r.copy(), c / np.maximum(c.sum(axis=1, keepdims=True), 1.0)
    for _ in range(_SWEEPS):
        before = a
        a = _shares(r, b)
        b = _shares(c, a)
        if np.abs(a - before).max(initial=0.0) <= _CLOSE * max(np.abs(a).max(initial=0.0), 1.0):
            break
    whole = np.outer(a[0], b[0])
    np.fill_diagonal(whole, 0.0)
    fits = bool(np.abs(whole.sum(axis=1) - r[0]).max(initial=0.0) <= _FITS * max(r[0].sum(), 1.0))
    own = whole - a[1:, :, None] * b[1:, None, :]
    place = np.arange(found.shape[1])
    own[:, place, place] = 0.0
    return whole, own, fits


def _shares(margin: Floats, other: Floats) -> Floats:
    """Solve a_i (Σ b − b_i) = margin_i."""
    rest = other.sum(axis=1, keepdims=True) - other
    return np.divide(margin, rest, out=np.zeros_like(margin), where=rest > 0)


def _pairs(cells: Integers, sums: _Sums, reason: str) -> ModulePairs:
    """Divide the scores by their clustered errors, moderated as in `cell_tests`."""
    observed, expected = sums.observed.sum(axis=0), sums.expected
    z = log10_p = np.full(len(cells), np.nan)
    lift = np.divide(observed, expected, out=z.copy(), where=expected > 0)
    if not (reason := reason or too_few(sums.size) or ""):
        known = sums.variance > _SMALL
        error = np.sqrt(moderated_square(sums.spread(), sums.variance, known)[0])
        known &= error > _SMALL
        z = np.divide(sums.scores.sum(axis=0), error, out=z.copy(), where=known)
        log10_p = sums.log10_p(z)
    return ModulePairs(
        read_only(cells[:, 0].copy()),
        read_only(cells[:, 1].copy()),
        read_only(observed),
        read_only(expected),
        read_only(lift),
        read_only(z.copy()),
        read_only(log10_p.copy()),
        adjust_log10(np.minimum(log10_p, 0.0), "by"),
        reason,
    )


def _nothing(cells: Integers, reason: str) -> ModulePairs:
    nothing = read_only(np.full(len(cells), np.nan))
    return ModulePairs(
        read_only(cells[:, 0].copy()), read_only(cells[:, 1].copy()), *(nothing,) * 6, reason=reason
    )
