from dataclasses import replace

import numpy as np
import pytest

from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.specification import BoardPlan
from routestat.study.domain_matrix import MATRIX_PREDICTORS, domain_matrix
from tests.study.transfer_cases import joined_domains, sample_of

PLAN = BoardPlan(threads=1)
SPECS = [spec for spec in PREDICTORS if spec.name in ("uniform", "layer-1-naive-bayes")]


def three_domains(**more):
    """Domains a and b of one process, c of another."""
    return joined_domains({"a": sample_of(0, 1, 50), "b": sample_of(0, 2), "c": sample_of(1, 3, 30), **more})


def cells(matrix, predictor="layer-1-naive-bayes"):
    return {(one.train, one.test): one for one in matrix.scores if one.score.predictor == predictor}


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_planted_domains(view):
    sample = three_domains()
    matrix = domain_matrix(sample, sample.routers, view, PLAN, specs=SPECS)
    assert matrix.domains == ("a", "b", "c")
    assert matrix.n_tokens.sum() == len(sample)
    assert matrix.n_groups.tolist() == [50, 40, 30]
    assert (matrix.left_out, matrix.notes, matrix.reason) == ((), (), "")
    found = cells(matrix)
    assert set(found) == {(x, y) for x in "abc" for y in "abc"}
    for (train, test), one in found.items():
        assert one.score.n_tokens == 3 * matrix.n_tokens["abc".index(test)]
        assert one.n_train_tokens == matrix.n_tokens["abc".index(train)]
        assert one.is_held_out == (train == test)
        if one.is_held_out:
            assert np.isnan(one.less_than_own("recall_at_k").value)
            continue
        loss = one.less_than_own("recall_at_k")
        if "c" in (train, test):
            assert loss.high < -0.05
            assert one.less_than_own("log_loss_bits").low > 0.5
        else:
            # Training sets of some 1,600 tokens differ by chance.
            assert abs(loss.value) < 0.02
    own = found["c", "c"].score.estimate("recall_at_k")
    assert found["a", "c"].less_than_own("recall_at_k").value == pytest.approx(
        found["a", "c"].score.estimate("recall_at_k").value - own.value
    )
    uniform = cells(matrix, "uniform")
    assert all(one.score.estimate("recall_at_k").value == pytest.approx(0.4) for one in uniform.values())


def test_large_domains_are_represented_by_stretches_of_all_documents():
    sample = three_domains()
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS, most_tokens=1500)
    assert (matrix.n_tokens <= 500).all()
    assert (matrix.n_tokens > 400).all()
    assert matrix.n_groups.tolist() == [50, 40, 30]
    assert matrix.notes[0].startswith("of a, b, c a stretch of every document is used")
    again = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS, most_tokens=1500)
    for one, two in zip(matrix.scores, again.scores, strict=True):
        np.testing.assert_array_equal(one.score.sums, two.score.sums)


def test_small_domains_and_documents_without_one_are_left_out():
    sample = three_domains(d=sample_of(0, 4, 2), **{"": sample_of(0, 5, 5)})
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS)
    assert matrix.domains == ("a", "b", "c")
    assert matrix.left_out == (("d", "2 groups of documents that belong to it alone: fewer than 3"),)


def test_no_more_than_the_largest_domains(monkeypatch):
    monkeypatch.setattr("routestat.study.domain_matrix.MOST_DOMAINS", 2)
    sample = three_domains()
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS)
    assert matrix.domains == ("a", "b")
    assert matrix.left_out == (("c", "only the 2 domains with most tokens are compared"),)


def test_a_cluster_of_two_domains_is_not_trained_on_for_the_other():
    sample = three_domains()
    # The first document of domain b belongs to the cluster of the first of domain a.
    first = {name: next(n for n, word in sample.domains.items() if word == name) for name in "ab"}
    units = sample.units
    cluster = units.cluster.copy()
    cluster[units.places(np.array([first["b"]]))] = first["a"]
    joined = replace(sample, units=replace(units, cluster=cluster))
    found = cells(domain_matrix(joined, sample.routers, "expert", PLAN, specs=SPECS))
    length = {name: (sample.document == number).sum() for name, number in first.items()}
    tokens = {name: found[name, name].n_train_tokens for name in "abc"}
    assert found["a", "b"].n_train_tokens == tokens["a"] - length["a"]
    assert found["b", "c"].n_train_tokens == tokens["b"] - length["b"]
    assert found["c", "a"].n_train_tokens == tokens["c"]


def test_one_domain_has_no_matrix():
    sample = joined_domains({"a": sample_of(0, 6)})
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS)
    assert matrix.scores == ()
    assert "expected two domains of 3 or more groups of documents, got 1" in matrix.reason
    nothing = replace(sample, domains={})
    assert "got 0" in domain_matrix(nothing, sample.routers, "expert", PLAN).reason


def test_ridge_on_everything_is_not_fitted_to_domains_of_wide_models(monkeypatch):
    monkeypatch.setattr("routestat.study.domain_matrix.MOST_EXPERTS", 19)
    sample = joined_domains({"a": sample_of(0, 7, 10), "b": sample_of(0, 8, 10)})
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN)
    assert {one.score.predictor for one in matrix.scores} == {"popularity", "layer-1"}
    assert matrix.notes[-1].startswith("ridge on everything before is not fitted")


def test_predictors_of_the_matrix_are_registered():
    assert set(MATRIX_PREDICTORS) <= {spec.name for spec in PREDICTORS}
