"""The A/A check of independence and order on documents with strong topics that all layers share.

The layers depend on each other through the topics; documents that have traded layers do not, so the clustered tests
must reject as often as they say, and tests that take tokens as independent nearly always. A check that could not
tell these apart would be worth nothing, so it is fed the p-values of the latter, too.
"""

import math

import numpy as np
import pytest

from routestat import Router
from routestat.counting.sample import Sample
from routestat.inference.independence import independence
from routestat.inference.level_checks import LevelCheck, level_check, trust
from routestat.inference.traded_p_values import PValues, independence_p_values, order_p_values
from routestat.traces.synthetic.laws import draw_states
from tests.calibration.nulls import document_lengths, repeat_earlier

TOPICS = 3


def topical(rng: np.random.Generator, documents: int, kind: str, k: int, layers: int) -> Sample:
    """Each document has one of three topics, each topic a distribution of its own in every layer; choices repeat."""
    lengths = document_lengths(rng, documents, 100, kind)
    document = np.repeat(np.arange(documents), lengths)
    topic = rng.integers(0, TOPICS, documents)[document]
    columns = [
        draw_states(rng.dirichlet(np.full(k, 0.3), TOPICS), topic, rng).astype(np.uint8)
        for _ in range(layers)
    ]
    columns = [repeat_earlier(rng, column, document, 0.4) for column in columns]
    routers = tuple(Router(layer, k, 1, f"L{layer:02}") for layer in range(layers))
    n = len(document)
    named = {router.name: column for router, column in zip(routers, columns, strict=True)}
    unknown = np.full(n, -1, np.int32)
    return Sample(routers, unknown, document.astype(np.int32), np.zeros(n, bool), named, 256, documents, n)


def pooled(family: str, rng: np.random.Generator, sets: int, draws: int, kind: str, k: int = 8) -> LevelCheck:
    """The check over several data sets: each has a rate of its own, and their mean is the size of the test."""
    found = []
    for _ in range(sets):
        sample = topical(rng, 60, kind, k, 3)
        if family == "independence":
            found.append(independence_p_values(sample, *sample.routers[:2], rng, draws))
        else:
            found.append(order_p_values(sample, *sample.routers, rng, draws))
    return level_check(family, found, 60)


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
        pytest.param("equal", 60, 200, marks=pytest.mark.slow, id="equal-long"),
        pytest.param("exponential", 60, 200, marks=pytest.mark.slow, id="exponential-long"),
    ],
)
def test_independence_holds_its_level_though_layers_share_topics(
    kind: str, sets: int, draws: int, found: list[str]
) -> None:
    check = pooled("independence", np.random.default_rng([50, kind == "equal", sets]), sets, draws, kind)
    found.append(line(check, kind))
    assert 0.03 <= check.rate_clustered <= 0.07, line(check, kind)
    assert check.rate_iid > 0.8, line(check, kind)
    assert check.verdict == "holds"
    # Untraded, the same documents are dependent beyond doubt.
    sample = topical(np.random.default_rng(51), 60, kind, 8, 2)
    cells = (sample.document.astype(int) * 8 + sample.columns["L00"]) * 8 + sample.columns["L01"]
    assert independence(np.bincount(cells, minlength=60 * 64).reshape(60, 8, 8)).log10_p_clustered < -3


@pytest.mark.slow
def test_order_rejects_about_as_often_as_it_says(found: list[str]) -> None:
    check = pooled("order", np.random.default_rng(52), 24, 50, "equal")
    found.append(line(check, "equal"))
    error = math.sqrt(0.05 * 0.95 / check.n_draws)
    assert 0.03 - error <= check.rate_clustered <= 0.07 + error, line(check, "equal")
    assert check.rate_iid > 0.5, line(check, "equal")


def test_a_test_that_does_not_hold_its_level_is_found() -> None:
    """The p-values that take tokens as independent, handed in as if they were the clustered ones."""
    rng = np.random.default_rng(53)
    samples = [topical(rng, 60, "equal", 8, 2) for _ in range(5)]
    parts = [independence_p_values(sample, *sample.routers, rng, 80) for sample in samples]
    honest = level_check("independence", parts, 60)
    fooled = level_check("independence", [PValues(part.iid, part.iid) for part in parts], 60)
    assert (honest.verdict, fooled.verdict) == ("holds", "above")
    assert "can be believed" in trust([honest])
    assert "believed" not in trust([fooled])
    assert "more often than they should" in trust([fooled])
    # And one that hardly ever rejects.
    timid = level_check("independence", [PValues(part.clustered**0.25, part.iid) for part in parts], 60)
    assert timid.verdict == "below"
    assert "can miss what is there" in trust([timid])
