"""Files of several ranks joined: the same tokens once, different layers together, different tokens separate."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.number_ranges import span

#: Ranks that agree on so many rows hold the same tokens, where so many times fewer agree one row further on.
SAME, TIMES = 0.9, 4


@dataclass(frozen=True)
class Rank:
    """What one rank recorded: experts ``[token, slot]`` by iteration and layer."""

    number: int
    file: Path
    arrays: dict[tuple[int, int], NDArray[np.integer]]

    @property
    def layers(self) -> frozenset[int]:
        """The layers it recorded."""
        return frozenset(layer for _, layer in self.arrays)


def without_repeats(ranks: list[Rank], notes: list[str]) -> list[Rank]:
    """Return the ranks that hold different tokens; of ranks with the same tokens the longest, then the first."""
    kept: list[Rank] = []
    repeats, apart = [], 0
    for rank in sorted(ranks, key=lambda one: (-len(one.arrays), one.number)):
        differing = [rows for one in kept if (rows := _rows_that_differ(one, rank)) is not None]
        if differing:
            repeats.append(rank.number)
            apart += min(differing)
        else:
            kept.append(rank)
    if repeats:
        flips = f"; {apart} of their rows differ, as broken ties do" if apart else ""
        notes.append(f"dropped ranks {span(sorted(repeats))}: they hold the tokens of another rank{flips}")
    return sorted(kept, key=lambda one: one.number)


def _rows_that_differ(first: Rank, second: Rank) -> int | None:
    """Count the rows in which two ranks of the same tokens differ; None if they hold different tokens."""
    total = differ = by_chance = 0
    for place, array in second.arrays.items():
        other = first.arrays.get(place)
        if other is None or other.shape != array.shape:
            return None
        mine, theirs = np.sort(array, axis=1), np.sort(other, axis=1)
        total += len(array)
        differ += int((mine != theirs).any(axis=1).sum())
        # Of a router that chooses one expert nearly always, rows of different tokens agree too.
        by_chance += int((mine != np.roll(theirs, 1, axis=0)).any(axis=1).sum())
    same = differ <= (1 - SAME) * total and differ * TIMES <= by_chance
    return differ if total and (same or not differ) else None


def joined_stages(path: Path, ranks: list[Rank], notes: list[str]) -> list[Rank]:
    """Pipeline stages joined into ranks of all layers; ranks of the same layers are left as they are.

    Raises
    ------
    FormatError
        If layers overlap in part, or stages do not fit together.
    """
    stages: dict[frozenset[int], list[Rank]] = defaultdict(list)
    for rank in ranks:
        stages[rank.layers].append(rank)
    if len(stages) == 1:
        return ranks
    if sum(map(len, stages)) > len(frozenset.union(*stages)):
        held = "; ".join(f"rank {r.number}: {span(sorted(r.layers))}" for r in ranks)
        raise FormatError(f"{path}: ranks hold neither the same layers nor different ones ({held})")
    sizes = {len(stage) for stage in stages.values()}
    if len(sizes) > 1:
        held = ", ".join(f"{len(stage)} of layers {span(sorted(layers))}" for layers, stage in stages.items())
        raise FormatError(f"{path}: pipeline stages of unequal numbers of ranks: {held}")
    joined = []
    for parts in zip(*stages.values(), strict=True):
        for part in parts[1:]:
            if _lengths(part) != _lengths(parts[0]):
                raise FormatError(
                    f"{path}: rank {parts[0].number} and rank {part.number} have different layers, but not the same "
                    "tokens in each iteration: not stages of one pipeline"
                )
        arrays = {place: array for part in parts for place, array in part.arrays.items()}
        joined.append(Rank(parts[0].number, parts[0].file, arrays))
    notes.append(f"ranks with different layers were joined as pipeline stages: {len(stages)} stages")
    return joined


def _lengths(rank: Rank) -> dict[int, int]:
    """Tokens of every iteration."""
    return {iteration: len(array) for (iteration, _), array in rank.arrays.items()}
