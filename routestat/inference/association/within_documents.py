"""Dependence that is left when every document has its own distributions: coupling of layers, not of topics."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.tables import Floats, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.information.mutual_information import EstimateInBits

#: Documents per token from which on a figure within documents is far too low.
SHORT = 0.05
ONE_TOKEN = "all documents have one token: there is nothing within a document"
ONE_CHOICE = "every group's table equals its expectation exactly: nothing varies within its documents"


@dataclass(frozen=True, slots=True)
class WithinDocuments(EstimateInBits):
    """Dependence beyond what documents being about different things explains; see `within_documents`.

    Attributes
    ----------
    estimate
        Divergence of the joint distribution from independence within documents, in bits: the jackknife estimate
        with its clustered interval, and the plug-in.
    p_clustered, log10_p_clustered, nu
        Second-order test of independence within documents.
    reason, note, caution
        Why something is NaN; that groups are few; and how far the documents are too short for the figure; or None.
    """

    estimate: Estimate
    p_clustered: float = math.nan
    log10_p_clustered: float = math.nan
    nu: float = math.nan
    reason: str | None = None
    note: str | None = None
    caution: str | None = None


def within_documents(
    tables: ArrayLike,
    expected: ArrayLike,
    level: float = 0.95,
    *,
    documents: ArrayLike | None = None,
    slots: int = 1,
) -> WithinDocuments:
    """Test and measure dependence against independence within each document.

    With E the sum over documents of (source margin)(target margin)' / n_d, a group's score is T_g - E_g: of mean
    zero when source and target are independent inside every document, whatever the documents' own distributions and
    however their tokens depend on each other. The effect is the divergence of T/n from E/n: how much the layers'
    coupling shows in the joint distribution once topics are accounted for, a lower bound of I(source; target |
    document), which itself cannot be estimated where a document has fewer tokens than a table has cells.

    A document of one token has nothing within it: its table is its own expectation, whatever the layers do, and where
    all documents are such there is no figure. In a document of n_d tokens the expectation holds each token's own pair
    too, as one part in n_d: E is a mixture of independence and, in the share documents / tokens, of the joint
    distribution itself. The divergence is too low by about twice that share; `caution` says so from `SHORT` on.

    Parameters
    ----------
    tables
        Counts `[group, source, target]`; in the expert view k * k cells of every token.
    expected
        E_g `[group, source, target]` of the same tokens (`count_within`).
    level
        Of confidence; Student's t (see `effective_dof`).
    documents
        How many documents each group holds `[group]`, for the caution; none without it.
    slots
        Cells that each token is counted in: k * k in the expert view.

    Raises
    ------
    RoutestatError
        If the shapes or the totals of the groups differ.
    """
    observed, chance = _checked(tables, expected)
    size = observed.sum(axis=(1, 2))
    used = np.flatnonzero(size)
    groups, nan = len(used), math.nan
    if not groups:
        return _nothing(nan, 0, "no tokens")
    # Tables can be large: no copy where every group has tokens, the common case.
    if groups < len(size):
        observed, chance, size = observed[used], chance[used], size[used]
    total, mean, n = observed.sum(axis=0), chance.sum(axis=0), size.sum()
    plugin = float(special.rel_entr(total, mean).sum()) / n / math.log(2.0)
    if why := too_few(size):
        return _nothing(plugin, groups, why)
    per_document = math.inf if documents is None else size.sum() / slots / np.asarray(documents)[used].sum()
    if np.allclose(observed, chance, rtol=1e-9, atol=1e-9):
        if per_document <= 1.0:
            return _nothing(nan, groups, ONE_TOKEN)
        zero = without_interval(0.0, groups, ONE_CHOICE, 0.0)
        return WithinDocuments(zero, 1.0, 0.0, nan, ONE_CHOICE)
    scores = observed - chance
    scores /= np.sqrt(np.where(mean > 0, mean, 1.0))
    flat = scores.reshape(groups, -1)
    test = score_test(flat @ flat.T, size=size)
    left = [
        # What a subtraction leaves of an empty cell is rounding, of either sign.
        float(special.rel_entr(total - t, np.maximum(mean - e, 0.0)).sum()) / (n - m) / math.log(2.0)
        for t, e, m in zip(observed, chance, size, strict=True)
    ]
    value = jackknife_value(plugin, left, size)
    influence = _influence(observed, chance, size, plugin * math.log(2.0))
    error = float(sandwich_error(influence)) / n / math.log(2.0)
    return WithinDocuments(
        with_interval(value, error, effective_dof(size), groups, level, plugin),
        test.p,
        test.log10_p,
        test.nu,
        test.reason,
        caution(groups, test),
        _short(per_document),
    )


def _nothing(plugin: float, groups: int, reason: str) -> WithinDocuments:
    return WithinDocuments(without_interval(math.nan, groups, reason, plugin), reason=reason)


def _influence(observed: Floats, chance: Floats, size: Floats, plugin: float) -> Floats:
    """Linearised scores of n times the divergence in nats, `[group]`."""
    total, mean = observed.sum(axis=0), chance.sum(axis=0)
    ratio = np.divide(total, mean, out=np.zeros_like(total), where=mean > 0)
    pointwise = np.log(ratio, out=np.zeros_like(ratio), where=ratio > 0)
    scores = np.einsum("gij,ij->g", observed, pointwise) + size - np.einsum("gij,ij->g", chance, ratio)
    return np.asarray(scores - size * plugin, np.float64)


def _short(per_document: float) -> str | None:
    """Return a caution where many of the expected pairs are a token's own."""
    if 1.0 / per_document < SHORT:
        return None
    return (
        f"documents have {per_document:.3g} tokens on average: {100 / per_document:.2g} % of what is expected within "
        "them are tokens paired with themselves, so the figure is too low"
    )


def _checked(tables: ArrayLike, expected: ArrayLike) -> tuple[Floats, Floats]:
    observed = whole_counts(tables, "tables").astype(np.float64)
    chance = np.asarray(expected, dtype=np.float64)
    if observed.ndim != 3 or observed.shape != chance.shape:
        raise RoutestatError(
            "tables and their expected counts: expected [group, source, target] twice, got "
            f"{observed.shape} and {chance.shape}"
        )
    if not np.allclose(observed.sum(axis=(1, 2)), chance.sum(axis=(1, 2)), rtol=1e-9, atol=1e-6):
        raise RoutestatError(
            "expected counts: expected the totals of tables in every group; count the same tokens"
        )
    if (chance < 0).any() or ((chance == 0) & (observed > 0)).any():
        raise RoutestatError("expected counts: expected more than zero wherever tables count something")
    return observed, chance
