"""The checks call the tests that the report rests on, on documents that have exchanged layers."""

import numpy as np
import pytest

from routestat import Router
from routestat.counting.document_sample import Sample
from routestat.inference.association.expert_independence import independence_of_inclusions
from routestat.inference.association.independence import independence
from routestat.inference.level_checks import null_p_values
from routestat.inference.level_checks.null_p_values import independence_p_values, order_p_values
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_tests import order_tests
from routestat.traces.clusters.units import Units

ROUTERS = tuple(Router(layer, 4, 2, f"L{layer:02}") for layer in range(3))


def copies(documents: int = 20, length: int = 30) -> Sample:
    """All layers copy one another: whatever is found dependent here was not exchanged."""
    rng = np.random.default_rng(1)
    document = np.repeat(np.arange(documents, dtype=np.int32), length)
    states = rng.integers(0, 6, len(document)).astype(np.uint8)
    columns = {router.name: states for router in ROUTERS}
    n = len(document)
    return Sample(
        ROUTERS,
        np.zeros(n, np.int32),
        document,
        np.zeros(n, bool),
        columns,
        Units.alone(document),
        256,
        documents,
        n,
    )


@pytest.mark.parametrize(
    ("states", "name", "real"),
    [
        ("subset", "independence", independence),
        ("expert", "independence_of_inclusions", independence_of_inclusions),
    ],
)
def test_independence_is_that_of_the_report(monkeypatch, states, name, real) -> None:
    called = []

    def spy(*tables):
        called.append(real(*tables))
        return called[-1]

    monkeypatch.setattr(null_p_values, name, spy)
    found = independence_p_values(copies(), *ROUTERS[:2], np.random.default_rng(2), 30, states)
    assert found.clustered.tolist() == [test.p_clustered for test in called]
    assert len(called) == 30
    assert {test.n_groups for test in called} == {10}
    # Copies within a document are gone.
    assert found.clustered.min() > 1e-4
    assert np.isfinite(found.iid).all() == (states == "subset")


def test_order_is_that_of_the_report(monkeypatch) -> None:
    called, iid = [], []

    def spy(strata):
        called.append(clustered_order(strata))
        iid.append(10.0 ** order_tests(strata, 9, np.random.default_rng(0), resamples=0).log10_p_chi2_iid)
        return called[-1]

    monkeypatch.setattr(null_p_values, "clustered_order", spy)
    rng, given = np.random.default_rng(3), copies()
    noise = rng.integers(0, 6, (2, len(given))).astype(np.uint8)
    columns = {"L00": noise[0], "L01": noise[1], "L02": noise[0]}
    given = Sample(
        ROUTERS, given.token, given.document, given.follows, columns, given.units, 256, 20, len(given)
    )
    found = order_p_values(given, *ROUTERS, rng, 20)
    assert found.clustered.tolist() == [test.p_clustered for test in called]
    assert found.iid == pytest.approx(iid, rel=1e-9)
    # Layer two before is copied, given the layer before; after the exchange, nothing of that is left.
    assert found.clustered.min() > 1e-4
    assert np.isfinite(found.iid).all()


def test_reasons_of_tests_without_a_p_value_are_kept() -> None:
    given = copies()
    apart = np.repeat(np.arange(20) % 6, 30).astype(np.uint8)
    columns = {"L00": apart, "L01": np.zeros(len(given), np.uint8), "L02": apart}
    constant = Sample(
        ROUTERS, given.token, given.document, given.follows, columns, given.units, 256, 20, len(given)
    )
    found = independence_p_values(constant, *ROUTERS[:2], np.random.default_rng(4), 3)
    assert found.clustered.tolist() == [1.0] * 3
    assert found.reasons == ()
    empty = {name: np.full(len(given), 255, np.uint8) for name in columns}
    nothing = Sample(
        ROUTERS, given.token, given.document, given.follows, empty, given.units, 256, 20, len(given)
    )
    for found in (
        independence_p_values(nothing, *ROUTERS[:2], np.random.default_rng(5), 3),
        independence_p_values(nothing, *ROUTERS[:2], np.random.default_rng(5), 3, "expert"),
        order_p_values(nothing, *ROUTERS, np.random.default_rng(6), 3),
    ):
        assert np.isnan(found.clustered).all()
        assert len(found.reasons) == 3
        assert "None" not in found.reasons
