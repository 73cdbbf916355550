"""Counts of what two routers include: sums over cells that an estimate of their information takes, each made once."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.counting.kernels.pair_tables import deviations, half_sums, left_out_sums
from routestat.errors import RoutestatError
from routestat.inference.base.chunks import MULTIPLIED, chunks
from routestat.inference.base.clustered_score_test import ClusteredScores, clustered_scores
from routestat.inference.base.special import LISTED
from routestat.inference.base.tables import Floats, Integers, contingency, for_loops, read_only
from routestat.inference.information.mutual_information import plugin_information


@dataclass(frozen=True, eq=False)
class InclusionCounts:
    """Counts of one pair of routers in the expert view, without empty groups and experts; see `inclusion_counts`.

    Attributes
    ----------
    pairs
        Tokens of the group that included i at the source and j at the target, `[group, source, target]`.
    total
        Their sum over the groups `[source, target]`.
    sources, targets, tokens
        Inclusions `[group, source]` and `[group, target]`, and tokens `[group]`.
    source_k, target_k
        How many experts a token includes at either end.
    rows, columns
        Which experts these are.
    """

    pairs: NDArray[np.integer]
    total: Floats
    sources: Integers
    targets: Integers
    tokens: Integers
    source_k: int
    target_k: int
    rows: Integers
    columns: Integers

    @property
    def cells(self) -> int:
        """Of every token."""
        return self.source_k * self.target_k

    @cached_property
    def scores(self) -> ClusteredScores:
        """The groups' scores under independence."""
        return clustered_scores(self.pairs, self.sources, self.targets, self.tokens)

    @cached_property
    def plugin(self) -> float:
        """Plug-in mutual information in nats."""
        return plugin_information(self.total)

    @cached_property
    def _parts(self) -> tuple[tuple[NDArray[np.integer], Integers, int], ...]:
        """Tables `[group, cell]`, their sums and the cells of a token in them, of sources, targets and pairs."""
        groups = len(self.tokens)
        sums = self.sources.sum(axis=0), self.targets.sum(axis=0), self.total.astype(np.int64).ravel()
        tables = (self.sources, self.targets, self.pairs.reshape(groups, -1))
        same = [for_loops(table) for table in tables]
        return tuple(zip(same, sums, (self.source_k, self.target_k, self.cells), strict=True))

    def left_out(self) -> tuple[float, Floats]:
        """Estimate the information of all groups, and without each group, in nats: a number and `[group]`."""
        n, rest = int(self.tokens.sum()), self.tokens.sum() - self.tokens
        whole, without, left = np.log(n), np.log(rest), np.empty(len(rest))
        for (table, sums, cells), sign in zip(self._parts, (-1.0, -1.0, 1.0), strict=True):
            every = left_out_sums(table, sums, _listed(), 1.0, left)
            whole += sign * every / (n * cells)
            without += sign * left / (rest * cells)
        return float(whole), without

    def halves(self, column: Integers, sign: Integers, halves: int) -> tuple[Floats, Floats, Floats]:
        """Estimate the information of some halves of the groups and of the rest, in nats; also their share of tokens.

        All are `[half]`. Half h has the groups with ``sign * H[h, column]`` below zero, with Hadamard's matrix H (see
        `half_sums`).
        """
        tokens, whole = np.zeros((2, halves)), self.tokens.sum()
        at, odd = np.arange(halves)[:, None] & column, sign < 0
        # The sign of an entry of Hadamard's matrix: the parity of the bits that half and column have in common.
        inside = (np.bitwise_count(at) % 2 == 1) != odd
        tokens[0] = inside @ self.tokens
        tokens[1] = whole - tokens[0]
        found = np.log(tokens)
        for (table, sums, cells), weight in zip(self._parts, (-1.0, -1.0, 1.0), strict=True):
            one, other = np.zeros(halves), np.zeros(halves)
            half_sums(table, sums, column, sign, _listed(), 1.0, one, other)
            found += weight * np.array([one, other]) / (tokens * cells)
        return found[0], found[1], tokens[0] / whole

    def gram(self, weight: Floats) -> Floats:
        """Second derivatives of n times the information by two groups' weights ``[group, group]``.

        Groups are taken about their mean; `weight` ``[source, target]`` are the counts that each cell is taken to
        have. Products of different groups are then rid of what the common mean ties them together by.
        """
        share, groups = self.tokens / self.tokens.sum(), len(self.tokens)

        def products(counts: NDArray[np.integer], total: Integers, by: NDArray[np.number]) -> Floats:
            found, sums, scales = np.zeros((groups, groups)), total.astype(np.float64), 1.0 / np.sqrt(by)
            for part in chunks(len(total), groups, MULTIPLIED):
                about = np.empty((groups, part.stop - part.start))
                deviations(counts, part.start, share, sums[part], scales[part], about)
                found += about @ about.T
            return found

        (sources, of_source, _), (targets, of_target, _), (pairs, total, _) = self._parts
        found = products(pairs, total, weight.ravel()) / self.cells
        found -= products(sources, of_source, of_source) / self.source_k
        found -= products(targets, of_target, of_target) / self.target_k
        rest = 1.0 - 2.0 * share
        whole = (np.diag(found) / rest).sum() / (1.0 + (share**2 / rest).sum())
        own = (np.diag(found) - share**2 * whole) / rest
        found += np.outer(share, own) + np.outer(own, share) - np.outer(share, share) * whole
        return found


def inclusion_counts(tables: ArrayLike, source_k: int, target_k: int) -> InclusionCounts:
    """Check tables of experts and add up what their estimates and tests need.

    Parameters
    ----------
    tables
        How many of the group's tokens included i at the source and j at the target, `[group, source, target]`.
    source_k, target_k
        How many experts a token includes at either end.

    Raises
    ------
    RoutestatError
        For anything but such tables.
    """
    table, cells = contingency(tables), source_k * target_k
    if table.tables is None:
        raise RoutestatError(
            "tables: expected [group, source, target], got 2 axes; count per group of documents"
        )
    counts = table.sources.sum(axis=1)
    if (counts % cells).any():
        raise RoutestatError(
            f"tables: expected {cells} cells of every token, got {int(counts.sum())} in all; check source_k, target_k"
        )
    # Every expert of a token's source meets all k of its target, so margins hold each inclusion k times.
    if (table.sources % target_k).any() or (table.targets % source_k).any():
        raise RoutestatError(
            f"tables: expected {target_k} cells of each expert at the source and {source_k} at the target, got "
            "others; check source_k, target_k"
        )
    return InclusionCounts(
        table.tables,
        table.total,
        table.sources // target_k,
        table.targets // source_k,
        counts // cells,
        source_k,
        target_k,
        table.rows,
        table.columns,
    )


@cache
def _listed() -> Floats:
    """Tabulate x ψ(x) of the whole numbers below `LISTED`, which most counts of cells are."""
    x = np.arange(1.0, LISTED)
    return read_only(np.concatenate([[0.0], x * special.psi(x)]))
