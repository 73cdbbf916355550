"""Windows of consecutive layers, and routes through all, that are frequent in two samples taken together.

Which windows are listed depends on the tokens of both samples together, not on how they are divided among the two: so
their difference can be tested on the same tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.strata import choices_of
from routestat.counting.windows import LONGEST, SHORTEST
from routestat.traces.row_hash import hash_rows

#: Tokens, and groups of documents, of both samples together that a window needs.
LEAST_TOKENS, LEAST_GROUPS = 50, 6
#: And one in so many tokens: in the state view, and of windows through one of k experts per layer.
ONE_IN, ONE_IN_OF_EXPERTS = 2000, 25
#: More tokens are required where there would be more windows, or where finding them takes more steps.
MOST_WINDOWS, MOST_STEPS = 20_000, 150_000_000
#: Routes through all layers: the most frequent ones of at least so many tokens.
MOST_ROUTES, LEAST_ON_ROUTE = 1000, 20


@dataclass(frozen=True, eq=False)
class CommonWindows:
    """Windows of the same layers.

    Attributes
    ----------
    start, length : int
        Place of the first layer, and number of layers.
    choices : int array ``[window, layer]``, of routes in the expert view ``[window, layer, slot]``
        States, in the expert view experts.
    tokens : pair of int arrays ``[group, window]``
        Of both samples.
    sizes : pair of int arrays ``[group]``
        Tokens with a choice at all of the layers.
    is_route : bool
        Whether whole choices at all layers are compared.
    """

    start: int
    length: int
    choices: NDArray[np.int64]
    tokens: tuple[NDArray[np.int64], NDArray[np.int64]]
    sizes: tuple[NDArray[np.int64], NDArray[np.int64]]
    is_route: bool = False


class _TooManyError(Exception):
    """More windows or steps than are allowed."""


def common_windows(samples: tuple[Sample, Sample], states: str) -> tuple[tuple[CommonWindows, ...], int]:
    """Count the windows of 3 to 8 layers that are frequent in both samples together.

    Parameters
    ----------
    samples : pair of Samples
        With the same routers.
    states : {"subset", "expert"}
        In the expert view a window is one expert of each layer, and a token takes it if it includes them all.

    Returns
    -------
    windows : tuple of CommonWindows
    least : int
        Tokens that each has in both samples together.
    """
    n = sum(map(len, samples))
    least = max(LEAST_TOKENS, -(-n // (ONE_IN if states == "subset" else ONE_IN_OF_EXPERTS)))
    columns = [[choices_of(sample, router, states) for router in sample.routers] for sample in samples]
    sides = [
        _Side(sample, [choice for choice, _ in own]) for sample, own in zip(samples, columns, strict=True)
    ]
    sizes = [size for _, size in columns[0]]
    while True:
        budget = [MOST_WINDOWS, MOST_STEPS]
        try:
            starts = range(max(0, len(sizes) - SHORTEST + 1))
            return tuple(one for start in starts for one in _from(sides, sizes, start, least, budget)), least
        except _TooManyError:
            least *= 2


def common_routes(samples: tuple[Sample, Sample]) -> CommonWindows | None:
    """Count the most frequent routes through all layers, of both samples together; None without any.

    Parameters
    ----------
    samples : pair of Samples
        With the same routers.
    """
    rows, groups = [], []
    for sample in samples:
        columns = [sample.columns[router.name] for router in sample.routers]
        known = np.ones(len(sample), bool)
        for router, column in zip(sample.routers, columns, strict=True):
            known &= column < router.alphabet.size if column.ndim == 1 else column[:, 0] < router.n_experts
        rows.append(np.column_stack([column[known] for column in columns]).astype(np.int64))
        groups.append(sample.group[known])
    both = np.concatenate(rows)
    if not len(both):
        return None
    _, first, number, count = np.unique(
        hash_rows(both.T, len(both)), return_index=True, return_inverse=True, return_counts=True
    )
    often = np.flatnonzero(count >= LEAST_ON_ROUTE)
    often = often[np.argsort(-count[often], kind="stable")][:MOST_ROUTES]
    place = np.full(len(count), -1, np.int64)
    place[often] = np.arange(len(often))
    ids = np.split(place[number], [len(rows[0])])
    tables = [
        _table(group, own, len(often), sample.groups)
        for sample, group, own in zip(samples, groups, ids, strict=True)
    ]
    held = _in_groups(tables) >= LEAST_GROUPS
    if not held.any():
        return None
    layers, first = len(samples[0].routers), first[often][held]
    choices = both[first].reshape(len(first), layers, -1)
    return CommonWindows(
        0,
        layers,
        choices[:, :, 0] if choices.shape[2] == 1 else choices,
        (tables[0][:, held], tables[1][:, held]),
        (_sizes(groups[0], samples[0].groups), _sizes(groups[1], samples[1].groups)),
        True,
    )


class _Side:
    """One sample: its choices ``[layer][row, slot]`` and groups ``[row]``."""

    def __init__(self, sample: Sample, choices: list[NDArray[np.int32]]) -> None:
        self.choices, self.group, self.groups = choices, sample.group, sample.groups


def _from(
    sides: list[_Side], sizes: list[int], start: int, least: int, budget: list[int]
) -> Iterator[CommonWindows]:
    """Yield the windows that begin at a layer, by length; a window is frequent only if its beginning is."""
    words = np.arange(sizes[start])[:, None]
    rows, ids, known = [], [], []
    for side in sides:
        first = side.choices[start]
        known.append(first[:, 0] < sizes[start])
        row, slot = np.nonzero(np.broadcast_to(known[-1][:, None], first.shape))
        rows.append(row)
        ids.append(first[row, slot].astype(np.int64))
    words, rows, ids = _frequent(words, rows, ids, least)
    for length in range(2, min(LONGEST, len(sizes) - start) + 1):
        layer, size = start + length - 1, sizes[start + length - 1]
        for at, side in enumerate(sides):
            own = side.choices[layer]
            known[at] = known[at] & (own[:, 0] < size)
            there = known[at][rows[at]]
            row, slots = rows[at][there], own.shape[1]
            ids[at] = (ids[at][there, None] * size + own[row]).ravel()
            rows[at] = np.repeat(row, slots) if slots > 1 else row
        budget[1] -= sum(map(len, rows))
        if budget[1] < 0:
            raise _TooManyError
        words = np.column_stack([np.repeat(words, size, axis=0), np.tile(np.arange(size), len(words))])
        words, rows, ids = _frequent(words, rows, ids, least)
        if not len(words):
            return
        if length < SHORTEST:
            continue
        tables = [
            _table(side.group[row], own, len(words), side.groups)
            for side, row, own in zip(sides, rows, ids, strict=True)
        ]
        held = _in_groups(tables) >= LEAST_GROUPS
        budget[0] -= int(held.sum())
        if budget[0] < 0:
            raise _TooManyError
        if held.any():
            counted = [_sizes(side.group[own], side.groups) for side, own in zip(sides, known, strict=True)]
            yield CommonWindows(
                start,
                length,
                words[held],
                (tables[0][:, held], tables[1][:, held]),
                (counted[0], counted[1]),
            )


def _frequent(
    words: NDArray[np.int64], rows: list[NDArray[np.int64]], ids: list[NDArray[np.int64]], least: int
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Keep the windows of at least so many tokens, and the rows on them, under new numbers."""
    counts = [np.bincount(own, minlength=len(words)) for own in ids]
    count = counts[0] + counts[1]
    kept = count >= least
    number = np.cumsum(kept) - 1
    there = [kept[own] for own in ids]
    return (
        words[kept],
        [row[own] for row, own in zip(rows, there, strict=True)],
        [number[one[own]] for one, own in zip(ids, there, strict=True)],
    )


def _table(
    group: NDArray[np.int64], ids: NDArray[np.int64], n_windows: int, n_groups: int
) -> NDArray[np.int64]:
    """Count entries ``[group, window]``; −1 is none."""
    on = ids >= 0
    cells = np.bincount(group[on] * n_windows + ids[on], minlength=n_groups * n_windows)
    return cells.reshape(n_groups, n_windows)


def _in_groups(tables: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Count the groups of both samples in which each window occurs."""
    return np.asarray((tables[0] > 0).sum(axis=0) + (tables[1] > 0).sum(axis=0))


def _sizes(group: NDArray[np.int64], n_groups: int) -> NDArray[np.int64]:
    return np.bincount(group, minlength=n_groups)
