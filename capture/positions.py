"""Which cell of a padded batch is which token of which document, and the rows recorded from its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from capture.steps import MISSING, Step
from routestat.errors import RoutestatError

NO_DOCUMENT = -1


@dataclass(frozen=True)
class Layout:
    """The cells of a batch, before or after a generation has extended it.

    Attributes
    ----------
    document : int array ``[row, column]``
        −1 where the cell is padding, or runs without being recorded.
    position : int array ``[row, column]``
        Within the document.
    token : int array ``[row, column]``
    prompt : int
        Columns of the input; the rest was generated.
    """

    document: NDArray[np.int64]
    position: NDArray[np.int64]
    token: NDArray[np.int64]
    prompt: int


def lay_out(
    documents: ArrayLike,
    tokens: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    first: ArrayLike = 0,
    skip: ArrayLike = 0,
) -> Layout:
    """Return the layout of a batch with one text per row, padded on either side.

    Parameters
    ----------
    documents : int array ``[row]``
    tokens, mask : int array ``[row, column]``
        `mask` is 0 at padding; without it there is none.
    first : int array ``[row]``
        Position in the document of the row's first recorded token.
    skip : int array ``[row]``
        Tokens at the start of a row that run but are not recorded, such as a start token before a window.
    """
    token = np.asarray(tokens, dtype=np.int64)
    real = np.ones(token.shape, bool) if mask is None else np.asarray(mask) > 0
    local = np.cumsum(real, axis=1) - 1 - _column(skip, len(token))
    document = np.where(real & (local >= 0), np.asarray(documents, dtype=np.int64)[:, None], NO_DOCUMENT)
    return Layout(document, local + _column(first, len(token)), token, token.shape[1])


def extend(layout: Layout, generated: ArrayLike, end_tokens: Sequence[int]) -> Layout:
    """Return the layout of a left-padded batch after generation.

    The last token of every text was sampled and never forwarded, or only because other rows continued, so it has
    no row; what follows an end token is padding, whatever its mask.

    Parameters
    ----------
    layout : Layout
    generated : int array ``[row, column]``
    end_tokens : sequence of int
    """
    new = np.asarray(generated, dtype=np.int64)
    ended = np.isin(new, np.asarray(end_tokens, dtype=np.int64))
    length = np.where(ended.any(axis=1), ended.argmax(axis=1) + 1, new.shape[1])
    column = np.arange(new.shape[1])
    kept = column < (length - 1)[:, None]
    document = np.where(kept, layout.document[:, -1:], NO_DOCUMENT)
    position = layout.position[:, -1:] + 1 + column
    return Layout(
        np.concatenate([layout.document, document], axis=1),
        np.concatenate([layout.position, position], axis=1),
        np.concatenate([layout.token, new], axis=1),
        layout.prompt,
    )


@dataclass(frozen=True)
class RecordedRows:
    """Recorded tokens in the order in which they are stored.

    Attributes
    ----------
    document, position, token : int array ``[row]``
    decode : bool array ``[row]``
        Whether the token was forwarded one by one after the prompt.
    columns : dict of arrays ``[row, slot]``
        By kind and router: ``("experts", "L05")``, ``("weights", "L05")``, ``("ahead", "L05.ahead1")``.
    """

    document: NDArray[np.int64]
    position: NDArray[np.int64]
    token: NDArray[np.int64]
    decode: NDArray[np.bool_]
    columns: dict[tuple[str, str], NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.document)

    @property
    def experts(self) -> dict[str, NDArray[np.int16]]:
        """The executed experts ``[row, slot]`` by router."""
        return {name: values for (kind, name), values in self.columns.items() if kind == "experts"}

    def select(self, kept: NDArray[np.bool_]) -> "RecordedRows":
        """Return the rows where `kept` ``[row]`` is true."""
        columns = {key: values[kept] for key, values in self.columns.items()}
        return RecordedRows(
            self.document[kept], self.position[kept], self.token[kept], self.decode[kept], columns
        )


class BatchBuffer:
    """The recorded cells of one batch, filled step by step; a later step overwrites an earlier one.

    This one rule covers whole prefills, chunks, single decoded tokens, prefixes that are forwarded again and the
    rejected guesses of assisted decoding. A step fills the columns that start at the length of its cache.

    Parameters
    ----------
    rows : int
        Rows of the batch.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._cells: dict[tuple[str, str], NDArray[Any]] = {}
        self._written = np.zeros((rows, 0), bool)

    def write(self, step: Step, sources: ArrayLike | None = None) -> None:
        """Write the cells of one step.

        Parameters
        ----------
        step : Step
        sources : int array ``[row]``, optional
            Row of the step that belongs to each row of the batch; −1 for none. The same row if not given.

        Raises
        ------
        RoutestatError
            If the step has fewer rows than the batch.
        """
        call = step.call
        source = np.arange(self._rows) if sources is None else np.asarray(sources)
        if source.max(initial=-1) >= call.rows:
            raise RoutestatError(f"a step of {call.rows} rows where the batch has {self._rows}")
        target = np.flatnonzero(source >= 0)
        span = slice(call.past, call.past + call.columns)
        self._grow(span.stop)
        self._written[target, span] = True
        for kind, arrays in (("experts", step.experts), ("weights", step.weights), ("ahead", step.ahead)):
            for name, values in arrays.items():
                cells = values.reshape(call.rows, call.columns, -1)
                self._target(kind, name, cells)[target, span] = cells[source[target]]

    def _grow(self, columns: int) -> None:
        short = columns - self._written.shape[1]
        if short <= 0:
            return
        # Decoding adds one column at a time: doubling keeps the time for copies linear.
        extra = max(short, self._written.shape[1])
        self._written = np.pad(self._written, ((0, 0), (0, extra)))
        for key, cells in self._cells.items():
            self._cells[key] = np.pad(cells, ((0, 0), (0, extra), (0, 0)))

    def _target(self, kind: str, name: str, like: NDArray[Any]) -> NDArray[Any]:
        if (kind, name) not in self._cells:
            shape = (*self._written.shape, like.shape[2])
            self._cells[kind, name] = np.full(shape, MISSING, like.dtype)
        return self._cells[kind, name]

    def rows(self, layout: Layout) -> RecordedRows:
        """Return the recorded rows of the cells that belong to a document.

        Raises
        ------
        RoutestatError
            If a token was never forwarded; names the document and the position.
        """
        self._grow(layout.document.shape[1])
        wanted = layout.document != NO_DOCUMENT
        written = self._written[:, : wanted.shape[1]]
        if (wanted & ~written).any():
            row, column = np.argwhere(wanted & ~written)[0]
            raise RoutestatError(
                f"document {layout.document[row, column]}, position {layout.position[row, column]}: "
                "the token was never forwarded"
            )
        width = wanted.shape[1]
        column = np.broadcast_to(np.arange(width), wanted.shape)
        return RecordedRows(
            layout.document[wanted],
            layout.position[wanted],
            layout.token[wanted],
            (column >= layout.prompt)[wanted],
            {key: cells[:, :width][wanted] for key, cells in self._cells.items()},
        )


def flip_rate(first: RecordedRows, second: RecordedRows) -> tuple[int, int]:
    """Count the selections that differ between two records of the same tokens.

    A selection is one token at one router; the order of its slots does not matter.

    Returns
    -------
    tuple of int
        Selections that differ, and all that were compared.

    Raises
    ------
    RoutestatError
        If the tokens are not the same.
    """
    same = len(first) == len(second) and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("document", "position", "token")
    )
    if not same or first.experts.keys() != second.experts.keys():
        raise RoutestatError("two records can be compared only on the same tokens and routers")
    flips = total = 0
    for name, experts in first.experts.items():
        other = np.sort(second.experts[name], axis=1)
        flips += int((np.sort(experts, axis=1) != other).any(axis=1).sum())
        total += len(experts)
    return flips, total


def _column(value: ArrayLike, rows: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.asarray(value, dtype=np.int64), rows)[:, None]
