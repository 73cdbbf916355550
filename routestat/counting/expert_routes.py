"""The experts of every token at every layer, for routes that take one expert per layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.expert_windows import (
    count_choices,
    count_windows,
    rows_with,
    sum_windows,
)
from routestat.traces.metadata import Router


@dataclass(frozen=True, eq=False)
class ExpertRows:
    """Tokens with a choice at every layer.

    Attributes
    ----------
    routers : tuple of Router
    choices : int array ``[row, layer, slot]``
        Experts, −1 where a layer has fewer slots than another.
    group, document, token : int arrays ``[row]``
        Groups of whole documents, from 0; document numbers; token ids, −1 unknown.
    n_groups : int
    """

    routers: tuple[Router, ...]
    choices: NDArray[np.int16]
    group: NDArray[np.int64]
    document: NDArray[np.int32]
    token: NDArray[np.int32]
    n_groups: int

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.choices)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Experts of each layer."""
        return np.array([router.n_experts for router in self.routers], np.int64)

    @cached_property
    def tokens_of_group(self) -> NDArray[np.float64]:
        """Tokens of every group ``[group]``."""
        return np.bincount(self.group, minlength=self.n_groups).astype(np.float64)

    def windows(self, first: int, width: int, rows: NDArray[np.intp]) -> NDArray[np.int32]:
        """Count one expert per layer over consecutive layers, ``[expert, …]`` with one axis per layer.

        Parameters
        ----------
        first, width : int
            The place of the first layer, and how many.
        rows : int array
            The tokens to count. Each counts in k·k·… cells.
        """
        layers = slice(first, first + width)
        sizes = self.sizes[layers]
        table = np.zeros(int(sizes.prod()), np.int32)
        chosen = np.ascontiguousarray(self.choices[:, layers])
        count_windows(chosen, sizes, rows, self._buffers(width), table)
        return table.reshape(sizes)

    def sum_over_windows(
        self, first: int, values: NDArray[np.float64], rows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Sum over rows the mean of ``values[expert, …]`` over the windows of a row ``[group]``."""
        layers = slice(first, first + values.ndim)
        found = np.zeros(self.n_groups)
        chosen = np.ascontiguousarray(self.choices[:, layers])
        buffers = self._buffers(values.ndim)
        sum_windows(chosen, self.sizes[layers], rows, buffers, np.ravel(values), self.group, found)
        return found

    def _buffers(self, width: int) -> NDArray[np.int64]:
        return np.empty((2, self.choices.shape[2] ** (width - 1)), np.int64)

    def counts(self, rows: NDArray[np.intp], layers: NDArray[np.intp] | None = None) -> NDArray[np.int64]:
        """Count the experts that rows choose ``[layer, expert]``, in all layers or in some."""
        table = np.zeros((len(self.routers), int(self.sizes.max(initial=1))), np.int64)
        count_choices(self.choices, rows, np.arange(len(table)) if layers is None else layers, table)
        return table

    def choosing(
        self, rows: NDArray[np.intp], gone: NDArray[np.bool_], layer: int, expert: int
    ) -> NDArray[np.intp]:
        """Return those of the rows that are not `gone` ``[row]`` and choose an expert in a layer."""
        out = np.empty(len(rows), np.intp)
        return out[: rows_with(self.choices, rows, gone, layer, expert, out)].copy()

    def takes(self, route: Sequence[int]) -> NDArray[np.bool_]:
        """Return whether each token chooses all experts of a route, one per layer ``[row]``."""
        alive = np.arange(len(self))
        for layer, expert in enumerate(route):
            alive = alive[(self.choices[alive, layer] == expert).any(axis=1)]
        found = np.zeros(len(self), bool)
        found[alive] = True
        return found


def rows_of_experts(sample: Sample) -> ExpertRows:
    """Return the tokens of a sample that have a choice at every layer."""
    rows, known = [], np.ones(len(sample), bool)
    slots = max(router.top_k for router in sample.routers)
    for router in sample.routers:
        experts = expert_rows(sample.columns[router.name], router).astype(np.int16)
        known &= experts[:, 0] < router.n_experts
        padded = np.full((len(sample), slots), -1, np.int16)
        padded[:, : router.top_k] = experts
        rows.append(padded)
    choices = np.stack(rows, axis=1)[known]
    return ExpertRows(
        sample.routers,
        np.ascontiguousarray(choices),
        sample.group[known],
        sample.document[known],
        sample.token[known],
        max(sample.groups, int(sample.group.max(initial=-1)) + 1),
    )
