"""Frequent windows of 3 to 8 consecutive layers: chosen on some documents, counted on the others.

A window is a choice in each of several consecutive layers: a state, or in the expert view one of the experts that a
token takes there. Windows that were listed because many tokens take them look more frequent than they are. So one part
of the documents, the choosing part, says which windows are tested, and only the others, the testing part, are counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels import windows as kernel
from routestat.counting.kernels.compiling import read_only
from routestat.progress import Progress

SHORTEST, LONGEST = 3, 8
#: A window is tested if at least so many tokens of so many documents of the choosing part take it,
LEAST_TOKENS, LEAST_DOCUMENTS = 20, 6
#: and one in so many of its tokens.
ONE_IN = 3000
#: More tokens are required where more windows than this would be tested, or finding them would take more steps.
MOST_WINDOWS, MOST_STEPS = 1 << 16, 600_000_000
# Where a token takes k windows per layer, their number grows fast as fewer tokens are required.
_MOST_OF_EXPERTS, _STEPS_OF_EXPERTS = 1 << 13, 150_000_000
# Numbers by group of the pairs and triples of choices inside windows.
_MOST_CELLS = 1 << 25


@dataclass(frozen=True, eq=False)
class WindowCounts:
    """Frequent windows, and what their tests need from the documents of the testing part.

    Attributes
    ----------
    start, length : int array ``[window]``
        Place of the first layer among the routers, and number of layers.
    choices : int array ``[window, LONGEST]``
        A state or an expert of each layer, −1 after the last.
    tokens, documents, groups : int array ``[window]``
        Tokens that take the window, and documents and groups in which it occurs.
    expected : float array ``[window]``
        Tokens expected under the chain.
    square : float array ``[window]``
        Sum over the groups of the squared score of tokens − expected.
    variance : float array ``[window]``
        Of tokens − expected, if tokens were independent.
    ratio_square : float array ``[window]``
        Sum over the groups of the squared score of the logarithm of tokens / expected.
    group_tokens : int array ``[group]``
        Tokens of the testing part.
    n_tokens, n_documents : (int, int)
        Of the choosing and of the testing part.
    least_tokens, least_documents : int
        That a window had in the choosing part.
    """

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    choices: NDArray[np.int64]
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    groups: NDArray[np.int64]
    expected: NDArray[np.float64]
    square: NDArray[np.float64]
    variance: NDArray[np.float64]
    ratio_square: NDArray[np.float64]
    group_tokens: NDArray[np.int64]
    n_tokens: tuple[int, int]
    n_documents: tuple[int, int]
    least_tokens: int
    least_documents: int

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.start)


@dataclass(frozen=True, eq=False)
class WindowRows:
    """The rows of a sample, those of the choosing part first, each part by group and document.

    Attributes
    ----------
    choices : int array ``[layer, row, slot]``
        The largest value where missing.
    sizes : int array ``[layer]``
        How many choices there are.
    group, document : int array ``[row]``
        Groups are numbered anew in each part.
    split : int
        Rows of the choosing part.
    """

    choices: NDArray[np.uint16]
    sizes: NDArray[np.int64]
    group: NDArray[np.int32]
    document: NDArray[np.int32]
    split: int


def window_rows(sample: Sample, states: str, choosing: NDArray[np.bool_]) -> WindowRows:
    """Arrange the rows of a sample for windows.

    Parameters
    ----------
    sample : Sample
    states : {"subset", "expert"}
        The view.
    choosing : bool array ``[group]``
        The groups of documents that choose the windows.
    """
    part = ~choosing[sample.group]
    order = np.lexsort((sample.document, sample.group, part))
    split = len(order) - int(part.sum())
    routers = sample.routers
    slots = 1 if states == "subset" else max((router.top_k for router in routers), default=1)
    missing = np.iinfo(np.uint16).max
    choices = np.full((len(routers), len(order), slots), missing, np.uint16)
    for place, router in enumerate(routers):
        values = sample.columns[router.name]
        if states == "subset":
            choices[place, :, 0] = values[order]
            choices[place][choices[place] >= router.alphabet.size] = missing
        else:
            choices[place, :, : router.top_k] = expert_rows(values, router)[order]
            choices[place][choices[place] >= router.n_experts] = missing
    sizes = [router.alphabet.size if states == "subset" else router.n_experts for router in routers]
    group = np.empty(len(order), np.int32)
    for rows in (slice(0, split), slice(split, None)):
        group[rows] = np.unique(sample.group[order[rows]], return_inverse=True)[1]
    return WindowRows(
        read_only(choices),
        read_only(np.array(sizes, np.int64)),
        read_only(group),
        read_only(sample.document[order].astype(np.int32)),
        split,
    )


def count_windows(
    rows: WindowRows,
    orders: Sequence[int],
    *,
    least_tokens: int = LEAST_TOKENS,
    least_documents: int = LEAST_DOCUMENTS,
    most_windows: int | None = None,
    most_steps: int | None = None,
    progress: Progress | None = None,
) -> WindowCounts:
    """Count the windows that are frequent in the choosing part, on the testing part.

    Parameters
    ----------
    rows : WindowRows
    orders : sequence of int
        Of the chain, per gap: 0, 1 or 2 layers before. A window is tested if the chain does not determine it, which has
        two layers more than the order at least.
    least_tokens, least_documents : int
        That a window must have in the choosing part; more tokens where these are less than one in `ONE_IN`, or would
        give more than `most_windows` windows or `most_steps` steps.
    most_windows, most_steps : int, optional
        By default `MOST_WINDOWS` and `MOST_STEPS`, fewer in the expert view.
    progress : callable(layers_done, layers), optional
    """
    of_layer = read_only(np.minimum(np.array([0, *orders], np.int64), 2))
    least_tokens = max(least_tokens, -(-rows.split // ONE_IN))
    wide = rows.choices.shape[2] > 1
    windows = most_windows or (_MOST_OF_EXPERTS if wide else MOST_WINDOWS)
    # Every choice is looked at once at least.
    steps = max(most_steps or (_STEPS_OF_EXPERTS if wide else MOST_STEPS), 4 * rows.choices.size)

    def search(least: int, seen: Progress | None = None) -> _Found | None:
        return _search(rows, of_layer, np.array([least, least_documents], np.int64), windows, steps, seen)

    found = None
    # From few windows to more, as long as the next search, of about three times as many steps, is within the limit.
    thresholds = _falling(least_tokens, rows.split) if wide else []
    for done, least in enumerate(thresholds):
        more = search(least)
        if more is not None:
            found, least_tokens = more, least
        if found is not None and (more is None or 3 * more.steps > steps):
            break
        if progress is not None:
            progress(done + 1, len(thresholds))
    while found is None:
        found = search(least_tokens, progress)
        least_tokens *= 1 if found is not None else 2
    whole, real = found.whole, found.real
    tokens = np.bincount(rows.group[rows.split :], minlength=0)
    documents = tuple(
        len(np.unique(rows.document[part])) for part in (slice(0, rows.split), slice(rows.split, None))
    )
    return WindowCounts(
        start=whole[:, kernel.START],
        length=whole[:, kernel.LENGTH],
        choices=whole[:, kernel.WORDS :],
        tokens=real[:, kernel.TOKENS].astype(np.int64),
        documents=whole[:, kernel.DOCUMENTS],
        groups=whole[:, kernel.GROUPS],
        expected=real[:, kernel.EXPECTED],
        square=real[:, kernel.SQUARE],
        variance=real[:, kernel.VARIANCE],
        ratio_square=real[:, kernel.RATIO_SQUARE],
        group_tokens=tokens,
        n_tokens=(rows.split, len(rows.group) - rows.split),
        n_documents=(documents[0], documents[1]),
        least_tokens=least_tokens,
        least_documents=least_documents,
    )


def _falling(least: int, most: int) -> list[int]:
    """Return rising powers of the root of two times `least` up to `most`, the largest first."""
    steps = [least]
    while steps[-1] < most:
        steps.append(math.ceil(least * 2.0 ** (len(steps) / 2)))
    return steps[::-1]


@dataclass(frozen=True, eq=False)
class _Found:
    """What the kernel has found, and in how many steps."""

    whole: NDArray[np.int64]
    real: NDArray[np.float64]
    steps: int


def _search(
    rows: WindowRows,
    orders: NDArray[np.int64],
    least: NDArray[np.int64],
    most_windows: int,
    most_steps: int,
    progress: Progress | None,
) -> _Found | None:
    """Find the windows from the last layer on; None if there are too many."""
    layers, size = len(rows.sizes), int(rows.sizes.max(initial=1))
    tokens = np.bincount(rows.group[rows.split :]).astype(np.float64)
    groups = max(1, len(tokens))
    most = max(1, _MOST_CELLS // groups)
    # Pages of memory are taken when they are first written.
    singles = np.zeros((layers, size, groups))
    pairs = np.empty((min(most, layers * size * size), groups))
    longest_order = int(orders.max(initial=0))
    triples = np.empty((most if longest_order == 2 else 1, groups))
    pair_of = np.zeros((layers, size, size), np.int32)
    triple_of = np.zeros((len(pairs) if longest_order == 2 else 1, size), np.int32)
    used = np.zeros(4, np.int64)
    whole = np.empty((most_windows, kernel.WORDS + LONGEST), np.int64)
    real = np.empty((most_windows, 5))
    for done, start in enumerate(range(layers - 1, -1, -1)):
        if kernel.frequent_windows(
            start, rows.choices, rows.sizes, orders, rows.split, rows.group, rows.document, read_only(tokens),
            read_only(least), most_steps, singles, pairs, triples, pair_of, triple_of, used, whole, real,
        ):  # fmt: skip
            return None
        if progress is not None:
            progress(done + 1, layers)
    return _Found(whole[: used[2]].copy(), real[: used[2]].copy(), int(used[3]))


def take_any(rows: WindowRows, start: NDArray[np.int64], choices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows of the testing part take at least one of some windows ``[row]``.

    Parameters
    ----------
    rows : WindowRows
    start : int array ``[window]``
    choices : int array ``[window, layer]``
        −1 after the last.
    """
    roots = np.zeros(len(rows.sizes), np.int64)
    # Node 0 is none, and the roots follow it.
    begins = np.unique(start)
    roots[begins] = np.arange(len(begins)) + 1
    places = {(int(at), ()): int(roots[at]) for at in begins}
    ends = set()
    for window in np.argsort((choices >= 0).sum(axis=1), kind="stable").tolist():
        at = int(start[window])
        word = tuple(choices[window][choices[window] >= 0].tolist())
        # A row that takes a window takes its beginning.
        if not any((at, word[:end]) in ends for end in range(1, len(word))):
            ends.add((at, word))
            for end in range(1, len(word) + 1):
                places.setdefault((at, word[:end]), len(places) + 1)
    child = np.zeros((len(places) + 1, int(rows.sizes.max(initial=1))), np.int32)
    for (at, word), node in places.items():
        if word:
            child[places[at, word[:-1]], word[-1]] = node
    is_end = np.zeros(len(child), bool)
    is_end[np.array([places[window] for window in ends], np.int64)] = True
    return np.asarray(
        kernel.on_windows(
            read_only(np.ascontiguousarray(rows.choices[:, rows.split :])),
            read_only(child),
            read_only(roots),
            read_only(is_end),
        )
    )
