"""The joint distribution of three consecutive layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample, at_most
from routestat.counting.three_layers import MOST_TOKEN_CELLS, ThreeLayers, count_three_layers
from routestat.inference.association.three_layer_cells import (
    CellDepartures,
    ThreeLayerCells,
    expected_of_chain,
    expected_of_independence,
    three_layer_cells,
)
from routestat.inference.base.tables import Floats, Integers
from routestat.inference.information.stratified import shuffled_information
from routestat.inference.information.three_layers import ThreeLayerInformation, three_layer_information
from routestat.inference.markov.order_selection import LEAST_BITS
from routestat.progress import Tick, in_threads, silent
from routestat.study.conditional_dependence import MOST_SHUFFLED
from routestat.traces.metadata import Router

#: Cells with tokens that are listed: those with most.
MOST_LISTED = 20_000
#: A departure is found at this level, corrected for all cells that were tested in the three layers.
FOUND = 0.05


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells of three layers, those with most tokens first; arrays `[cell]`.

    Attributes
    ----------
    choices
        States, in the expert view experts, of the first, middle and last layer.
    count, documents
        Tokens, and documents in which they are; 0 where a chain expects tokens that are significantly missing.
    pair_tokens
        Tokens of the first two choices, on which `conditional` rests.
    conditional
        P(z | x, y).
    independent, chain
        What independent layers and the chain of order 1 expect, and the tests of both; NaN where there is none.
    """

    choices: tuple[Integers, Integers, Integers]
    count: Integers
    documents: Integers
    pair_tokens: Integers
    conditional: Floats
    independent: CellDepartures
    chain: CellDepartures

    def __len__(self) -> int:
        """Return the number of cells."""
        return len(self.count)


@dataclass(frozen=True, eq=False)
class MarginTable:
    """Tokens by the choices of one or two of three layers, `[cell]`; −1 is the choice of a layer that is summed over.

    `expected` are the tokens that independent layers would have.
    """

    choices: tuple[Integers, Integers, Integers]
    count: Integers
    expected: Floats


@dataclass(frozen=True, eq=False)
class TripleFinding:
    """Three consecutive layers.

    Attributes
    ----------
    routers
        First, middle and last.
    n_tokens, n_documents
        With a choice at all three.
    n_cells, n_possible
        Cells with tokens, and cells that could have some: whose first two and last two choices occur together.
    table
        The cells with most tokens, and those that are significantly missing.
    margins
        Of one and of two layers.
    n_more, n_fewer
        Tested cells with significantly more, and fewer, tokens than the chain of order 1 expects.
    information
        In bits; without values in the expert view.
    shuffled_bits
        I(first; last | middle) when last choices are exchanged among tokens of the same middle choice: the noise floor.
    sample_note
        The part of the trace that was counted; empty if all.
    """

    routers: tuple[Router, Router, Router]
    n_tokens: int
    n_documents: int
    n_cells: int
    n_possible: int
    table: CellTable
    margins: MarginTable
    n_more: int
    n_fewer: int
    information: ThreeLayerInformation
    shuffled_bits: float
    sample_note: str

    @property
    def is_near_noise_floor(self) -> bool:
        """Whether the noise floor is a large share of what the first layer adds to the middle one."""
        floor = abs(self.shuffled_bits)
        return floor >= LEAST_BITS and floor > MOST_SHUFFLED * abs(self.information.given_middle.value)


def find_triples(
    sample: Sample, states: str, rng: np.random.Generator, tick: Tick = silent, threads: int | None = None
) -> tuple[TripleFinding, ...]:
    """Count and test three consecutive layers together, for every three.

    Parameters
    ----------
    sample
        Whole documents.
    states
        "subset" or "expert".
    rng
        Exchanges choices for the noise floor; every three layers have their own stream.
    tick
        Called with what is done, how much of it and how much in all.
    threads
        All cores by default.
    """
    triples = list(zip(sample.routers, sample.routers[1:], sample.routers[2:], strict=False))
    slots = 1 if states == "subset" else max((router.top_k for router in sample.routers), default=1) ** 3
    counted = at_most(sample, max(1, MOST_TOKEN_CELLS // slots)) if triples else sample
    tick("counting three layers", 0, len(triples))
    streams = rng.spawn(len(triples))
    jobs = [
        partial(_of_three, counted, own, states, stream) for own, stream in zip(triples, streams, strict=True)
    ]
    return in_threads(jobs, threads, tick, "counting three layers")


def most_informative(found: Sequence[TripleFinding]) -> int | None:
    """Return which three layers are shown: those whose first adds most to the middle one about the last.

    By the lower limit of that information; where none is defined, those with most significant departures from the
    chain. None where no token has a choice at three layers.
    """
    known = [place for place, one in enumerate(found) if one.n_tokens]
    lows = [found[place].information.given_middle.low for place in known]
    if lows and any(math.isfinite(low) for low in lows):
        return known[int(np.nanargmax(lows))]
    return max(known, key=lambda place: found[place].n_more + found[place].n_fewer, default=None)


def departing(table: CellTable) -> NDArray[np.int64]:
    """Return the listed cells that depart significantly from the chain, those of most tokens more or fewer first."""
    there = np.flatnonzero(table.chain.log10_q <= math.log10(FOUND))
    return there[np.argsort(-np.abs(table.count - table.chain.expected)[there], kind="stable")]


def _of_three(
    sample: Sample, routers: tuple[Router, Router, Router], states: str, rng: np.random.Generator
) -> TripleFinding:
    layers = count_three_layers(sample, routers, states)
    tests = three_layer_cells(layers)
    found = tests.from_chain.log10_q <= math.log10(FOUND)
    fewer = found & (tests.from_chain.z < 0)
    floor = math.nan
    if states == "subset" and layers.n_tokens:
        floor = shuffled_information(layers.strata, layers.shuffled(rng)).mi_bits
    return TripleFinding(
        routers,
        layers.n_tokens,
        layers.n_documents,
        len(layers.cells),
        tests.n_possible,
        _table(layers, tests),
        _margins(layers),
        int(found.sum() - fewer.sum()),
        int(fewer.sum()),
        three_layer_information(layers),
        floor,
        sample.note,
    )


def _table(layers: ThreeLayers, tests: ThreeLayerCells) -> CellTable:
    """List the cells with most tokens, and those without any where that is found."""
    total = layers.cells.total
    most = np.argsort(-total, kind="stable")[:MOST_LISTED]
    missing = tests.key[(tests.count == 0) & (tests.from_chain.log10_q <= math.log10(FOUND))]
    key = np.concatenate([layers.cells.key[most], missing])
    first, middle, last = layers.choices(key)
    pair = layers.first_middle.counts(middle * layers.sizes[0] + first)
    count = layers.cells.counts(key)
    place = np.searchsorted(tests.key, key)
    place = np.where((place < len(tests.key)) & (np.append(tests.key, -1)[place] == key), place, -1)
    of_independent = _listed(tests.from_independence, place, expected_of_independence(layers, key))
    of_chain = _listed(tests.from_chain, place, expected_of_chain(layers, key))
    documents = np.concatenate([layers.documents[most], np.zeros(len(missing), np.int64)])
    return CellTable((first, middle, last), count, documents, pair, count / pair, of_independent, of_chain)


def _listed(tests: CellDepartures, place: Integers, expected: Floats) -> CellDepartures:
    """Return the tests of listed cells; NaN at place −1."""
    z, log10_p, log10_q = (
        np.where(place >= 0, np.append(values, math.nan)[place], math.nan)
        for values in (tests.z, tests.log10_p, tests.log10_q)
    )
    return CellDepartures(expected, z, log10_p, log10_q, tests.n_tested, tests.reason)


def _margins(layers: ThreeLayers) -> MarginTable:
    """List the tokens of every one and every two of the layers."""
    n, sizes = float(layers.n_tokens), layers.sizes
    singles = layers.first, layers.middle, layers.last
    parts: list[tuple[list[Integers], Integers, Floats]] = []
    for place, one in enumerate(singles):
        own = [np.full(len(one), -1, np.int64) for _ in range(3)]
        own[place] = one.key
        parts.append((own, one.total, one.total.astype(np.float64)))
    pairs = (
        (layers.first_middle, (1, 0), sizes[0]),
        (layers.middle_last, (1, 2), sizes[2]),
        (layers.first_last, (0, 2), sizes[2]),
    )
    for pair, (high, low), size in pairs:
        own = [np.full(len(pair), -1, np.int64) for _ in range(3)]
        own[high], own[low] = np.divmod(pair.key, size)
        expected = singles[high].counts(own[high]) * (singles[low].counts(own[low]) / n) if n else np.zeros(0)
        parts.append((own, pair.total, expected))
    choices, counts, expectations = zip(*parts, strict=True)
    first, middle, last = (np.concatenate(column) for column in zip(*choices, strict=True))
    return MarginTable((first, middle, last), np.concatenate(counts), np.concatenate(expectations))
