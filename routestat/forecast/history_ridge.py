"""Ridge regressions on nested histories, many from one factor.

With A = XᵀX + λ over the features before a layer and those of the layers themselves, the leading block of the factor
A = RᵀR is the factor of every leading block. So one factor serves every target layer and every horizon: its weights
after the first d features are R[:d, :d]⁻¹ R[:d, target].
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy import linalg
from scipy.linalg import blas, lapack

from routestat.forecast.history_gram import Gram, PairsWithout, check_penalty
from routestat.inference.base.tables import Floats

#: Segments of columns in which the product of a full and a triangular matrix is computed.
_SEGMENTS = 4


@dataclass(frozen=True, slots=True)
class Regression:
    """One target after some features.

    Attributes
    ----------
    target : int
        Place of the target among the layers.
    blocks : tuple of str
        Names of the blocks of features, in the order of the weights; the constant first.
    """

    target: int
    blocks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NestedDesign:
    """Regressions of layers on blocks that all of them share, and on the layers before.

    Attributes
    ----------
    head : tuple of str
        The shared blocks; the constant first.
    layers : tuple of str
        Blocks of the layers, in order of depth.
    reach : tuple of (int, int)
        Each regression's target and its number of layers from the first on, at most all before the target.
    """

    head: tuple[str, ...]
    layers: tuple[str, ...]
    reach: tuple[tuple[int, int], ...]

    @cached_property
    def regressions(self) -> tuple[Regression, ...]:
        """Every regression, in the order of `reach`."""
        return tuple(Regression(to, (*self.head, *self.layers[:n])) for to, n in self.reach)

    def fit(self, pairs: PairsWithout, penalty: float, chosen: Sequence[int]) -> Iterator[tuple[int, Floats]]:
        """Yield the place and the weights ``[feature, expert]`` of each chosen regression.

        Parameters
        ----------
        pairs : PairsWithout
            Of the tokens that are fitted.
        penalty : float
            Above zero; the constant is not penalised.
        chosen : sequence of int
            Places in `reach`.
        """
        check_penalty(penalty)
        gram = pairs.gram
        last = max(max(self.reach[at]) for at in chosen)
        used = [gram.span(name) for name in self.layers[: last + 1]]
        ends = np.cumsum([0, *(span.stop - span.start for span in used)]).tolist()
        head, body = features_of(gram, self.head), features_of(gram, self.layers[: last + 1])
        factor = _factored(pairs, head, body, penalty)
        for to in sorted({self.reach[at][0] for at in chosen}):
            own = [at for at in chosen if self.reach[at][0] == to]
            columns = slice(ends[to], ends[to + 1])
            weights, done = factor.start(columns), 0
            for at in sorted(own, key=lambda at: self.reach[at][1]):
                end = ends[self.reach[at][1]]
                if end > done:
                    weights = weights + factor.more(done, end, columns)
                    done = end
                yield at, weights[: len(factor.regressed) + end]


@dataclass(frozen=True, eq=False)
class _Factor:
    """The factor of the layers' features given the head's, and what turns its columns into weights.

    ``triangle`` is R of the layers after the head; ``back[head + feature, feature]`` holds R⁻¹ below, and above it
    the change of the head's weights that it entails; ``regressed`` are the layers' weights on the head alone.
    """

    triangle: Floats
    back: Floats
    regressed: Floats

    def start(self, columns: slice) -> Floats:
        """Return weights on the head alone; those of all layers are zero."""
        found = np.zeros((len(self.back), columns.stop - columns.start), self.back.dtype)
        found[: len(self.regressed)] = self.regressed[:, columns]
        return found

    def more(self, start: int, stop: int, columns: slice) -> Floats:
        """Return what the layers' features from `start` to `stop` add to the weights."""
        return np.asarray(self.back[:, start:stop] @ self.triangle[start:stop, columns])


def _factored(
    pairs: PairsWithout, head: "slice | NDArray[np.int64]", body: "slice | NDArray[np.int64]", penalty: float
) -> _Factor:
    system, across = pairs.block(head, head), pairs.block(head, body)
    dtype, n_head, n_body = system.dtype, *across.shape
    potrf, trtri = (_lapack(name, dtype) for name in ("potrf", "trtri"))
    trsm = blas.dtrsm if dtype == np.float64 else blas.strsm
    _penalise(system, 1, penalty)
    upper = _checked(potrf(system, lower=False, clean=False, overwrite_a=True))
    across = trsm(1.0, upper, across, trans_a=1, overwrite_b=True)
    rest = pairs.block(body, body)
    rest -= across.T @ across
    _penalise(rest, 0, penalty)
    triangle = _checked(potrf(rest, lower=False, clean=True, overwrite_a=True))
    regressed = trsm(1.0, upper, across, overwrite_b=True)
    inverse = _checked(trtri(triangle, lower=False))
    back = np.empty((n_head + n_body, n_body), dtype, order="F")
    back[n_head:] = inverse
    edges = np.linspace(0, n_body, _SEGMENTS + 1).astype(int).tolist()
    for start, stop in pairwise(edges):
        np.matmul(-regressed[:, :stop], inverse[:stop, start:stop], out=back[:n_head, start:stop])
    return _Factor(triangle, back, regressed)


@dataclass(frozen=True, eq=False)
class NearDesign:
    """Regressions of layers on a few of the layers before, nested from the nearest on.

    Attributes
    ----------
    head : tuple of str
        Blocks that all of them share; the constant first.
    layers : tuple of str
        Blocks of the layers, in order of depth.
    windows : tuple of (int, int, int)
        Each regression's target, the place of its nearest source, and its number of sources, which all exist.
    """

    head: tuple[str, ...]
    layers: tuple[str, ...]
    windows: tuple[tuple[int, int, int], ...]

    @cached_property
    def regressions(self) -> tuple[Regression, ...]:
        """Every regression, in the order of `windows`."""
        return tuple(
            Regression(to, (*self.head, *self.layers[source - n + 1 : source + 1][::-1]))
            for to, source, n in self.windows
        )

    def fit(self, pairs: PairsWithout, penalty: float, chosen: Sequence[int]) -> Iterator[tuple[int, Floats]]:
        """Yield the place and the weights of each chosen regression; see `NestedDesign.fit`."""
        check_penalty(penalty)
        gram = pairs.gram
        sources = sorted({self.windows[at][1] for at in chosen})
        for source in sources:
            own = [at for at in chosen if self.windows[at][1] == source]
            most = max(self.windows[at][2] for at in own)
            names = (*self.head, *self.layers[source - most + 1 : source + 1][::-1])
            features = features_of(gram, names)
            targets = sorted({self.windows[at][0] for at in own})
            ends = np.cumsum([0, *(gram.sizes[gram.names.index(name)] for name in names)]).tolist()
            columns = features_of(gram, [self.layers[to] for to in targets])
            widths = np.cumsum(
                [0, *(gram.sizes[gram.names.index(self.layers[to])] for to in targets)]
            ).tolist()
            system, right = pairs.block(features, features), pairs.block(features, columns)
            _penalise(system, 1, penalty)
            upper = np.asarray(linalg.cholesky(system, lower=False, overwrite_a=True, check_finite=False))
            across = linalg.solve_triangular(upper, right, trans=1, check_finite=False)
            for at in own:
                to, _, n = self.windows[at]
                place = targets.index(to)
                d, part = ends[n + len(self.head)], across[:, widths[place] : widths[place + 1]]
                yield at, linalg.solve_triangular(upper[:d, :d], part[:d], check_finite=False)


def features_of(gram: Gram, names: Sequence[str]) -> slice | NDArray[np.int64]:
    """Return the features of blocks, in their order; as a slice where they follow each other in the table."""
    spans = [gram.span(name) for name in names]
    if all(one.stop == two.start for one, two in pairwise(spans)):
        return slice(spans[0].start, spans[-1].stop)
    return np.concatenate([np.arange(span.start, span.stop) for span in spans])


def _penalise(system: Floats, start: int, penalty: float) -> None:
    """Add the penalty to the diagonal from some feature on."""
    at = np.arange(start, len(system))
    system[at, at] += penalty


def _lapack(name: str, dtype: DTypeLike) -> Callable[..., Any]:
    return getattr(lapack, ("d" if dtype == np.float64 else "s") + name)


def _checked(result: tuple[Floats, int]) -> Floats:
    found, failed = result
    if failed:
        raise linalg.LinAlgError(f"a table of {len(found)} features has no Cholesky factor")
    return np.asarray(found)
