"""The jackknife of groups of unequal size: its textbook form, a known bias, and documents with a heavy tail."""

import numpy as np
import pytest

from routestat.inference.base.jackknife import jackknife, jackknife_columns, jackknife_value
from routestat.inference.information.mutual_information import mutual_information_interval
from tests.calibration.nulls import Coupled


def test_groups_of_one_size_are_the_textbook_s():
    left = np.array([1.0, 1.5, 0.5, 1.2, 0.9, 1.1])
    assert jackknife_value(2.0, left, np.full(6, 30)) == pytest.approx(6 * 2.0 - 5 * left.mean(), rel=1e-13)


def test_a_square_loses_all_of_its_bias():
    """F = (sum of x / n)**2 with x_g of mean n_g m: exactly unbiased means sum over g != h of x_g x_h."""
    size = np.array([900.0, 60.0, 30.0, 7.0, 3.0])
    x = np.random.default_rng(0).normal(size, 20.0)
    left = ((x.sum() - x) / (size.sum() - size)) ** 2
    pairs = x.sum() ** 2 - (x**2).sum()
    expected = pairs / (size.sum() ** 2 - (size**2).sum())
    assert jackknife_value((x.sum() / size.sum()) ** 2, left, size) == pytest.approx(expected, rel=1e-12)


def test_information_on_documents_of_pareto_lengths():
    rng = np.random.default_rng(6)
    population, runs, groups = Coupled.draw(rng, 8), 300, 60
    results = []
    for _ in range(runs):
        lengths = np.minimum(60_000, 100 * (1 + rng.pareto(1.2, groups))).astype(int)
        tables = population.tables(rng, lengths)
        found = mutual_information_interval(tables)
        truth = population.mi_bits + population.luck(tables)
        # Where one document has most of the tokens there is no interval.
        covered = found.low <= population.mi_bits <= found.high if np.isfinite(found.low) else np.nan
        results.append((covered, found.mi_bits - truth, found.mi_bits_plugin - truth))
    covered, bias, plain = np.nanmean(results, axis=0)
    without = float(np.isnan(results).any(axis=1).mean())
    assert without < 0.25
    print(f"coverage {covered:.3f}, no interval {without:.3f}, bias {bias:+.5f}, plug-in {plain:+.5f}")
    error = np.nanstd(results, axis=0)[1] / np.sqrt(runs)
    assert 0.93 - 0.025 <= covered <= 0.97 + 0.02
    assert abs(bias) < plain / 10 + 2 * error


def test_columns_of_the_same_groups_are_those_of_each():
    rng = np.random.default_rng(8)
    size, whole = rng.integers(5, 60, 12), rng.normal(size=4)
    left = whole + rng.normal(size=(12, 4)) / 12
    found = jackknife_columns(whole, left, size)
    for at in range(4):
        one = jackknife(whole[at], left[:, at], size)
        for name in ("value", "low", "high", "standard_error", "plugin"):
            assert getattr(found, name)[at] == pytest.approx(getattr(one, name))
