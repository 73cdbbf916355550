"""One statistic of a pair of layers: its key, its value, and the columns that show it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from routestat.inference.association.independence import Independence
from routestat.report.records.plain import Record, plain
from routestat.study.layer_pairs import LayerPair

Limits = tuple[float, float]
#: Where a heading is shown if its statistic names no place: last.
LAST = 100


@dataclass(frozen=True)
class Column:
    """The column of a statistic in a table of the page or of the terminal.

    Attributes
    ----------
    heading : str
    place : int
        Columns are sorted by it.
    table : {"dependence", "parts"}
        Which table of the page.
    interval : bool
        Whether the terminal has the interval in a column of its own.
    discouraged : bool
        Whether the page shows the column in grey.
    states_only : bool
        Whether the page leaves the column out in the expert view.
    """

    heading: str
    place: int = LAST
    table: str = "dependence"
    interval: bool = False
    discouraged: bool = False
    states_only: bool = False


@dataclass(frozen=True)
class PairStatistic:
    """One statistic of a pair of layers.

    Attributes
    ----------
    key : str
        In results.json and CSV.
    value : callable
        Its value for a pair; None or NaN where it is undefined.
    unit, words : str
        Its unit, and a sentence that explains it below its table of the page.
    limits : callable, optional
        Limits of its 95 % interval, which has the key ``…_ci95``.
    cautions : callable, optional
        Cautions that the value needs.
    hides_interval : bool
        Whether the interval is shown only where it would cover (see `Scarcity.covered`).
    states_only : bool
        Whether the key is absent in the expert view.
    optional : bool
        Whether the key is absent where the value is undefined.
    page, terminal : Column, optional
        Where it is shown.
    """

    key: str
    value: Callable[[LayerPair], Any]
    unit: str = ""
    words: str = ""
    limits: Callable[[LayerPair], Limits | None] | None = None
    cautions: Callable[[LayerPair], tuple[str | None, ...]] | None = None
    hides_interval: bool = False
    states_only: bool = False
    optional: bool = False
    page: tuple[Column, ...] = ()
    terminal: Column | None = None

    def applies_to(self, pair: LayerPair) -> bool:
        """Whether the view of the pair has this statistic."""
        return isinstance(pair.test, Independence) or not self.states_only

    def record(self, pair: LayerPair) -> Record:
        """Return the keys of this statistic for one pair."""
        if not self.applies_to(pair):
            return {}
        value = self.value(pair)
        if self.optional and (value is None or value != value):
            return {}
        found: Record = {self.key: value}
        if self.limits is not None:
            limits = self.limits(pair)
            found[f"{self.key}_ci95"] = None if limits is None else list(limits)
        return found


@dataclass(frozen=True)
class Cell:
    """One statistic of one pair, as a table shows it: an undefined value is None, undefined limits are NaN."""

    value: Any
    low: float = math.nan
    high: float = math.nan
    cautions: tuple[str | None, ...] = ()

    @property
    def is_defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None and self.value == self.value

    @property
    def has_interval(self) -> bool:
        """Whether there are limits."""
        return self.low == self.low and self.high == self.high


def cell(statistic: PairStatistic, pair: LayerPair) -> Cell:
    """Return what a table shows of a statistic of one pair."""
    if not statistic.applies_to(pair):
        return Cell(None)
    value = statistic.value(pair)
    limits = statistic.limits(pair) if statistic.limits is not None else None
    if limits is None or (statistic.hides_interval and not pair.scarce.covered):
        limits = math.nan, math.nan
    low, high = map(float, limits)
    return Cell(plain(value), low, high, statistic.cautions(pair) if statistic.cautions else ())
