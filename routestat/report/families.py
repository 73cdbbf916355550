"""Colours and dashes of predictors: a colour per family, a dash per predictor within it; baselines are grey."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Family → colour on white, colour on black. Okabe and Ito's palette, with a contrast of at least 3 on either.
COLOURS: Mapping[str, tuple[str, str]] = {
    "ridge": ("#0072B2", "#4DA3E0"),
    "network": ("#C75400", "#FF8A3D"),
    "chain": ("#A87000", "#F0B429"),
    "factorised": ("#008A64", "#2CC295"),
    "naive Bayes": ("#2386BE", "#A6DCF7"),
    "gate": ("#B0508A", "#E59AC4"),
    "similar tokens": ("#9E2A2B", "#FF8F8F"),
}
#: Baselines, and families that have no colour of their own.
BASELINE, OTHER = ("#595959", "#AAB3BF"), ("#6B4FA0", "#B39DE8")
#: The n-th predictor of a family; baselines begin with the second, so that none of them is a solid line.
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 3", "2 2 6 2", "1 3")


@dataclass(frozen=True)
class Line:
    """How the line of a predictor is drawn: a class of the style sheet, a colour on white, a dash."""

    css: str
    colour: str
    dash: str


def lines_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Line]:
    """Return the line of every predictor by its name; rows are records with predictor, family and baseline."""
    found: dict[str, Line] = {}
    seen: dict[str, int] = {}
    for row in rows:
        name, kind = row["predictor"], "baseline" if row["baseline"] else row["family"]
        if name in found:
            continue
        place = seen.get(kind, 0) + (kind == "baseline")
        seen[kind] = seen.get(kind, 0) + 1
        light, _ = BASELINE if kind == "baseline" else COLOURS.get(kind, OTHER)
        found[name] = Line(css_class(kind), light, DASHES[place % len(DASHES)])
    return found


def css_class(kind: str) -> str:
    """Return the class of a family or of "baseline" in the style sheet."""
    if kind == "baseline":
        return "family-baseline"
    return f"family-{kind.lower().replace(' ', '-')}" if kind in COLOURS else "family-other"


def scheme(dark: bool) -> dict[str, str]:
    """Return the colour of every class of the style sheet in a colour scheme."""
    colours = {**COLOURS, "baseline": BASELINE, "": OTHER}
    return {css_class(kind): pair[dark] for kind, pair in colours.items()}
