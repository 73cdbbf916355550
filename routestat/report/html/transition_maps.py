"""Heatmaps of transitions in the page itself: joint and conditional distribution, and the share of every source."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from routestat.report.html.cell_pictures import cell_picture, colour_key
from routestat.report.names import FEW_TOKENS, of_layer, state_names
from routestat.report.numbers import number
from routestat.report.records.layer_pairs import by_information
from routestat.study.layer_pairs import LayerPair
from routestat.study.transitions import TransitionTable, transition_table

Floats = NDArray[np.float64]

#: Cells of all heatmaps of a page; with more it would take many megabytes.
MOST_CELLS = 1 << 23
# In CSS pixels: a side of a heatmap, about; space for text; the widths of bars and colour keys.
_SIDE, _TOP, _LINE, _LETTER, _BARS, _KEY, _KEY_TEXT = 390, 22, 16, 6.4, 64, 12, 44
_TICKS_APART = 16


@dataclass(frozen=True)
class TransitionMap:
    """The heatmaps of a transition as SVG, or the reason why there are none."""

    svg: Markup | None = None
    reason: str = ""


@dataclass(frozen=True)
class _Frame:
    """Where the cells of a heatmap are, in CSS pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.top + self.height


def transition_maps(pairs: Sequence[LayerPair], states: str) -> list[TransitionMap]:
    """Draw the transitions of the pairs, in their order; of very wide ones only the strongest."""
    drawn: dict[str, TransitionMap] = {}
    cells = 0
    for item in by_information(pairs):
        cells += 2 * item.table.size
        if cells > MOST_CELLS and drawn:
            why = f"{item.table.size:,} cells more would make the page too large; --figures draws them in a file."
            drawn[item.target.name] = TransitionMap(reason=why)
        else:
            drawn[item.target.name] = transition_map(item, states)
    return [drawn[item.target.name] for item in pairs]


def transition_map(item: LayerPair, states: str) -> TransitionMap:
    """Draw P(i, j) and P(j | i) side by side with the share of tokens of every i, as SVG; or say why not.

    Parameters
    ----------
    item : LayerPair
    states : {"subset", "expert"}
    """
    found = transition_table(item, states)
    if found is None:
        why = f"No token has a choice at both layer {item.source.layer} and layer {item.target.layer}."
        return TransitionMap(reason=why)
    rows, columns = state_names(item.source, states), state_names(item.target, states)
    beside = 10 + _LETTER * max(map(len, rows))
    sides = [max(1, round(_SIDE / len(names))) * len(names) for names in (columns, rows)]
    bars = _Frame(_LINE + beside, _TOP, _BARS, sides[1])
    joint = _Frame(bars.left + _BARS + 8, _TOP, *sides)
    given = _Frame(joint.left + sides[0] + 8 + _KEY + _KEY_TEXT + beside, _TOP, *sides)
    under = 10 + _LETTER * max(map(len, columns))
    width = given.left + sides[0] + 8 + _KEY + _KEY_TEXT
    height = joint.bottom + under + _LINE
    # Cells without tokens are zero, but P(j | i) is undefined where i has none.
    share, conditional = np.nan_to_num(found.joint), np.nan_to_num(found.conditional)
    conditional[found.row_tokens == 0] = np.nan
    source, target = f"i: {of_layer(item.source, states)}", f"j: {of_layer(item.target, states)}"
    middle = joint.top + joint.height / 2
    parts = [
        _twice(
            f"rows-{item.target.name}",
            f'<text text-anchor="end">{_beside(rows, bars)}</text>',
            given.left - bars.left,
        ),
        _twice(
            f"columns-{item.target.name}",
            f'<text transform="rotate(-90)" text-anchor="end">{_below(columns, joint)}</text>',
            given.left - joint.left,
        ),
        f'<text transform="rotate(-90)" x="{-middle:.4g}" y="12" text-anchor="middle">{source}</text>',
        _twice(f"key-{item.target.name}", _key(joint), given.left - joint.left),
        _bars(found, bars),
        *_heatmap(share, joint, "joint P(i, j)", target, under),
        *_heatmap(conditional, given, "conditional P(j | i)", target, under),
    ]
    alt = (
        f"Two heatmaps for layers {item.source.layer} to {item.target.layer}, sources as rows and targets as columns: "
        "joint probability on the left, probability of the target given the source on the right, and beside them the "
        "share of each source."
    )
    return TransitionMap(
        Markup(
            f'<svg class="cells" role="img" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" aria-label="{alt}">{"".join(parts)}</svg>'
        )
    )


def _heatmap(values: Floats, frame: _Frame, title: str, target: str, under: float) -> list[str]:
    """Return the cells of a table with title, label of the columns and colour key."""
    largest = float(np.nanmax(values))
    centre = frame.left + frame.width / 2
    return [
        f'<text x="{centre:.4g}" y="14" text-anchor="middle">{title}</text>',
        f'<text x="{centre:.4g}" y="{frame.bottom + under + 10:.4g}" text-anchor="middle">{target}</text>',
        f'<image x="{frame.left:.4g}" y="{frame.top}" width="{frame.width}" height="{frame.height}" '
        f'preserveAspectRatio="none" href="{cell_picture(values, largest)}"/>',
        _values(largest, frame),
    ]


def _key(frame: _Frame) -> str:
    """Return the colours from the least value to the largest; the square root of the value runs upwards."""
    return (
        f'<image x="{frame.left + frame.width + 8:.4g}" y="{frame.top}" width="{_KEY}" height="{frame.height}" '
        f'preserveAspectRatio="none" href="{colour_key()}"/>'
    )


def _values(largest: float, frame: _Frame) -> str:
    """Return the numbers beside a colour key."""
    left = frame.left + frame.width + 8 + _KEY + 4
    ticks = "".join(
        f'<tspan x="{left:.4g}" y="{frame.bottom - place + 4:.4g}">{words}</tspan>'
        for place, words in _ticks(largest, frame.height)
    )
    return f"<text>{ticks}</text>"


def _ticks(largest: float, height: float) -> list[tuple[float, str]]:
    """Return plain numbers for a key and how far up they stand, the largest first and none too near another."""
    if not largest > 0:
        return [(0.0, "0")]
    decade = int(np.floor(np.log10(largest)))
    plain = [step * 10.0**power for power in range(decade, decade - 5, -1) for step in (5, 2, 1)]
    found = [(height, number(largest, 2))]
    for value in [one for one in plain if one <= largest]:
        place = height * float(np.sqrt(value / largest))
        if place >= _TICKS_APART and found[-1][0] - place >= 2 * _TICKS_APART:
            found.append((place, f"{value:g}" if value >= 1e-4 else number(value, 1)))
    return [*found, (0.0, "0")]


def _bars(found: TransitionTable, frame: _Frame) -> str:
    """Return the share of every source as a bar; those on few tokens have another colour and a line beside them."""
    shares, largest = found.source_shares, float(found.source_shares.max())
    few = found.row_tokens < FEW_TOKENS
    step = frame.height / len(shares)
    outlines = {"many": [f"M{frame.left:.4g} {frame.top + 0.05 * step:.4g}"]}
    outlines["few"] = outlines["many"].copy()
    for is_few, share in zip(few.tolist(), (shares / largest * frame.width).tolist(), strict=True):
        for kind, lines in outlines.items():
            drawn = is_few == (kind == "few") and share > 0
            lines.append(
                f"h{share:.3g}v{0.9 * step:.3g}h-{share:.3g}m0 {0.1 * step:.3g}"
                if drawn
                else f"m0 {step:.4g}"
            )
    paths = [f'<path class="{kind}" d="{"".join(lines)}"/>' for kind, lines in outlines.items()]
    # Beside every run of rows on few tokens a line: their colour alone is not seen by all.
    edges = np.flatnonzero(np.diff(np.concatenate([[0], few, [0]])))
    runs = "".join(
        f"M{frame.left - 2:.4g} {frame.top + start * step:.4g}v{(stop - start) * step:.4g}"
        for start, stop in edges.reshape(-1, 2).tolist()
    )
    right, below = frame.left + frame.width, frame.bottom + 14
    return (
        "".join(paths)
        + (f'<path class="run" d="{runs}"/>' if runs else "")
        + f'<text x="{frame.left:.4g}" y="14">P(i)</text><text x="{frame.left:.4g}" y="{below:.4g}">0</text>'
        + f'<text x="{right:.4g}" y="{below:.4g}" text-anchor="end">{number(largest, 2)}</text>'
    )


def _twice(name: str, drawn: str, right: float) -> str:
    """Show an element, and again so far to the right."""
    return f'<g id="{name}">{drawn}</g><use href="#{name}" x="{right:.4g}"/>'


def _beside(names: Sequence[str], frame: _Frame) -> str:
    """Return the names of the rows, every n-th where there are many."""
    step = frame.height / len(names)
    return "".join(
        f'<tspan x="{frame.left - 5:.4g}" y="{frame.top + (place + 0.5) * step + 4:.4g}">{names[place]}</tspan>'
        for place in _shown(names, step)
    )


def _below(names: Sequence[str], frame: _Frame) -> str:
    """Return the names of the columns, turned by a quarter."""
    step = frame.width / len(names)
    return "".join(
        f'<tspan x="{-frame.bottom - 5:.4g}" y="{frame.left + (place + 0.5) * step + 4:.4g}">{names[place]}</tspan>'
        for place in _shown(names, step)
    )


def _shown(names: Sequence[str], step: float) -> range:
    return range(0, len(names), max(1, int(np.ceil(11 / step))))
