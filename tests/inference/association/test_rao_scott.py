import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.association.independence import independence
from routestat.inference.association.rao_scott import rao_scott

PRINTED = json.loads((Path(__file__).parents[2] / "oracle" / "svychisq.json").read_text())
CASES = [name for name in PRINTED if name != "_"]


def tables(name: str) -> np.ndarray:
    return np.array(PRINTED[name]["table"], dtype=int).reshape(PRINTED[name]["shape"])


@pytest.mark.parametrize("name", CASES)
def test_r_prints_these_figures(name: str) -> None:
    r = rao_scott(tables(name))
    assert r.reason is None
    assert (r.f, r.ndf, r.ddf, r.p) == pytest.approx(PRINTED[name]["F"], rel=1e-9, abs=0)
    # For "Chisq" R prints Pearson's X2 as it is, beside the p-value of the corrected one.
    assert (r.chi2, r.dof, r.p_first_order) == pytest.approx(PRINTED[name]["Chisq"], rel=1e-9, abs=0)
    assert r.chi2_first_order == pytest.approx(r.f * r.dof, rel=1e-12)


def eigenvalues_from_the_book(t: np.ndarray) -> np.ndarray:
    """Cell by cell and group by group, with contrasts against the first row and column made orthogonal."""
    groups, rows, columns = t.shape
    n, p = t.sum(), t.sum(axis=0).ravel() / t.sum()
    v = np.zeros((p.size, p.size))
    for g in range(groups):
        psi = [(t[g].ravel()[cell] - t[g].sum() * p[cell]) / n for cell in range(p.size)]
        for a in range(p.size):
            for b in range(p.size):
                v[a, b] += psi[a] * psi[b] * groups / (groups - 1)
    main = [np.repeat(np.eye(rows)[i], columns) for i in range(rows)]
    main += [np.tile(np.eye(columns)[j], rows) for j in range(columns)]
    basis = np.array(main).T
    contrasts = []
    for i in range(1, rows):
        for j in range(1, columns):
            cell = np.outer(np.eye(rows)[i], np.eye(columns)[j]).ravel()
            contrasts.append(cell - basis @ np.linalg.lstsq(basis, cell, rcond=None)[0])
    c, inverse = np.array(contrasts).T, np.diag([1 / share if share else 0.0 for share in p])
    simple = c.T @ inverse @ c / n
    return np.sort(np.linalg.eigvals(np.linalg.solve(simple, c.T @ inverse @ v @ inverse @ c)).real)[::-1]


@pytest.mark.parametrize("name", CASES)
def test_eigenvalues_against_loops_over_cells(name: str) -> None:
    np.testing.assert_allclose(
        rao_scott(tables(name)).eigenvalues, eigenvalues_from_the_book(tables(name)), rtol=1e-9
    )


def test_a_single_document_said_over_and_over_counts_as_one_sample() -> None:
    once = rao_scott(tables("three_by_four"))
    thrice = rao_scott(tables("three_by_four") * 3)
    np.testing.assert_allclose(thrice.eigenvalues, 3 * once.eigenvalues, rtol=1e-10)
    assert (thrice.f, thrice.p) == pytest.approx((once.f, once.p), rel=1e-10)


def test_independent_tokens_have_eigenvalues_around_one() -> None:
    rng = np.random.default_rng(0)
    cells = np.outer(rng.dirichlet(np.full(3, 3)), rng.dirichlet(np.full(3, 3))).ravel()
    means = [
        rao_scott(rng.multinomial(40, cells, 80).reshape(80, 3, 3)).eigenvalues.mean() for _ in range(60)
    ]
    assert np.mean(means) == pytest.approx(1.0, abs=4 * np.std(means) / math.sqrt(60))


def test_labels_padding_and_order_change_nothing() -> None:
    t, rng = tables("five_by_five"), np.random.default_rng(1)
    shuffled = t[rng.permutation(24)][:, rng.permutation(5)][:, :, rng.permutation(5)]
    padded = np.pad(shuffled, ((1, 0), (0, 2), (1, 1)))
    plain, other, turned = rao_scott(t), rao_scott(padded), rao_scott(t.transpose(0, 2, 1))
    for r in (other, turned):
        assert (r.f, r.ndf, r.p, r.n_groups) == pytest.approx((plain.f, plain.ndf, plain.p, 24), rel=1e-9)
    assert plain.chi2 == pytest.approx(independence(t).chi2, rel=1e-12)


def test_more_cells_than_documents_are_refused_by_name() -> None:
    """The trap: beyond the rank of the variance the plug-in rejects nothing, whatever the data say."""
    r = rao_scott(np.random.default_rng(2).poisson(2.0, (20, 8, 8)))
    assert math.isnan(r.p)
    assert math.isnan(r.f)
    assert r.eigenvalues.size == 0
    assert "49 degrees of freedom and only 20 groups" in str(r.reason)
    assert "collapses" in r.summary()
    assert r.chi2 > 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((3, 2, 2), dtype=int), "no tokens"),
        (np.ones((3, 1, 4), dtype=int), "nothing to test"),
        (np.ones((1, 2, 2), dtype=int), "at least 2 groups"),
        (np.ones((8, 2, 2), dtype=int), "same shares"),
        (np.stack([np.diag([3 + g, 9 - g, 5]) for g in range(8)]), "empty cells"),
    ],
)
def test_what_cannot_be_tested_says_why(given: np.ndarray, says: str) -> None:
    r = rao_scott(given)
    assert math.isnan(r.p)
    assert says in str(r.reason)


def test_a_table_without_groups_is_refused() -> None:
    with pytest.raises(RoutestatError, match="count per group"):
        rao_scott([[1, 2], [3, 4]])


def test_second_order_is_the_f_distribution_on_the_eigenvalues_it_shows() -> None:
    r = rao_scott(tables("unequal"))
    d = r.eigenvalues
    assert r.ndf == pytest.approx(d.sum() ** 2 / (d**2).sum(), rel=1e-12)
    assert r.p == pytest.approx(stats.f.sf(r.chi2 / d.sum(), r.ndf, 9 * r.ndf), rel=1e-12)
    assert "only 10 groups" in str(r.note)
    assert not d.flags.writeable
