"""Rows of tokens for training and evaluation, each after a start token."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from capture.train.recipe import START_ID


class RowSampler:
    """Rows of each training step, a function of the seed and the step's number alone.

    Every pass over the text cuts it at other places and shuffles the rows.

    Parameters
    ----------
    stream : int ``[token]``
    context : int
        Tokens of a row.
    per_step : int
        Rows of a step.
    seed : int
    """

    def __init__(self, stream: NDArray[np.unsignedinteger], context: int, per_step: int, seed: int) -> None:
        self._stream, self._context, self._per_step, self._seed = stream, context, per_step, seed
        self._per_pass = len(stream) // context - 1
        self._passes: dict[int, NDArray[np.int64]] = {}

    def of_step(self, step: int) -> NDArray[np.int64]:
        """Return tokens ``[row, 1 + context]`` with a start token first."""
        numbers = np.arange(step * self._per_step, (step + 1) * self._per_step)
        starts = np.array([self._starts(n // self._per_pass)[n % self._per_pass] for n in numbers.tolist()])
        rows = self._stream[starts[:, None] + np.arange(self._context)].astype(np.int64)
        return np.pad(rows, ((0, 0), (1, 0)), constant_values=START_ID)

    def _starts(self, number: int) -> NDArray[np.int64]:
        if number not in self._passes:
            rng = np.random.default_rng([self._seed, 1, number])
            first = rng.integers(self._context)
            # A step spans two passes at most.
            self._passes = {k: v for k, v in self._passes.items() if k == number - 1}
            self._passes[number] = first + self._context * rng.permutation(self._per_pass)
        return self._passes[number]


def windows(documents: Sequence[NDArray[np.int64]], context: int, limit: int) -> list[NDArray[np.int64]]:
    """Cut the first `limit` tokens of held-out documents into windows of `context` − 1, each after a start token."""
    cut: list[NDArray[np.int64]] = []
    left = limit
    for document in documents:
        tokens = document[: max(left, 0)].astype(np.int64)
        left -= len(tokens)
        for first in range(0, len(tokens), context - 1):
            cut.append(np.append(np.int64(START_ID), tokens[first : first + context - 1]))
    return cut
