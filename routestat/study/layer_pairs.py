"""Pairs of adjacent layers: the tests of their dependence, its size, and what it is due to."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.expected_within_documents import count_within
from routestat.counting.permuted_documents import permuted_tables
from routestat.counting.strata import strata_rows
from routestat.inference.association.cell_tests import CellTests, cell_tests
from routestat.inference.association.expert_independence import ExpertIndependence, independence_of_inclusions
from routestat.inference.association.independence import Independence, independence
from routestat.inference.association.minimum_effect import MinimumEffect, minimum_effect
from routestat.inference.association.token_types import BeyondTokenTypes, beyond_token_types
from routestat.inference.association.within_documents import WithinDocuments, within_documents
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.information.entropy import default_estimator
from routestat.inference.information.inclusion_counts import inclusion_counts
from routestat.inference.information.inclusion_information import information_of
from routestat.inference.information.mutual_information import (
    InformationInterval,
    mutual_information,
    mutual_information_interval,
)
from routestat.inference.information.scarcity import Scarcity, scarcity
from routestat.progress import Tick, in_threads, silent
from routestat.study.conditional_dependence import ConditionalDependence, conditional_dependence
from routestat.traces.metadata import Router
from routestat.traces.store import Trace


@dataclass(frozen=True)
class LayerPair:
    """Two adjacent layers.

    A part that cannot be computed is None, and `reasons` says why.

    Attributes
    ----------
    source, target : Router
    n_tokens, n_documents : int
        Tokens with a choice at both layers; documents of the groups that have such tokens.
    table : int array ``[source, target]``
    test : Independence or ExpertIndependence
    information : InformationInterval
        Bits per token, in the expert view per pair of slots.
    scarce : Scarcity
        Whether there are too few tokens for the size of the table.
    effect, cells : MinimumEffect, CellTests
        None in the expert view.
    iid_bits, iid_estimator : float, str
        The estimate that takes tokens as independent, and the name of its estimator; NaN and empty in the expert
        view.
    within : WithinDocuments
    token_types : BeyondTokenTypes, optional
    given_token : ConditionalDependence, optional
        Given the token id.
    given_previous : ConditionalDependence, optional
        Given the choice of the target's router at the previous token.
    skip : ConditionalDependence, optional
        Of the layer before the source and the target, given the source.
    p_permuted : float
        Of independence, by permuting whole documents; at least 1 / (permutations + 1), NaN without permutations.
    sample_note : str
        The part of the trace that the conditional statistics use; empty if all of it.
    reasons : tuple of str
    log10_q_clustered : float
        The clustered p-value after Benjamini and Hochberg over all pairs of the trace.
    """

    source: Router
    target: Router
    n_tokens: int
    n_documents: int
    table: NDArray[np.int64]
    test: Independence | ExpertIndependence
    information: InformationInterval
    scarce: Scarcity
    effect: MinimumEffect | None
    cells: CellTests | None
    iid_bits: float
    iid_estimator: str
    within: WithinDocuments
    token_types: BeyondTokenTypes | None
    given_token: ConditionalDependence | None
    given_previous: ConditionalDependence | None
    skip: ConditionalDependence | None
    p_permuted: float
    sample_note: str
    reasons: tuple[str, ...]
    log10_q_clustered: float = float("nan")

    @property
    def q_clustered(self) -> float:
        """The adjusted clustered p-value."""
        return float(10.0**self.log10_q_clustered)

    @property
    def skip_share(self) -> float | None:
        """Share of the layer before the source in the information of both on the target; None where undefined."""
        if self.skip is None or self.skip.is_near_noise_floor or not self.skip.information.low > 0:
            return None
        # The jackknife may estimate the other layer's part below zero.
        bits = self.skip.information.mi_bits
        return bits / (bits + max(self.information.mi_bits, 0.0))


def layer_pairs(
    trace: Trace,
    counts: Counts,
    sample: Sample,
    rng: np.random.Generator,
    *,
    permutations: int = 0,
    threads: int | None = None,
    tick: Tick = silent,
) -> tuple[LayerPair, ...]:
    """Measure the dependence of every pair of adjacent layers.

    Parameters
    ----------
    trace : Trace
        Read once more where a group has several documents.
    counts : Counts
        With ``Context.layer(1)``.
    sample : Sample
        Whole documents of the trace.
    rng : numpy.random.Generator
        Permutes token types and choices; each pair has its own stream.
    permutations : int
        Number of permutations of whole documents, a slow check of the clustered test.
    threads : int, optional
    tick : callable(what, done, total)
    """
    # One after the other: the tests of a wide table take several times its memory.
    dependence = []
    for place in range(1, len(counts.routers)):
        tick("testing dependence", place - 1, len(counts.routers) - 1)
        dependence.append(_dependence(counts, counts.routers[place - 1], counts.routers[place]))
    tick("testing dependence", len(dependence), len(dependence))
    expected = count_within(trace, counts, lambda done, total: tick("expecting documents", done, total))

    def pair(place: int, own: np.random.Generator) -> LayerPair:
        parts = _parts(sample, counts, place, expected[counts.routers[place].name], own, permutations)
        return LayerPair(**dependence[place - 1], **parts)

    # Most of the time goes into sorting, which other threads can run beside.
    streams = rng.spawn(len(dependence))
    jobs = [partial(pair, place, own) for place, own in enumerate(streams, start=1)]
    pairs = in_threads(jobs, threads, tick, "decomposing dependence")
    if not pairs:
        return ()
    adjusted = adjust_log10([item.test.log10_p_clustered for item in pairs]).tolist()
    return tuple(replace(item, log10_q_clustered=q) for item, q in zip(pairs, adjusted, strict=True))


def _dependence(counts: Counts, source: Router, target: Router) -> dict[str, Any]:
    """Compute the fields of a `LayerPair` that come from its table alone."""
    tables = counts.table(Context.layer(1), target)
    states = counts.states == "subset"
    slots = 1 if states else source.top_k * target.top_k
    tokens = tables.sum(axis=(1, 2), dtype=np.int64) // slots
    total = tables.sum(axis=0, dtype=np.int64)
    test: Independence | ExpertIndependence
    if states:
        test, information = independence(tables), mutual_information_interval(tables)
    else:
        inclusions = inclusion_counts(tables, source.top_k, target.top_k)
        test, information = independence_of_inclusions(inclusions), information_of(inclusions)
    in_use = int(np.count_nonzero(total.sum(axis=0)) * np.count_nonzero(total.sum(axis=1)))
    estimator, _ = default_estimator(float(total.sum()) / slots, in_use)
    return {
        "source": source,
        "target": target,
        "n_tokens": int(tokens.sum()),
        "n_documents": int(counts.documents[tokens > 0].sum()),
        "table": total,
        "test": test,
        "information": information,
        "scarce": scarcity(total, slots, test.design_effect if isinstance(test, Independence) else 1.0),
        "effect": minimum_effect(tables) if states else None,
        "cells": cell_tests(tables) if states else None,
        "iid_bits": mutual_information(total, estimator) if states else float("nan"),
        "iid_estimator": estimator if states else "",
    }


def _parts(
    sample: Sample,
    counts: Counts,
    place: int,
    expected: NDArray[np.float64],
    rng: np.random.Generator,
    permutations: int,
) -> dict[str, Any]:
    """Compute the fields of a `LayerPair` that say what its dependence is due to."""
    source, target, states = counts.routers[place - 1], counts.routers[place], counts.states
    reasons: list[str] = []
    token_types = given_token = given_previous = skip = None
    within = within_documents(
        counts.table(Context.layer(1), target),
        expected,
        documents=counts.documents,
        slots=1 if states == "subset" else source.top_k * target.top_k,
    )
    if (sample.token >= 0).any():
        rows = strata_rows(sample, source, target, "token", states=states)
        by_token = rows.count()
        token_types = beyond_token_types(by_token, rng)
        given_token = conditional_dependence(sample, source, target, "token", states, rng, rows, by_token)
    else:
        reasons.append("the trace has no token ids, so the part of the token type is unknown")
    if states == "subset":
        given_previous = conditional_dependence(sample, source, target, "previous", states, rng)
        if place > 1:
            skip = conditional_dependence(sample, counts.routers[place - 2], target, source, states, rng)
    else:
        reasons.append("given an earlier choice of k experts: too many subsets for strata")
    return {
        "within": within,
        "token_types": token_types,
        "given_token": given_token,
        "given_previous": given_previous,
        "skip": skip,
        "p_permuted": _p_permuted(sample, source, target, states, rng, permutations),
        "sample_note": sample.note,
        "reasons": tuple(reasons),
    }


def _p_permuted(
    sample: Sample, source: Router, target: Router, states: str, rng: np.random.Generator, permutations: int
) -> float:
    """Test independence by permuting the target choices of whole documents."""
    if not permutations or not len(sample):
        return float("nan")
    tables = permuted_tables(sample, source, target, rng, permutations, states=states)
    observed, *permuted = (mutual_information(table) for table in tables)
    # Without tokens that have both choices there is no information to compare.
    if observed != observed:
        return float("nan")
    return (1 + sum(bits >= observed for bits in permuted)) / (permutations + 1)
