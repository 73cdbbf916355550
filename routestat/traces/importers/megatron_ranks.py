"""Ranks of Megatron-LM joined: pipeline stages, and parts of the same sequences."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from routestat.errors import FormatError
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.number_ranges import span

#: The micro-batches of one (step, rank) by layer, each ``[token, slot]``.
Passes = dict[int, list[NDArray[np.integer]]]
#: A step, a rank, and its micro-batches ``[token, layer, slot]``.
Routed = tuple[int, int, list[NDArray[np.integer]]]


def join_stages(
    path: Path, step: int, ranks: dict[int, Passes], notes: list[str]
) -> list[tuple[int, int, Passes]]:
    """Join ranks of a step with disjoint layers: the i-th of every stage, as Megatron numbers ranks."""
    stages: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for rank in sorted(ranks):
        stages[tuple(sorted(ranks[rank]))].append(rank)
    if len(stages) == 1:
        return [(step, rank, ranks[rank]) for rank in sorted(ranks)]
    layers = [layer for stage in stages for layer in stage]
    if len(set(layers)) < len(layers) or len({len(members) for members in stages.values()}) > 1:
        raise FormatError(
            f"{path}: step {step}: ranks hold layers {' and '.join(span(stage) for stage in stages)}: neither the same "
            "nor pipeline stages; was a file cut off or left out?"
        )
    note = f"ranks were joined as {len(stages)} pipeline stages"
    if note not in notes:
        notes.append(note)
    merged = []
    for members in zip(*stages.values(), strict=True):
        merged.append((step, members[0], {k: v for rank in members for k, v in ranks[rank].items()}))
    return merged


def as_long(stacked: list[Routed]) -> bool:
    """Return whether the ranks of every step have passes of the same numbers of tokens."""
    sizes: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    for step, _, batches in stacked:
        sizes[step].add(tuple(map(len, batches)))
    return all(len(found) == 1 for found in sizes.values())


def ranks_together(path: Path, stacked: list[Routed], options: ImportOptions, notes: list[str]) -> int:
    """Return how many neighbouring ranks hold parts of one sequence, by option or by its length; else 1."""
    if options.sequence_parallel is not None:
        return options.sequence_parallel
    length, n_ranks = options.sequence_length, len({rank for _, rank, _ in stacked})
    sizes = {len(one) for *_, batches in stacked for one in batches}
    if length is None or n_ranks == 1 or all(size % length == 0 for size in sizes):
        return 1
    fit = [
        n
        for n in range(2, n_ranks + 1)
        if n_ranks % n == 0 and length % n == 0 and all(size * n % length == 0 for size in sizes)
    ]
    if len(fit) > 1:
        raise FormatError(
            f"{path}: no rank holds whole sequences of --sequence-length {length}, but {' or '.join(map(str, fit))} "
            "together do: give the number with --sequence-parallel"
        )
    if fit:
        notes.append(
            f"no rank holds whole sequences of {length} tokens: {fit[0]} neighbouring ranks were joined, as under "
            "sequence parallelism"
        )
    return fit[0] if fit else 1


def joined_ranks(path: Path, stacked: list[Routed], together: int) -> list[Routed]:
    """Join the parts of the same micro-batch in the order of the ranks.

    Raises
    ------
    FormatError
        Naming the step and the ranks that do not match.
    """
    if together == 1:
        return stacked
    joined = []
    for step in dict.fromkeys(step for step, *_ in stacked):
        ranks = [(rank, batches) for number, rank, batches in stacked if number == step]
        if len(ranks) % together:
            raise FormatError(
                f"{path}: step {step}: {len(ranks)} ranks ({span([rank for rank, _ in ranks])}) are no multiple of "
                f"--sequence-parallel {together}"
            )
        for first in range(0, len(ranks), together):
            members = ranks[first : first + together]
            odd = next(
                (r for r, batches in members if [*map(len, batches)] != [*map(len, members[0][1])]), None
            )
            if odd is not None:
                raise FormatError(
                    f"{path}: step {step}: rank {odd} has other numbers of tokens than rank {members[0][0]}: they "
                    f"do not hold parts of the same sequences (--sequence-parallel {together})"
                )
            parts = zip(*(batches for _, batches in members), strict=True)
            joined.append((step, members[0][0], [np.concatenate(part) for part in parts]))
    return joined
