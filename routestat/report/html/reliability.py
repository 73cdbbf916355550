"""Reliability curves as small multiples: how often experts were used against the probability predicted for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from routestat.report.families import Line

# In CSS pixels: the side of a panel, around it, and above it for the name.
SIDE, LEFT, BELOW, ABOVE = 150, 44, 34, 22


def reliability_panels(rows: Sequence[Mapping[str, Any]], lines: Mapping[str, Line]) -> Markup:
    """Draw one panel per record of calibration, each a picture of its own so that they flow into any width."""
    return Markup("").join(_panel(row, lines[row["predictor"]]) for row in rows)


def _panel(row: Mapping[str, Any], line: Line) -> Markup:
    points = [one for one in row["bins"] if one["observed"] is not None and one["probability"] is not None]
    bars = "".join(
        f"M{_across(one['probability'])} {_down(low)}V{_down(high)}"
        for one in points
        for low, high in [one["observed_ci95"]]
        if low is not None and high is not None
    )
    joined = "".join(
        f"{'L' if place else 'M'}{_across(one['probability'])} {_down(one['observed'])}"
        for place, one in enumerate(points)
    )
    dots = "".join(
        f'<circle cx="{_across(one["probability"])}" cy="{_down(one["observed"])}" r="2.5"/>'
        for one in points
    )
    width, height = LEFT + SIDE + 10, ABOVE + SIDE + BELOW
    label = (
        f"Reliability of {row['predictor']}: how often experts were used against the probability predicted for them, "
        f"{len(points)} points with 95 % intervals."
    )
    return Markup(
        f'<svg class="curves panel" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(label)}" data-predictor="{escape(row["predictor"])}">'
        f'<text x="{LEFT}" y="14">{escape(row["predictor"])}</text>{_axes()}'
        f'<g class="curve {line.css}"><path class="line" d="{joined}"/><path class="bar" d="{bars}"/>{dots}</g></svg>'
    )


def _axes() -> str:
    bottom = ABOVE + SIDE
    parts = [f'<path class="grid" d="M{LEFT} {ABOVE}V{bottom}H{LEFT + SIDE}"/>']
    for share, words in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        parts.append(
            f'<text x="{LEFT - 6}" y="{float(_down(share)) + 4:.1f}" text-anchor="end">{words}</text>'
        )
        parts.append(f'<text x="{_across(share)}" y="{bottom + 16}" text-anchor="middle">{words}</text>')
    parts.append(f'<path class="limit" d="M{LEFT} {bottom}L{LEFT + SIDE} {ABOVE}"/>')
    return f'<g class="axes">{"".join(parts)}</g>'


def _across(share: float) -> str:
    return f"{LEFT + SIDE * share:.1f}"


def _down(share: float) -> str:
    return f"{ABOVE + SIDE * (1 - share):.1f}"
