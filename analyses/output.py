"""Where the results of the analyses are written, and how numbers, tables, histograms and lines look in them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate

ROOT = Path(__file__).parents[1]
TRACES = ROOT / "data" / "traces"
RESULTS = ROOT / "reports" / "analyses"
# Distinguishable without colour vision too (Okabe & Ito).
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")


def filled(text: str, width: int = 118) -> str:
    """Fill paragraphs and list items of Markdown to the width; tables, headings and pictures stay unchanged."""
    blocks = []
    for block in text.strip().split("\n\n"):
        if block.startswith(("|", "#", "!")):
            blocks.append(block)
            continue
        mark = "- " if block.startswith("- ") else ""
        wrapper = textwrap.TextWrapper(
            width,
            initial_indent=mark,
            subsequent_indent=" " * len(mark),
            break_long_words=False,
            break_on_hyphens=False,
        )
        items = block.removeprefix(mark).split("\n- ") if mark else [block]
        blocks.append("\n".join(wrapper.fill(" ".join(item.split())) for item in items))
    return "\n\n".join(blocks) + "\n"


def write(name: str, text: str) -> None:
    """Write one file of results, and say where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(text)
    print(f"written: {(RESULTS / name).relative_to(ROOT)}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def interval(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    """Write a value with its 95 % interval, such as `0.61 (0.58 … 0.64)`; the value alone where there is none."""
    value, low, high = (f"{factor * x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high))
    return value if np.isnan(estimate.low) else f"{value} ({low} … {high})"


def histogram_svg(
    values: NDArray[np.float64], marks: Sequence[tuple[float, str]], label: str, bins: int = 40
) -> str:
    """Draw a histogram with labelled vertical lines, as the text of an SVG file.

    Parameters
    ----------
    values
        What is counted in bins.
    marks
        Positions on the same axis, and the words beside their lines.
    label
        Words below the axis.
    bins
        How many bins of equal width.
    """
    width, height, left, base = 640, 260, 30, 200
    everything = np.concatenate([values, [position for position, _ in marks]])
    low, high = float(everything.min()), float(everything.max())
    counts, edges = np.histogram(values, bins=bins, range=(low, high))

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (width - 2 * left)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for count, start, stop in zip(counts, edges[:-1], edges[1:], strict=True):
        tall = 140 * count / counts.max()
        parts.append(
            f'<rect x="{across(start):.1f}" y="{base - tall:.1f}" width="{across(stop) - across(start):.1f}" '
            f'height="{tall:.1f}" fill="#7aa6c2"/>'
        )
    for place, (position, words) in enumerate(marks):
        x, y = across(position), 18 + 18 * place
        anchor = "end" if x > width / 2 else "start"
        shift = -5 if anchor == "end" else 5
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{base}" stroke="#b03a2e" stroke-width="2"/>'
        )
        parts.append(f'<text x="{x + shift:.1f}" y="{y + 4}" text-anchor="{anchor}">{words}</text>')
    parts.append(f'<line x1="{left}" x2="{width - left}" y1="{base}" y2="{base}" stroke="#333"/>')
    for value in np.linspace(low, high, 6):
        parts.append(f'<text x="{across(value):.1f}" y="{base + 18}" text-anchor="middle">{value:.3f}</text>')
    parts.append(f'<text x="{width / 2}" y="{base + 42}" text-anchor="middle">{label}</text></svg>\n')
    return "\n".join(parts)


@dataclass(frozen=True)
class Line:
    """A line of a drawing.

    Attributes
    ----------
    words
        Stand beside its end.
    across
        Positions on the horizontal axis, in order.
    estimates
        A value with its interval at each.
    """

    words: str
    across: Sequence[float]
    estimates: Sequence[Estimate]


def lines_svg(lines: Sequence[Line], across: str, up: str) -> str:
    """Draw lines with their intervals on axes from 0 to 1 upwards, as the text of an SVG file.

    Parameters
    ----------
    lines
        Each in its own colour; no more than there are `COLOURS`.
    across, up
        Words along the axes.
    """
    width, height, left, right, top, base = 720, 360, 60, 510, 20, 300
    positions = sorted({float(x) for line in lines for x in line.across})
    span = positions[-1] - positions[0] or 1.0

    def place(x: float, y: float) -> str:
        return f"{left + (x - positions[0]) / span * (right - left):.1f},{base - y * (base - top):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for value in np.linspace(0, 1, 6):
        y = place(positions[0], value).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{float(y) + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    for x in positions[:: -(-len(positions) // 12)]:
        at = place(x, 0).split(",")[0]
        parts.append(f'<text x="{at}" y="{base + 20}" text-anchor="middle">{x:g}</text>')
    heights = _apart([float(place(0, line.estimates[-1].value).split(",")[1]) for line in lines])
    for line, colour, beside in zip(lines, COLOURS, heights, strict=False):
        known = [
            (x, one) for x, one in zip(line.across, line.estimates, strict=True) if not np.isnan(one.low)
        ]
        band = [place(x, one.high) for x, one in known] + [place(x, one.low) for x, one in known[::-1]]
        middle = [place(x, one.value) for x, one in zip(line.across, line.estimates, strict=True)]
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.2"/>')
        parts.append(
            f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{right + 8}" y="{beside + 4:.1f}" fill="{colour}">{line.words}</text>')
    parts.append(
        f'<text x="{(left + right) / 2:.0f}" y="{base + 45}" text-anchor="middle">{across}</text>'
        f'<text transform="translate(18 {(top + base) / 2:.0f}) rotate(-90)" text-anchor="middle">{up}</text></svg>\n'
    )
    return "\n".join(parts)


def _apart(heights: Sequence[float], least: float = 16.0) -> list[float]:
    """Move the heights of words apart, downwards from the highest, so that they do not overlap."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=lambda place: moved[place])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved
