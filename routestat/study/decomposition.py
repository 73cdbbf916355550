"""What a dependence between two layers is made of: topics, vocabulary, the previous token, and the layers' own."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, take_sample
from routestat.counting.expected_within_documents import count_within
from routestat.counting.permuted_documents import permuted_tables
from routestat.counting.strata import count_strata
from routestat.inference.association.stratified import StratifiedIndependence, stratified_independence
from routestat.inference.association.token_types import BeyondTokenTypes, beyond_token_types
from routestat.inference.association.within_documents import WithinDocuments, within_documents
from routestat.inference.information.mutual_information import (
    InformationInterval,
    mutual_information,
    mutual_information_interval,
)
from routestat.inference.information.stratified import conditional_information_interval
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Told (what is being done, done, in all).
Tick = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Conditional:
    """Information given something else.

    Attributes
    ----------
    information : InformationInterval
    unconditional_bits : float
        Of the same tokens without the condition; what the condition takes away is the interaction information,
        negative where it adds (synergy).
    shuffled_bits : float
        What the same estimate finds when the target choices are dealt out anew inside every stratum: how far it
        can be trusted. Strata of an earlier choice are few, but their tables are as wide as the alphabets.
    test : StratifiedIndependence
    """

    information: InformationInterval
    unconditional_bits: float
    shuffled_bits: float
    test: StratifiedIndependence


@dataclass(frozen=True)
class Decomposition:
    """Parts of the dependence of one pair of layers; a part that cannot be had is None and `reasons` says why.

    Attributes
    ----------
    source, target : Router
    within : WithinDocuments
    vocabulary : BeyondTokenTypes, optional
    given_token, given_previous : Conditional, optional
        Given the token id; given what the target's router chose for the previous token.
    skip : Conditional, optional
        Of the router before the source and the target, given the source.
    p_permuted : float
        Of plain independence by trading whole documents, at least 1 / (permutations + 1); NaN unless asked for.
    note : str
        What part of the trace the conditional figures rest on; empty if all.
    reasons : tuple of str
    """

    source: Router
    target: Router
    within: WithinDocuments
    vocabulary: BeyondTokenTypes | None
    given_token: Conditional | None
    given_previous: Conditional | None
    skip: Conditional | None
    p_permuted: float
    note: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Budget:
    """Where along the depth the dependence sits; sums over the chosen layers in bits.

    Attributes
    ----------
    adjacent_bits, skip_bits : float
        Σ I(X_l; X_l+1), and Σ I(X_l; X_l+2 | X_l+1): the first two terms of the total correlation.
    adjacent_error, skip_error : float
        Sums of the terms' standard errors: the error of the sum is at most that.
    reason : str
        Why there is no rest.
    """

    adjacent_bits: float
    adjacent_error: float
    skip_bits: float
    skip_error: float
    reason: str


def decompose(
    trace: Trace,
    counts: Counts,
    rng: np.random.Generator,
    permutations: int = 0,
    tick: Tick = lambda what, done, total: None,
    sample: Sample | None = None,
) -> tuple[Decomposition, ...]:
    """Take every adjacent pair of layers apart.

    Parameters
    ----------
    trace : Trace
        Read again: once where groups bundle documents, once for the rows that strata are made of.
    counts : Counts
        With ``Context.layer(1)``.
    rng : numpy.random.Generator
        For swapped and shuffled types.
    permutations : int
        Times that whole documents trade their target choices, as a slow check of the clustered test.
    sample : Sample, optional
        Whole documents of the trace, where they have been read already (see `sample_of`).
    """
    expected = count_within(trace, counts, lambda done, total: tick("expecting documents", done, total))
    documents = sample_of(trace, counts, tick) if sample is None else sample
    pairs = list(enumerate(counts.routers[1:], start=1))

    def part(place: int, target: Router, own: np.random.Generator) -> Decomposition:
        slots = 1 if counts.states == "subset" else counts.routers[place - 1].top_k * target.top_k
        within = within_documents(
            counts.table(Context.layer(1), target),
            expected[target.name],
            documents=counts.documents,
            slots=slots,
        )
        before = counts.routers[place - 2] if place > 1 else None
        routers = before, counts.routers[place - 1], target
        return _parts(documents, counts.states, *routers, within, own, permutations)

    # Sorting is most of the work, and lets other threads run; each pair has its own random numbers.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [pool.submit(part, *pair, own) for pair, own in zip(pairs, rng.spawn(len(pairs)), strict=True)]
        try:
            for done, _ in enumerate(as_completed(jobs)):
                tick("taking dependence apart", done + 1, len(jobs))
        except BaseException:
            # Ctrl-C shall not wait for what has not begun.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(job.result() for job in jobs)


def sample_of(trace: Trace, counts: Counts, tick: Tick = lambda what, done, total: None) -> Sample:
    """Whole documents of the counted layers."""
    layers = None if len(counts.routers) == len(trace.meta.routers) else [r.layer for r in counts.routers]
    return take_sample(
        trace, layers, counts.groups, progress=lambda done, total: tick("reading tokens", done, total)
    )


def _parts(
    sample: Sample,
    states: str,
    before: Router | None,
    source: Router,
    target: Router,
    within: WithinDocuments,
    rng: np.random.Generator,
    permutations: int,
) -> Decomposition:
    reasons, vocabulary, given_token, given_previous, skip = [], None, None, None, None
    if (sample.token >= 0).any():
        by_token = count_strata(sample, source, target, "token", states=states)
        vocabulary = beyond_token_types(by_token, rng)
        given_token = _given(sample, source, target, "token", states, rng)
    else:
        reasons.append("the trace has no token ids, so nothing is known of the vocabulary's part")
    if states == "subset":
        given_previous = _given(sample, source, target, "previous", states, rng)
        if before is not None:
            skip = _given(sample, before, target, source, states, rng)
    else:
        reasons.append("given an earlier choice of k experts: too many subsets to make strata of")
    p_permuted = _permuted(sample, source, target, states, rng, permutations)
    return Decomposition(
        source,
        target,
        within,
        vocabulary,
        given_token,
        given_previous,
        skip,
        p_permuted,
        sample.note,
        tuple(reasons),
    )


def _permuted(
    sample: Sample, source: Router, target: Router, states: str, rng: np.random.Generator, permutations: int
) -> float:
    """How rarely documents that traded their target choices show as much information as they do themselves."""
    if not permutations or not len(sample):
        return float("nan")
    tables = permuted_tables(sample, source, target, rng, permutations, states=states)
    observed, *traded = (mutual_information(table) for table in tables)
    # Where no token has both choices there is no information, and nothing to be rarer than.
    if observed != observed:
        return float("nan")
    return (1 + sum(bits >= observed for bits in traded)) / (permutations + 1)


def _given(
    sample: Sample, source: Router, target: Router, by: str | Router, states: str, rng: np.random.Generator
) -> Conditional:
    strata = count_strata(sample, source, target, by, states=states)
    nothing = count_strata(sample, source, target, by, states=states, shuffled=rng)
    return Conditional(
        conditional_information_interval(strata),
        mutual_information_interval(strata.pooled()).mi_bits,
        conditional_information_interval(nothing).mi_bits,
        stratified_independence(strata),
    )


def budget(adjacent: Sequence[InformationInterval], parts: Sequence[Decomposition]) -> Budget:
    """Add the adjacent and the skipping information up over the depth.

    Parameters
    ----------
    adjacent : sequence of InformationInterval
        Of every adjacent pair.
    parts : sequence of Decomposition
    """
    skips = [part.skip.information for part in parts if part.skip is not None]
    withheld = sum(item.mi_bits != item.mi_bits for item in adjacent)
    reasons = (
        [f"{withheld} of {len(adjacent)} pairs of layers have no information that could be added up"]
        if withheld
        else []
    )
    reasons.append(
        "what no window of three layers shows is left open: the joint law of more layers has too many cells"
    )
    return Budget(
        float(sum(item.mi_bits for item in adjacent)),
        float(sum(item.standard_error for item in adjacent)),
        float(sum(item.mi_bits for item in skips)) if skips else float("nan"),
        float(sum(item.standard_error for item in skips)) if skips else float("nan"),
        "; ".join(reasons),
    )
