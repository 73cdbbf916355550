"""The A/A check of independence and order on documents with strong topics that all layers share.

The layers depend on each other through the topics; documents that have exchanged layers do not, so the clustered tests
must reject at their nominal level, and tests that take tokens as independent nearly always. A check that could not
distinguish these would be useless, so it is fed the p-values of the latter, too.
"""

import math

import numpy as np
import pytest

from routestat import Router
from routestat.counting.document_sample import Sample
from routestat.counting.strata import count_strata
from routestat.inference.association.independence import independence
from routestat.inference.level_checks.level_check import LevelCheck, level_check, trust
from routestat.inference.level_checks.null_p_values import PValues, independence_p_values, order_p_values
from routestat.inference.markov.order_score_test import clustered_order
from routestat.traces.categorical import categorical
from routestat.traces.clusters.units import Units
from routestat.traces.synthetic.distributions import dirichlet_around
from tests.calibration.nulls import document_distributions, document_lengths, repeat_earlier

TOPICS = 3


def topical(rng: np.random.Generator, documents: int, kind: str, k: int, layers: int) -> Sample:
    """Each document has one of three topics, each topic a distribution of its own in every layer; choices repeat."""
    lengths = document_lengths(rng, documents, 100, kind)
    document = np.repeat(np.arange(documents), lengths)
    topic = rng.integers(0, TOPICS, documents)[document]
    columns = [
        categorical(rng.dirichlet(np.full(k, 0.3), TOPICS), topic, rng).astype(np.uint8)
        for _ in range(layers)
    ]
    columns = [repeat_earlier(rng, column, document, 0.4) for column in columns]
    routers = tuple(Router(layer, k, 1, f"L{layer:02}") for layer in range(layers))
    n = len(document)
    named = {router.name: column for router, column in zip(routers, columns, strict=True)}
    unknown = np.full(n, -1, np.int32)
    return Sample(
        routers,
        unknown,
        document.astype(np.int32),
        np.zeros(n, bool),
        named,
        Units.alone(document),
        256,
        documents,
        n,
    )


def pooled(rng: np.random.Generator, sets: int, draws: int, kind: str, k: int = 8) -> LevelCheck:
    """The check over several data sets: each has a rate of its own, and their mean is the size of the test."""
    samples = [topical(rng, 60, kind, k, 2) for _ in range(sets)]
    found = [independence_p_values(sample, *sample.routers, rng, draws) for sample in samples]
    return level_check("independence", found, 60)


def line(check: LevelCheck, kind: str) -> str:
    return (
        f"60 {kind:11} documents of three topics, {check.family}: clustered {check.rate_clustered:.3f} ± "
        f"{check.rate_clustered_error:.3f}, i.i.d. {check.rate_iid:.3f}, histogram {check.p_histogram.tolist()}"
    )


@pytest.mark.parametrize(
    ("kind", "sets", "draws"),
    [
        pytest.param("equal", 12, 100, id="equal"),
        pytest.param("exponential", 12, 100, id="exponential"),
        pytest.param("equal", 60, 100, marks=pytest.mark.long, id="equal-long"),
        pytest.param("exponential", 60, 100, marks=pytest.mark.long, id="exponential-long"),
    ],
)
def test_independence_holds_its_level_though_layers_share_topics(
    kind: str, sets: int, draws: int, found: list[str]
) -> None:
    check = pooled(np.random.default_rng([50, kind == "equal", sets]), sets, draws, kind)
    found.append(line(check, kind))
    assert 0.03 <= check.rate_clustered <= 0.07, line(check, kind)
    assert check.rate_iid > 0.8, line(check, kind)
    assert check.verdict == "holds"
    # Without the exchange the same documents are clearly dependent.
    sample = topical(np.random.default_rng(51), 60, kind, 8, 2)
    cells = (sample.document.astype(int) * 8 + sample.columns["L00"]) * 8 + sample.columns["L01"]
    assert independence(np.bincount(cells, minlength=60 * 64).reshape(60, 8, 8)).log10_p_clustered < -3


def leaning(rng: np.random.Generator, documents: int, k: int) -> Sample:
    """Chains x -> y -> z with a source and a last channel of the document's own, whose last layer leans on the first.

    The memory is two layers long: an order test of the documents before the exchange would reject.
    """
    document = np.repeat(np.arange(documents), 200)
    x = categorical(document_distributions(rng, documents, k, 10.0), document, rng)
    y = categorical(rng.dirichlet(np.full(k, 0.5), k), x, rng)
    own = [dirichlet_around(row, 20.0, documents, rng) for row in np.full((k, k), 1.0 / k)]
    z = categorical(np.concatenate(own), y * documents + document, rng)
    z = np.where(rng.random(len(x)) < 0.3, (x + y) % k, z)
    states = repeat_earlier(rng, np.stack([x, y, z], axis=1), document, 0.4).astype(np.uint8)
    routers = tuple(Router(layer, k, 1, f"L{layer:02}") for layer in range(3))
    columns = {router.name: states[:, at] for at, router in enumerate(routers)}
    n, unknown = len(document), np.full(len(document), -1, np.int32)
    return Sample(
        routers,
        unknown,
        document.astype(np.int32),
        np.zeros(n, bool),
        columns,
        Units.alone(document),
        256,
        documents,
        n,
    )


@pytest.mark.parametrize(
    ("sets", "draws"), [(8, 50), pytest.param(60, 50, marks=pytest.mark.long, id="long")]
)
def test_order_rejects_about_as_often_as_it_says(sets: int, draws: int, found: list[str]) -> None:
    rng = np.random.default_rng([52, sets])
    samples = [leaning(rng, 60, 8) for _ in range(sets)]
    check = level_check("order", [order_p_values(one, *one.routers, rng, draws) for one in samples], 60)
    text = line(check, "equal").replace("three topics", "their own distributions")
    found.append(text)
    error = math.sqrt(0.05 * 0.95 / check.n_draws)
    assert 0.03 - error <= check.rate_clustered <= 0.07 + error, text
    assert check.rate_iid > 0.5, text
    # Without the exchange the memory of two layers is found.
    first, between, last = samples[0].routers
    assert clustered_order(count_strata(samples[0], first, last, between)).log10_p_clustered < -3


def test_a_test_that_does_not_hold_its_level_is_found() -> None:
    """The p-values that take tokens as independent, handed in as if they were the clustered ones."""
    rng = np.random.default_rng(53)
    samples = [topical(rng, 60, "equal", 8, 2) for _ in range(5)]
    parts = [independence_p_values(sample, *sample.routers, rng, 80) for sample in samples]
    honest = level_check("independence", parts, 60)
    fooled = level_check("independence", [PValues(part.iid, part.iid) for part in parts], 60)
    assert (honest.verdict, fooled.verdict) == ("holds", "above")
    assert "can be trusted here" in trust([honest])
    assert "can be trusted here" not in trust([fooled])
    assert "more often than the nominal level" in trust([fooled])
    # And one that hardly ever rejects.
    timid = level_check("independence", [PValues(part.clustered**0.25, part.iid) for part in parts], 60)
    assert timid.verdict == "below"
    assert "true effects can be missed" in trust([timid])
