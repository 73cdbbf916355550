"""On chains of order 1 through dependent documents the clustered tests of order 2reject at their nominal level.

In every document target and source are independent given the layer between; its tokens are not independent of each
other. Tests that take tokens as independent must be seen to fail on the same data, and BIC with them.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from routestat.counting.strata import Strata
from routestat.inference.association.independence import independence
from routestat.inference.association.stratified import stratified_independence
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_tests import order_tests
from routestat.traces import synthetic
from routestat.traces.categorical import categorical
from routestat.traces.synthetic.distributions import dirichlet_around
from tests.calibration.forms import forms
from tests.calibration.nulls import document_distributions, document_lengths, repeat_earlier
from tests.oracle.order_oracle import strata_of_tokens

LEVEL = 0.05


@dataclass(frozen=True)
class Documents:
    """How tokens of one document depend on each other, on a chain x -> y -> z.

    repeat: a token takes its predecessor's whole way. first, last: Dirichlet concentrations of a document's own
    distribution of x, and of its own channel from y to z; the two are drawn independently, so the mean over documents
    is a chain too.
    """

    name: str
    repeat: float = 0.0
    first: float | None = None
    last: float | None = None


INDEPENDENT = Documents("independent tokens")
REPEATS = Documents("ways repeated", repeat=0.6)
SOURCES = Documents("sources by document", first=10.0)
ENDS = Documents("both ends by document", first=10.0, last=10.0)
ALL = Documents("all of these", repeat=0.4, first=10.0, last=20.0)


def order_one(rng: np.random.Generator, k: int, lengths: np.ndarray, kind: Documents) -> Strata:
    document, n = np.repeat(np.arange(len(lengths)), lengths), len(lengths)
    x = categorical(document_distributions(rng, n, k, kind.first), document, rng)
    y = categorical(rng.dirichlet(np.full(k, 0.5), k), x, rng)
    channel = rng.dirichlet(np.full(k, 0.5), k)
    if kind.last is None:
        z = categorical(channel, y, rng)
    else:
        own = [dirichlet_around(row, kind.last, n, rng) for row in np.maximum(channel, 1e-9)]
        z = categorical(np.concatenate(own), y * n + document, rng)
    x, y, z = repeat_earlier(rng, np.stack([x, y, z], axis=1), document, kind.repeat).T
    return strata_of_tokens(x, y, z, document, (k, k, k))


def error(runs: int) -> float:
    return math.sqrt(LEVEL * (1.0 - LEVEL) / runs)


def name(dependence: Documents) -> str:
    return dependence.name.replace(" ", "-")


SHAPES = [
    # States, documents, tokens of each, lengths, dependence, resamples, runs in the short and in the long form.
    *(
        (8, 60, 200, "equal", dependence, 39, 150, 300)
        for dependence in (INDEPENDENT, REPEATS, SOURCES, ENDS, ALL)
    ),
    *((8, 60, 200, "exponential", dependence, 0, 150, 300) for dependence in (REPEATS, ALL)),
    *((28, 60, 200, "exponential", dependence, 0, 100, 200) for dependence in (REPEATS, ENDS, ALL)),
]


@pytest.mark.parametrize(
    ("k", "documents", "mean", "kind", "dependence", "resamples", "runs"),
    [
        one
        for *shape, short, long in SHAPES
        for one in forms(*shape, short=short, long=long, name=f"{shape[0]}-{shape[3]}-{name(shape[4])}")
    ],
)
def test_order_one(
    k: int,
    documents: int,
    mean: int,
    kind: str,
    dependence: Documents,
    resamples: int,
    runs: int,
    found: list[str],
) -> None:
    rng = np.random.default_rng([30, k, documents, kind == "equal", len(dependence.name)])
    rejected, bic = np.zeros((runs, 5)), np.zeros((runs, 2))
    for run in range(runs):
        strata = order_one(rng, k, document_lengths(rng, documents, mean, kind), dependence)
        iid = order_tests(strata, documents, rng, resamples=resamples)
        rejected[run] = (
            clustered_order(strata).p_clustered < LEVEL,
            stratified_independence(strata).p_clustered < LEVEL,
            iid.log10_p_g_iid < math.log10(LEVEL),
            iid.log10_p_chi2_iid < math.log10(LEVEL),
            iid.p_resampled_iid <= LEVEL,
        )
        bic[run] = iid.bic_tokens > 0, iid.bic_documents > 0
    by_cell, added, g, x2, redrawn = rejected.mean(axis=0)
    line = (
        f"{k:2} states, {documents:3} {kind:11} documents, {dependence.name:21}: clustered {by_cell:.3f}, "
        "strata added up "
        f"{added:.3f} (± {error(runs):.3f}); i.i.d. G2 {g:.3f}, X2 {x2:.3f}, redrawn "
        f"{redrawn if resamples else math.nan:.3f}; BIC says order 2 by tokens {bic[:, 0].mean():.2f}, "
        f"by documents {bic[:, 1].mean():.2f}"
    )
    found.append(line)
    # The claim is of 3 to 7 %; this sample of the rate may be one error away.
    for rate in (by_cell, added):
        assert 0.03 - error(runs) <= rate <= 0.07 + error(runs), line
    if dependence in (REPEATS, ALL):
        assert min(g, x2) > 0.9, line
    if resamples:
        # Given the margins, targets of one distribution are exchangeable whatever documents do to the sources.
        if dependence in (INDEPENDENT, SOURCES):
            assert abs(redrawn - LEVEL) < 3 * error(runs), line
        else:
            assert redrawn > 0.5, line


@pytest.mark.slow
def test_bic_takes_repetition_for_memory(found: list[str]) -> None:
    """G2 grows with the design effect, the penalty does not; documents as n make the penalty smaller still."""
    rng, runs = np.random.default_rng(31), 40
    chosen = np.zeros((runs, 3))
    for run in range(runs):
        strata = order_one(rng, 8, document_lengths(rng, 60, 400, "equal"), Documents("", repeat=0.8))
        iid = order_tests(strata, 60, rng, resamples=0)
        chosen[run] = iid.bic_tokens > 0, iid.bic_documents > 0, clustered_order(strata).p_clustered < LEVEL
    tokens, documents, clustered = chosen.mean(axis=0)
    found.append(
        f"ways repeated 5 times: BIC says order 2 by tokens {tokens:.2f}, by documents {documents:.2f}, the "
        f"clustered test {clustered:.2f}"
    )
    assert documents > 0.9 > clustered


@pytest.mark.slow
def test_order_two_without_any_pair(found: list[str]) -> None:
    """Sums of two layers: neighbours are independent, so only what looks at every stratum apart can see it."""
    rng, runs, k = np.random.default_rng(32), 60, 8
    hits, pairs = np.zeros((runs, 4)), []
    for run in range(runs):
        trace = synthetic.second_order(
            noise=0.6, rng=rng, n_experts=k, top_k=1, layers=3, documents=60, mean_length=100
        )
        x, y, z = trace.states.astype(int).T
        strata = strata_of_tokens(x, y, z, trace.document, (k, k, k))
        iid = order_tests(strata, 60, rng, resamples=39)
        hits[run] = (
            clustered_order(strata).p_clustered < LEVEL,
            stratified_independence(strata).p_clustered < LEVEL,
            iid.log10_p_g_iid < math.log10(LEVEL),
            iid.p_resampled_iid <= LEVEL,
        )
        for a, b in ((x, y), (y, z), (x, z)):
            cells = np.bincount((trace.document * k + a) * k + b, minlength=60 * k * k)
            pairs.append(independence(cells.reshape(60, k, k)).p_clustered < LEVEL)
    by_cell, added, g, redrawn = hits.mean(axis=0)
    found.append(
        f"sums of two layers: clustered {by_cell:.2f}, G2 {g:.2f}, redrawn {redrawn:.2f}; strata added up "
        f"{added:.2f}; pairs {np.mean(pairs):.3f}"
    )
    assert min(by_cell, g, redrawn) == 1.0
    assert np.mean(pairs) < LEVEL + 2 * error(3 * runs)
    # Not a virtue: what has another direction in every stratum cancels in a sum over them.
    assert added < 0.2


@pytest.mark.slow
def test_a_little_order_two_is_found_in_dependent_documents() -> None:
    rng, p = np.random.default_rng(33), []
    for _ in range(30):
        lengths = document_lengths(rng, 60, 200, "exponential")
        document = np.repeat(np.arange(60), lengths)
        x, y = (categorical(document_distributions(rng, 60, 8, 20.0), document, rng) for _ in range(2))
        z = np.where(rng.random(len(x)) < 0.25, (x + y) % 8, rng.integers(0, 8, len(x)))
        x, y, z = repeat_earlier(rng, np.stack([x, y, z], axis=1), document, 0.4).T
        p.append(clustered_order(strata_of_tokens(x, y, z, document, (8, 8, 8))).p_clustered)
    assert np.mean(np.array(p) < LEVEL) > 0.9
