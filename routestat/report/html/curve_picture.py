"""The curve of experts fetched against the share of needed experts present, as SVG.

The script of the page (templates/prediction.js) draws the same for any layer and number of layers ahead; this is what
a reader without scripts sees, and what the script begins with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from routestat.report.families import Line
from routestat.report.html.curve_codes import decoded

# In CSS pixels; the script has the same.
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, NAMES, APART = 760, 400, 48, 12, 46, 236, 15


@dataclass(frozen=True)
class Curve:
    """One predictor's curve, encoded as in `routestat.report.html.curve_codes`."""

    predictor: str
    line: Line
    code: str


def drawn(curves: Sequence[Curve], fetched: Sequence[int], n_experts: int, share: int, where: str) -> Markup:
    """Draw curves with bands.

    Parameters
    ----------
    curves : sequence of Curve
    fetched : sequence of int
        Experts fetched, one per point of every curve.
    n_experts : int
        Of a layer.
    share : int
        Per cent of the needed experts, marked by a horizontal line.
    where : str
        Which layers, for the description of the picture.
    """
    right, bottom = WIDTH - NAMES, HEIGHT - BOTTOM
    width = max(fetched[-1] - fetched[0], 1)
    across = [LEFT + (right - LEFT) * (one - fetched[0]) / width for one in fetched]

    def down(thousandths: int) -> float:
        return bottom - (bottom - TOP) * thousandths / 1000

    parts = [_axes(fetched, across, n_experts), _limit(share, down(10 * share), right)]
    names = []
    for curve in curves:
        values, n = decoded(curve.code), len(fetched)
        found, low, high = values[:n], values[n : 2 * n], values[2 * n :]
        points = [(x, down(y)) for x, y in zip(across, found, strict=True) if y is not None]
        upper = [(x, down(y)) for x, y in zip(across, high, strict=True) if y is not None]
        lower = [(x, down(y)) for x, y in zip(across, low, strict=True) if y is not None]
        dash = f' stroke-dasharray="{curve.line.dash}"' if curve.line.dash else ""
        band = f'<path class="band" d="{_path([*upper, *reversed(lower)])}Z"/>' if upper else ""
        parts.append(
            f'<g class="curve {curve.line.css}" data-predictor="{escape(curve.predictor)}">{band}'
            f'<path class="line" d="{_path(points)}"{dash}/>{_reached(points, down(10 * share))}</g>'
        )
        if points:
            names.append((points[-1][1], curve))
    parts.append(_names(names, right))
    label = (
        f"Curves of {len(curves)} predictors, {where}: experts fetched, {fetched[0]} to {fetched[-1]} of {n_experts}, "
        "against the share of the needed experts that are then present, with 95 % bands. The table has the numbers."
    )
    return Markup(
        f'<svg class="curves" id="curves" role="img" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _reached(points: Sequence[tuple[float, float]], limit: float) -> str:
    """Return a dot on the first point at or above the limit."""
    dots = (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points if y <= limit)
    return next(dots, "")


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if place else 'M'}{x:.1f} {y:.1f}" for place, (x, y) in enumerate(points))


def _axes(fetched: Sequence[int], across: Sequence[float], n_experts: int) -> str:
    """Return grid, ticks and titles; ticks at multiples of k."""
    right, bottom = WIDTH - NAMES, HEIGHT - BOTTOM
    parts = []
    for percent in range(0, 101, 20):
        y = bottom - (bottom - TOP) * percent / 100
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{right}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    for one, x in zip(fetched, across, strict=True):
        parts.append(f'<path class="tick" d="M{x:.1f} {bottom}v4"/>')
        # Every multiple of k, and every number where there are few.
        if one % fetched[0] == 0 or len(fetched) <= 9:
            parts.append(f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{one}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">experts fetched, of {n_experts}</text>'
    )
    return f'<g class="axes">{"".join(parts)}</g>'


def _limit(share: int, y: float, right: float) -> str:
    return f'<path class="limit" d="M{LEFT} {y:.1f}H{right}" data-share="{share}"/>'


def _names(ends: Sequence[tuple[float, Curve]], right: float) -> str:
    """Return the names beside the ends of the lines, moved apart where they are too near."""
    order = sorted(ends, key=lambda end: end[0])
    parts = []
    for (y, curve), place in zip(order, apart([y for y, _ in order]), strict=True):
        parts.append(
            f'<path class="leader {curve.line.css}" d="M{right + 2} {y:.1f}L{right + 14} {place:.1f}"/>'
            f'<text x="{right + 18}" y="{place + 4:.1f}">{escape(curve.predictor)}</text>'
        )
    return f'<g class="names">{"".join(parts)}</g>'


def apart(heights: Sequence[float]) -> list[float]:
    """Return ascending heights at least `APART` pixels apart, within the picture, and near what they were."""
    places: list[float] = []
    for y in heights:
        places.append(max(y, places[-1] + APART if places else TOP))
    limit = float(HEIGHT - BOTTOM)
    for at in range(len(places) - 1, -1, -1):
        places[at] = min(places[at], limit)
        limit = places[at] - APART
    return places
