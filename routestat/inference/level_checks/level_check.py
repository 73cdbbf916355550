"""Does a test hold its level? P-values of cases without any effect, summarised in words."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, Integers
from routestat.inference.level_checks.half_splits import HIGH, LOW, HalfSplits, p_histogram
from routestat.inference.level_checks.null_p_values import PValues

#: Draws below which a rate says nothing.
FEWEST_DRAWS = 50
#: What each family of tests tests, and on which cases its level is measured.
CASES: Mapping[str, str] = {
    "loads": "random halves of the documents, which differ by chance alone, are called different",
    "independence": "two layers whose choices come from different documents, and so are independent, are called "
    "dependent",
    "order": "paths whose two ends come from different documents that agree in the layer between alone, so that the "
    "memory is one layer long, are called longer",
}
_NO_IID = "no test takes tokens as independent in the expert view: the k·k cells of one token never are"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LevelCheck:
    """How often one family of tests rejects where there is no effect; see `level_check`.

    Attributes
    ----------
    family
        "loads", "independence" or "order".
    n_units
        Units (documents, or groups of them) that the cases were made of.
    n_draws
        Cases that had a p-value.
    level
        Nominal level of the tests.
    rate_iid, rate_clustered
        Shares of the draws rejected; NaN where there is no such test.
    rate_iid_error, rate_clustered_error
        Their Monte-Carlo standard errors.
    p_histogram
        How many clustered p-values fall into each of 20 equal bins from 0 to 1, `[bin]`.
    reason
        Why there is no check, or None.
    note
        A caution, or None.
    """

    family: str
    n_units: int
    n_draws: int
    level: float
    rate_iid: float = math.nan
    rate_iid_error: float = math.nan
    rate_clustered: float = math.nan
    rate_clustered_error: float = math.nan
    p_histogram: Integers
    reason: str | None = None
    note: str | None = None

    @property
    def verdict(self) -> str:
        """Name the result: "unchecked", or whether the rate "holds", is "above" or is "below" the level."""
        if self.reason is not None:
            return "unchecked"
        low, high = LOW * self.level, HIGH * self.level
        if self.rate_clustered > high + math.sqrt(high * (1.0 - high) / self.n_draws):
            return "above"
        # Two errors here and one there: too many rejections mislead, too few only miss effects.
        if self.rate_clustered < low - 2.0 * math.sqrt(low * (1.0 - low) / self.n_draws):
            return "below"
        return "holds"

    def reading(self) -> str:
        """Put the rates into a sentence."""
        if self.reason is not None:
            return f"{self.family.capitalize()}: not checked, {self.reason}."
        said = {"holds": "at about the nominal level", "above": "more often than the nominal level"}
        iid = ""
        if math.isfinite(self.rate_iid):
            iid = (
                f"by a test that takes tokens as independent in {self.rate_iid:.1%} of {self.n_draws} draws "
                f"(Monte-Carlo error {self.rate_iid_error:.1%}), "
            )
        of = "" if iid else f" of {self.n_draws} draws"
        return (
            f"{self.family.capitalize()}: {CASES[self.family]}, at a level of {self.level:.3g}, {iid}by the clustered "
            f"test in {self.rate_clustered:.1%}{of} ({'' if iid else 'Monte-Carlo error '}"
            f"{self.rate_clustered_error:.1%}), {said.get(self.verdict, 'less often than the nominal level')}."
        )


def level_check(family: str, found: Iterable[PValues], n_units: int, level: float = 0.05) -> LevelCheck:
    """Sum up p-values of cases without an effect.

    Parameters
    ----------
    family
        "loads", "independence" or "order".
    found
        P-values of independent draws; those of several layers are pooled.
    n_units
        Units that the cases were made of.
    level
        Nominal level, between 0 and 1.

    Returns
    -------
    LevelCheck. Draws without a p-value do not count; with fewer than 50 left there is no rate, and `reason` is what
    the test itself gave most often.

    Raises
    ------
    RoutestatError
        For a level outside (0, 1).

    Notes
    -----
    The error is that of drawing: how far the rate may be from that over all cases of these documents.
    """
    if not 0 < level < 1:
        raise RoutestatError(f"level: expected a share between 0 and 1, got {level}; use 0.05")
    parts = list(found)
    clustered, iid = (
        np.concatenate([getattr(part, name) for part in parts] or [np.empty(0)])
        for name in ("clustered", "iid")
    )
    known, tried = clustered[np.isfinite(clustered)], len(clustered)
    reasons = Counter(reason for part in parts for reason in part.reasons).most_common(1)
    histogram, rates = p_histogram(known), (*_rate(iid, level), *_rate(clustered, level))
    reason, note = None, None if np.isfinite(iid).any() else _NO_IID
    if len(known) < FEWEST_DRAWS:
        few = f"{len(known)} draws are too few for a rate, {FEWEST_DRAWS} are needed"
        reason, note, rates = (reasons[0][0] if reasons else few), None, (math.nan,) * 4
    elif len(known) < tried:
        note = f"{tried - len(known)} of {tried} draws had no p-value: {reasons[0][0]}"
    return LevelCheck(
        family=family,
        n_units=n_units,
        n_draws=len(known),
        level=level,
        rate_iid=rates[0],
        rate_iid_error=rates[1],
        rate_clustered=rates[2],
        rate_clustered_error=rates[3],
        p_histogram=histogram,
        reason=reason,
        note=note,
    )


def _rate(p: Floats, level: float) -> tuple[float, float]:
    """Share of the p-values below the level and its Monte-Carlo error; NaN without any."""
    known = p[np.isfinite(p)]
    if not len(known):
        return math.nan, math.nan
    rate = float((known < level).mean())
    return rate, math.sqrt(rate * (1.0 - rate) / len(known))


def loads_check(halves: HalfSplits) -> LevelCheck:
    """Return the check of the loads, of splits that `half_splits` has tested, as one of the families."""
    return LevelCheck(
        family="loads",
        n_units=halves.n_groups,
        n_draws=0 if halves.reason else halves.n_splits,
        level=halves.level,
        rate_iid=halves.pooled_iid,
        rate_iid_error=halves.pooled_error_iid,
        rate_clustered=halves.pooled_clustered,
        rate_clustered_error=halves.pooled_error_clustered,
        p_histogram=halves.p_histogram,
        reason=halves.reason,
        note=halves.note,
    )


def trust(checks: Sequence[LevelCheck]) -> str:
    """Whether the p-values of these documents can be trusted, over all families: the answer before its reasons."""
    by = {verdict: [check for check in checks if check.verdict == verdict] for verdict in _VERDICTS}
    if len(by["unchecked"]) == len(checks):
        why = "; ".join(dict.fromkeys(str(check.reason) for check in checks))
        return f"Whether p-values can be trusted here could not be checked: {why}."
    said = [_SAID[verdict].format(_named(by[verdict])) for verdict in ("above", "below") if by[verdict]]
    if not said:
        said = [f"Clustered p-values of {_listed(by['holds'])} can be trusted here: in data without an effect "
                "the tests reject at about the nominal level."]  # fmt: skip
    if by["unchecked"]:
        said.append(f"Not checked: {_listed(by['unchecked'])}.")
    return " ".join(said)


_VERDICTS = ("holds", "above", "below", "unchecked")
_SAID = {
    "above": "Not every clustered p-value can be trusted: in data without an effect, {} reject more "
    "often than the nominal level; interpret such p-values near the level with caution.",
    "below": "In data without an effect, {} reject less often than the nominal level: they are "
    "conservative, so rejections are valid but true effects can be missed.",
}


def _named(checks: Sequence[LevelCheck]) -> str:
    return " and ".join(
        f"tests of {check.family} ({check.rate_clustered:.1%} at a level of {check.level:.3g})"
        for check in checks
    )


def _listed(checks: Sequence[LevelCheck]) -> str:
    names = [check.family for check in checks]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
