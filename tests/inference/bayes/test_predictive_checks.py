"""Predictive checks of the chain: statistics by hand, and documents of known dependence."""

import numpy as np
import pytest

from routestat.inference.bayes import predictive_checks
from routestat.inference.bayes.likelihood import chain_evidence
from routestat.inference.bayes.predictive_checks import check, table_statistics
from tests.inference.bayes.small_chains import small


def test_statistics_of_a_table_by_hand():
    # Rows (2, 0) and (0, 2): the row has one bit of information; two cells; every token has its row's commonest target.
    np.testing.assert_allclose(table_statistics(1, np.diag([2, 2]), np.arange(2)), [1, 2, 1])
    # Each its own parent: no information is left. One row alone: the entropy of (3, 1).
    np.testing.assert_allclose(table_statistics(2, np.diag([2, 2]), np.arange(2)), [0, 2, 1])
    entropy = 2 - 0.75 * np.log2(3)
    found = table_statistics(0, np.array([[3, 1]]), np.zeros(1, int))
    np.testing.assert_allclose(found, [entropy, 2, 0.75])


def test_tokens_that_documents_share_show_as_a_design_effect():
    # Every document is one token repeated eight times: its counts have eight times the variance of single tokens.
    rng = np.random.default_rng(2)
    tables = 8 * np.stack([rng.multinomial(1, np.full(16, 1 / 16)) for _ in range(400)]).reshape(400, 4, 4)
    evidence = chain_evidence(tables.sum(axis=2), [tables], [])[1]
    v = np.concatenate([np.zeros(4), [np.log(4)]])
    checks, _ = check(evidence, np.broadcast_to(v, (1, 100, 5)), rng)
    assert 6 < checks.design_effect[0] < 10
    assert checks.p_exchangeable[0] < 0.05
    assert checks.reading().endswith(f"too narrow by a factor of about {checks.design_effect[0] ** 0.5:.2g}")
    single = chain_evidence((tables // 8).sum(axis=2), [tables // 8], [])[1]
    checks, _ = check(single, np.broadcast_to(v, (1, 100, 5)), rng)
    assert 0.8 < checks.design_effect[0] < 1.2
    assert "about the right width" in checks.reading()


def test_tables_of_the_distribution_itself_have_p_values_spread_evenly():
    """Tables are drawn with the very alpha that the checks use: each share lies anywhere."""
    rng = np.random.default_rng(3)
    alpha, found = np.array([2.0, 1.0, 0.5]), []
    for _ in range(120):
        table = rng.multinomial(20, rng.dirichlet(alpha, 6))[None]
        evidence = chain_evidence(table.sum(axis=2), [table], [])[1]
        v = np.append(np.log(alpha), np.log(alpha.sum()))
        found.append(check(evidence, np.broadcast_to(v, (1, 100, 4)), rng)[0].p_values[:, 0])
    # 120 uniform numbers: the mean is 1/2 with a standard deviation of 1/sqrt(1440).
    assert (np.abs(np.mean(found, axis=0) - 0.5) < 4 / np.sqrt(1440)).all()
    assert (np.abs(np.mean(np.less(found, 0.25), axis=0) - 0.25) < 4 * np.sqrt(3 / 16 / 120)).all()


def test_one_group_and_rows_of_one_document_have_no_design_effect():
    table = np.array([[[5, 1], [2, 7]]])
    evidence = chain_evidence(table.sum(axis=2), [table], [])[1]
    checks, _ = check(evidence, np.zeros((1, 10, 3)), np.random.default_rng(0))
    assert np.isnan(checks.design_effect).all()
    assert checks.reading() == checks.reason == "one group of documents: there is no other to compare it with"
    # Each row in one document alone: bundles cannot differ in it.
    apart = np.array([[[5, 1], [0, 0]], [[0, 0], [2, 7]]])
    evidence = chain_evidence(apart.sum(axis=2), [apart], [])[1]
    checks, _ = check(evidence, np.zeros((1, 10, 3)), np.random.default_rng(0))
    assert np.isnan(checks.design_effect).all()
    assert checks.reason == ""
    assert "could differ" in checks.reading()


def test_a_table_too_large_to_replicate_is_left_out(monkeypatch):
    evidence = small().evidence()[2]
    v = np.zeros((2, 10, 1))
    whole, _ = check(evidence, v, np.random.default_rng(0))
    assert ((whole.p_values >= 0) & (whole.p_values <= 1)).all()
    cells = evidence.units[0]
    monkeypatch.setattr(predictive_checks, "MOST_CELLS", len(cells.parent) * cells.width - 1)
    checks, _ = check(evidence, v, np.random.default_rng(0))
    for part in (checks.observed, checks.replicated, checks.p_values):
        assert np.isnan(part).all()


@pytest.mark.parametrize("order", [0, 1])
def test_a_layer_without_tokens_has_nothing_to_check(order):
    data = small()
    first, tables, _ = data.parts
    evidence = chain_evidence(first, [tables[0] * 0], [])[order]
    v = np.zeros((1, 10, evidence.n_arguments))
    checks, _ = check(evidence, v, np.random.default_rng(0))
    assert np.isnan(checks.observed[:, -1]).all()
    assert np.isnan(checks.p_values[:, -1]).all()
    # The first layer of order 0 has tokens all the same.
    assert np.isfinite(checks.p_values[:, :-1]).all()
