"""The index of a set of k experts among all C(E, k) of them: subset ↔ state."""

from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError

# Far more than any model has; a larger id is a marker, and its table would not fit in memory.
MAX_EXPERTS = 65_534
_DTYPES = (np.uint8, np.uint16, np.uint32, np.uint64)


def smallest_unsigned(n_values: int) -> np.dtype:
    """Return the narrowest unsigned dtype that holds the values 0 … `n_values` − 1."""
    for dtype in _DTYPES:
        if n_values - 1 <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise RoutestatError(f"{n_values} values do not fit in 64 bits")


# Up to this number of slots, exchanging neighbours by column is faster than sorting every row.
_FEW_SLOTS = 12


def sorted_slots(rows: NDArray[np.integer]) -> NDArray[np.integer]:
    """Sort every row of ``[..., k]``; for few slots the result is a view whose columns are contiguous."""
    top_k = rows.shape[-1]
    if not 0 < top_k <= _FEW_SLOTS:
        return np.sort(rows, axis=-1)
    columns = [np.array(rows[..., slot]) for slot in range(top_k)]
    spare = np.empty_like(columns[0])
    for passed in range(top_k):
        # Odd-even transposition: after k rounds every row is in order.
        for slot in range(passed % 2, top_k - 1, 2):
            np.minimum(columns[slot], columns[slot + 1], out=spare)
            np.maximum(columns[slot], columns[slot + 1], out=columns[slot + 1])
            columns[slot], spare = spare, columns[slot]
    return np.moveaxis(np.stack(columns), 0, -1)


@dataclass(frozen=True)
class Alphabet:
    """All subsets of `top_k` out of `n_experts`, in the order of ``itertools.combinations``.

    For pairs this is the order of ``numpy.triu_indices(E, 1)`` and of SciPy's condensed distances:
    (0, 1) → 0, (0, 2) → 1, … (6, 7) → 27 for 8 experts.

    Parameters
    ----------
    n_experts : int
        Experts of one router, E ≥ 1.
    top_k : int
        Experts per token, 1 ≤ k ≤ E.

    Raises
    ------
    RoutestatError
        If `n_experts` or `top_k` make no alphabet.
    """

    n_experts: int
    top_k: int

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in (("n_experts", self.n_experts), ("top_k", self.top_k)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise RoutestatError(f"{name} must be a whole number, got {value!r}")
            object.__setattr__(self, name, int(value))
        if self.n_experts > MAX_EXPERTS:
            raise RoutestatError(
                f"a router has at most {MAX_EXPERTS:,} experts here, got {self.n_experts:,}; "
                "is an id a marker of missing?"
            )
        if not 1 <= self.top_k <= self.n_experts:
            raise RoutestatError(
                f"an alphabet needs 1 ≤ top_k ≤ n_experts, got top_k={self.top_k}, n_experts={self.n_experts}"
            )

    @cached_property
    def size(self) -> int:
        """Number of subsets, C(E, k), as a Python int of any size."""
        return comb(self.n_experts, self.top_k)

    @property
    def is_ranked(self) -> bool:
        """Whether states and the missing value fit in 64 bits; if not, stores keep sorted expert rows."""
        return self.size + 1 <= 1 << 64

    @cached_property
    def dtype(self) -> np.dtype:
        """Smallest unsigned dtype that holds all states and one value more, for *missing*."""
        self._require_ranked()
        return smallest_unsigned(self.size + 1)

    @property
    def missing(self) -> int:
        """The value of a token without a subset: the largest of `dtype`."""
        return int(np.iinfo(self.dtype).max)

    @cached_property
    def expert_dtype(self) -> np.dtype:
        """Smallest unsigned dtype that holds the expert ids and one value more, for *missing*."""
        return smallest_unsigned(self.n_experts + 1)

    @cached_property
    def binomials(self) -> NDArray[np.uint64]:
        """C(c, k − i) as ``[slot i, c]`` for c = 0 … E − 1, for ranking and unranking."""
        self._require_ranked()
        rows = [[comb(c, self.top_k - i) for c in range(self.n_experts)] for i in range(self.top_k)]
        # C(c, k − i) ≤ C(E, k) where it can occur in a rank; the others are capped and never used.
        table = np.array([[min(v, self.size) for v in row] for row in rows], dtype=np.uint64)
        table.flags.writeable = False
        return table

    @cached_property
    def highest_places(self) -> NDArray[np.uint16]:
        """The largest c with C(c, k − i) ≤ rest for any rest of a bucket, ``[slot i, bucket]``.

        The bucket of a rest is given by the first bits of rest + 1 as a double: the exponent, and 4 of the mantissa.
        """
        ends = (np.arange(1, 65 * 16 + 1, dtype=np.uint64) + np.uint64(1023 << 4)) << np.uint64(48)
        places = [np.searchsorted(row, ends.view(np.float64), side="right") - 1 for row in self.binomials]
        table = np.array(places, np.uint16)
        table.flags.writeable = False
        return table

    @cached_property
    def _binomials_by_expert(self) -> NDArray[np.uint64]:
        """The same as `binomials` by expert id: C(E − 1 − id, k − i) as ``[slot i, id]``."""
        return np.ascontiguousarray(self.binomials[:, ::-1])

    def rank(self, experts: ArrayLike) -> NDArray[np.unsignedinteger]:
        """Return the states of rows of experts.

        Parameters
        ----------
        experts : integer array ``[..., k]``
            Expert ids in any slot order.

        Returns
        -------
        unsigned array ``[...]``
            States 0 … size − 1 in `dtype`.

        Raises
        ------
        RoutestatError
            If the last axis is not k long, an id is outside 0 … E − 1, or an id repeats inside a row.
        """
        rows = self.sorted_rows(experts)
        total = np.uint64(0)
        for slot in range(self.top_k):
            total = total + self._binomials_by_expert[slot].take(rows[..., slot])
        return np.asarray(np.uint64(self.size - 1) - total).astype(self.dtype)

    def unrank(self, states: ArrayLike) -> NDArray[np.unsignedinteger]:
        """Return the subsets of states: experts ``[..., k]``, ascending.

        Raises
        ------
        RoutestatError
            If a state is outside 0 … size − 1 (mask *missing* before).
        """
        self._require_ranked()
        index = np.asarray(states)
        if index.dtype.kind not in "iu" and index.size:
            raise RoutestatError(f"states must be integers, got {index.dtype}")
        outside = (index < 0) | (index >= self.size) if index.size else np.zeros(index.shape, bool)
        if np.any(outside):
            raise RoutestatError(
                f"state {index[outside].flat[0]} is out of range: {self.n_experts} experts, "
                f"top {self.top_k} have states 0 … {self.size - 1}"
            )
        rest = np.uint64(self.size - 1) - index.astype(np.uint64)
        experts = np.empty((*index.shape, self.top_k), dtype=smallest_unsigned(self.n_experts))
        for slot in range(self.top_k):
            column = self.binomials[slot]
            c = np.searchsorted(column, rest, side="right") - 1
            rest = rest - column[c]
            experts[..., slot] = self.n_experts - 1 - c
        return experts

    def sorted_rows(self, experts: ArrayLike) -> NDArray[np.integer]:
        """Check rows of experts and sort each in ascending order (the stored form beyond 64 bits)."""
        try:
            rows = np.asarray(experts)
        except ValueError:
            raise RoutestatError(
                f"expected rows of {self.top_k} experts, got rows of unequal length"
            ) from None
        if rows.ndim == 0 or rows.shape[-1] != self.top_k:
            raise RoutestatError(f"expected rows of {self.top_k} experts, got an array of shape {rows.shape}")
        if rows.dtype.kind not in "iu" and rows.size:
            raise RoutestatError(f"expert ids must be integers, got {rows.dtype}")
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= self.n_experts):
            outside = (rows < 0) | (rows >= self.n_experts)
            raise RoutestatError(
                f"expert {rows[outside].flat[0]} is out of range: this router has experts 0 … {self.n_experts - 1}"
            )
        rows = sorted_slots(rows)
        # Slot by slot: a reduction along a short axis is many times slower.
        repeats = np.zeros(rows.shape[:-1], bool)
        for slot in range(1, self.top_k):
            repeats |= rows[..., slot] == rows[..., slot - 1]
        if np.any(repeats):
            row = np.atleast_2d(rows[repeats])[0]
            raise RoutestatError(f"an expert repeats inside one token's choice: {row.tolist()}")
        return rows

    @cached_property
    def membership(self) -> NDArray[np.uint8]:
        """Indicator ``[state, expert]`` of the experts of each state; for alphabets of at most 65,536 states."""
        if self.size > 1 << 16:
            raise RoutestatError(f"{self.size} states are too many to list; use the expert view")
        table = np.zeros((self.size, self.n_experts), dtype=np.uint8)
        np.put_along_axis(table, self.unrank(np.arange(self.size)).astype(np.intp), 1, axis=1)
        table.flags.writeable = False
        return table

    def _require_ranked(self) -> None:
        if not self.is_ranked:
            raise RoutestatError(
                f"{self.n_experts} choose {self.top_k} does not fit in 64 bits: keep sorted expert rows instead"
            )
