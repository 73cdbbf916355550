"""Cautions on numbers: a mark beside each number that has one, and below the table what the marks mean.

Terminal and page use the same class, so that no number with a caution in results.json is printed without it.
"""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from routestat.report.numbers import NONE

MARKS = "*†‡§¶‖"
# As `number` writes them: 12,345.6 and 1.23×10⁻⁵.
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:×10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")
_PLAIN = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


class Cautions:
    """The cautions on the numbers of one table or list.

    Cautions that say the same and differ in their numbers, such as "only 3.3 tokens per cell" and "only 5.1 tokens per
    cell", have one mark; the range stands below the table.
    """

    def __init__(self) -> None:
        """Start without cautions."""
        self._kinds: dict[str, list[str]] = {}

    def mark(self, *texts: str | None) -> str:
        """Return the marks of these cautions; empty texts have none."""
        marks = []
        for text in dict.fromkeys(texts):
            if text:
                self._kinds.setdefault(_NUMBER.sub("#", text), []).append(text)
                marks.append(_sign(list(self._kinds).index(_NUMBER.sub("#", text))))
        return "".join(dict.fromkeys(marks))

    def beside(self, shown: str, *texts: str | None) -> str:
        """Return a formatted number with the marks of its cautions; an undefined number has none."""
        if shown == NONE:
            return shown
        mark = self.mark(*texts)
        return f"{shown} {mark}" if mark else shown

    def of(self, row: Mapping[str, Any], key: str = "caution") -> Markup:
        """Return the mark of a record's caution for the page, with the caution as its title."""
        return self.said(row.get(key))

    def about(self, row: Mapping[str, Any], key: str) -> Markup:
        """Return the mark of the caution on one key of a record for the page, if its value is not null."""
        return self.said(row.get("cautions", {}).get(key)) if row.get(key) is not None else Markup("")

    def said(self, *texts: str | None) -> Markup:
        """Return the marks of these cautions for the page."""
        mark, title = self.mark(*texts), "; ".join(dict.fromkeys(text for text in texts if text))
        return (
            Markup(' <abbr class="caution" title="{}">{}</abbr>').format(title, mark) if mark else Markup("")
        )

    @property
    def below(self) -> list[str]:
        """The meaning of each mark, one line each."""
        return [f"{_sign(place)} {_merged(texts)}" for place, texts in enumerate(self._kinds.values())]


def _sign(place: int) -> str:
    return MARKS[place % len(MARKS)] * (1 + place // len(MARKS))


def _merged(texts: list[str]) -> str:
    """Merge cautions of one kind: numbers that differ become a range."""
    words = _NUMBER.split(texts[0])
    columns = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    return "".join(word + span for word, span in zip_longest(words, map(_span, columns), fillvalue=""))


def _span(numbers: tuple[str, ...]) -> str:
    least, most = (pick(numbers, key=_value) for pick in (min, max))
    return least if least == most else f"{least} to {most}"


def _value(number: str) -> float:
    digits, _, power = number.partition("×10")
    exponent = int(power.translate(_PLAIN) or 0)
    return float(digits.replace(",", "")) * 10.0**exponent
