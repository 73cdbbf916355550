"""Tests of order 2 against order 1, target and source given the layer between, with tokens taken as independent.

`order_score_test` has the test that takes only the groups of documents as independent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.special import log10_chi2_tail, x_log_x
from routestat.inference.base.tables import Floats, expected_counts, pearson_residuals
from routestat.inference.information.mutual_information import plugin_information
from routestat.inference.markov.random_tables import RandomTables

# Standard deviations by which the mean of redrawn G2 may differ from the degrees of freedom without a caution: this
# difference turns a level of 5 % into one of 2 or 12 %.
OFF = 0.5
# Sums that differ by less than this share of themselves differ by rounding.
TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTests:
    """Order 1 against order 2 with tokens taken as independent; see `order_tests`.

    Attributes
    ----------
    n_tokens, n_documents, n_strata
        Tokens, documents, and strata that have anything to test: two or more sources and targets in use.
    dof
        Sum over strata of (sources in use - 1)(targets in use - 1).
    g, log10_p_g_iid, chi2, log10_p_chi2_iid
        The likelihood ratio G2 and Pearson's X2, added over strata, and their chi-square tails, *i.i.d.*
    bic_tokens, bic_documents
        BIC of order 1 minus that of order 2 in nats, G2 - dof ln n, with n the tokens or the documents: above
        zero order 2 is preferred. BIC is on the scale of -2 log likelihood: half of it approximates a log
        Bayes factor.
    resampled_g_mean, resampled_g_sd
        Of G2 over tables redrawn under order 1.
    p_resampled_iid
        Share of the redrawn tables with G2 at least as large, (1 + b) / (resamples + 1), *i.i.d.*
    resamples
    reason
        Why there is nothing to test, or None.
    note
        A caution about what was computed, or None.
    """

    n_tokens: int
    n_documents: int
    n_strata: int = 0
    dof: int = 0
    g: float = math.nan
    log10_p_g_iid: float = math.nan
    chi2: float = math.nan
    log10_p_chi2_iid: float = math.nan
    bic_tokens: float = math.nan
    bic_documents: float = math.nan
    resampled_g_mean: float = math.nan
    resampled_g_sd: float = math.nan
    p_resampled_iid: float = math.nan
    resamples: int
    reason: str | None = None
    note: str | None = None


def order_tests(
    strata: Strata, n_documents: int, rng: np.random.Generator, *, resamples: int = 199
) -> OrderTests:
    """Test the independence of target and source given the layer between, with tokens taken as independent.

    The redrawn tables have every stratum's margins, which are sufficient under order 1: their p-value is exact at
    any size for independent tokens, however sparse the strata. Like the others it ignores the dependence of tokens
    within documents, and takes repeated paths through the layers for order 2. BIC does so only where G2 exceeds its
    penalty, which is smaller when n is the number of documents: five repetitions are enough. See `clustered_order`.

    Parameters
    ----------
    strata
        Source two layers before the target, strata by the layer between, state view.
    n_documents
        Documents behind the tokens; a single one has no `bic_documents`.
    rng
        Draws the tables.
    resamples
        How many to draw; none leaves their figures NaN.

    Returns
    -------
    OrderTests
        Without tokens, or where no stratum has two sources and two targets in use, values are NaN (dof 0), with a
        `reason`.

    Raises
    ------
    RoutestatError
        For strata of the expert view, fewer than one document or a negative number of resamples.

    References
    ----------
    Anderson & Goodman (1957), Ann. Math. Stat. 28; Katz (1981), Technometrics 23 (BIC of the order);
    Patefield (1981), Algorithm AS 159; Besag & Mondal (2013), Biometrics 69.
    """
    check_strata(strata, n_documents, resamples)
    g, chi2, dof, used, observed, drawn = 0.0, 0.0, 0, 0, 0.0, np.zeros(resamples)
    random_tables = RandomTables(_largest(strata)) if resamples else None
    for table in _tables(strata):
        g += 2.0 * float(table.sum()) * plugin_information(table)
        chi2 += float((pearson_residuals(table, expected_counts(table)) ** 2).sum())
        dof += (table.shape[0] - 1) * (table.shape[1] - 1)
        used += 1
        observed += float(x_log_x(table).sum())
        if random_tables is not None:
            drawn += random_tables.sums(table.sum(axis=1), table.sum(axis=0), rng, resamples)
    counted = OrderTests(n_tokens=strata.n_tokens, n_documents=n_documents, resamples=resamples)
    if not dof:
        return replace(counted, reason=nothing_to_test(strata, "two sources and two targets"))
    # Margins are the same in all redrawn tables: their G2 differ by twice the sums of c ln c.
    redrawn = g + 2.0 * (drawn - observed)
    mean = float(redrawn.mean()) if resamples else math.nan
    sd = float(redrawn.std(ddof=1)) if resamples > 1 else math.nan
    reached = int(np.count_nonzero(drawn >= observed - TIE * abs(observed)))
    return replace(
        counted,
        n_strata=used,
        dof=dof,
        g=g,
        log10_p_g_iid=log10_chi2_tail(g, dof),
        chi2=chi2,
        log10_p_chi2_iid=log10_chi2_tail(chi2, dof),
        bic_tokens=g - dof * math.log(strata.n_tokens),
        bic_documents=g - dof * math.log(n_documents) if n_documents > 1 else math.nan,
        resampled_g_mean=mean,
        resampled_g_sd=sd,
        p_resampled_iid=(1 + reached) / (resamples + 1) if resamples else math.nan,
        note=_off(mean, sd, dof, resamples),
    )


def check_strata(strata: Strata, n_documents: int = 1, resamples: int = 0) -> None:
    """Refuse what no test of the order can use."""
    if strata.slots != (1, 1):
        raise RoutestatError(
            f"strata: expected the state view, got {strata.slots[0]} by {strata.slots[1]} experts a token; "
            "count with states='subset'"
        )
    if n_documents < 1:
        raise RoutestatError(
            f"n_documents: expected 1 or more, got {n_documents}; pass how many hold the tokens"
        )
    if resamples < 0:
        raise RoutestatError(f"resamples: expected 0 or more, got {resamples}; use 199")


def nothing_to_test(strata: Strata, needed: str) -> str:
    """Why no stratum can be tested."""
    if not strata.n_tokens:
        return f"no tokens with a known {strata.by}"
    return f"no choice of the layer between has {needed} in use, so there is nothing to test"


def _off(mean: float, sd: float, dof: int, resamples: int) -> str | None:
    """Return a caution where the mean of G2 for independent tokens is not its degrees of freedom."""
    if resamples < 2 or abs(mean - dof) <= (OFF + 2.0 / math.sqrt(resamples)) * sd:
        return None
    return f"for independent tokens the mean of G2 is {mean:.6g}, not {dof}: its chi-square tail is unreliable here"


def _tables(strata: Strata) -> Iterator[Floats]:
    """Per stratum the counts `[source, target]` over the groups, states without tokens dropped, if any are to test."""
    order = np.argsort(strata.stratum, kind="stable")
    for cells in np.split(order, np.flatnonzero(np.diff(strata.stratum[order])) + 1):
        (x, rows), (y, columns) = (
            np.unique(side[cells], return_inverse=True) for side in (strata.source, strata.target)
        )
        if min(x.size, y.size) > 1:
            table = np.bincount(rows * y.size + columns, strata.count[cells], x.size * y.size)
            yield table.reshape(x.size, y.size).astype(np.float64)


def _largest(strata: Strata) -> int:
    """Return the tokens of the largest stratum."""
    return int(np.bincount(strata.stratum, strata.count).max(initial=0))
