"""Intervals of mutual information cover the truth on dependent tokens, and their centre is where it should be."""

import math

import numpy as np
import pytest

from routestat.inference.information.mutual_information import mutual_information_interval
from tests.calibration.forms import forms, within
from tests.calibration.nulls import Coupled, document_lengths


# Lengths give each cell 30 tokens or more; below that the report itself warns of bias.
@pytest.mark.parametrize(
    ("k", "documents", "mean", "kind", "runs"),
    [
        (8, 60, 60, "equal", 1000),
        (8, 60, 60, "exponential", 1000),
        *forms(28, 60, 400, "equal", short=150, long=500, name="28-60-400-equal"),
        *forms(28, 60, 400, "exponential", short=150, long=500, name="28-60-400-exponential"),
        *forms(8, 150, 60, "equal", short=300, long=1000, name="8-150-60-equal"),
        *forms(8, 150, 60, "exponential", short=300, long=1000, name="8-150-60-exponential"),
        *forms(28, 150, 200, "exponential", short=150, long=500, name="28-150-200-exponential"),
    ],
)
def test_interval_covers_and_its_centre_is_unbiased(
    k: int, documents: int, mean: int, kind: str, runs: int, found: list[str]
) -> None:
    rng = np.random.default_rng([k, documents, mean, kind == "equal"])
    population = Coupled.draw(rng, k)
    results = []
    for _ in range(runs):
        tables = population.tables(rng, document_lengths(rng, documents, mean, kind))
        r = mutual_information_interval(tables)
        truth = population.mi_bits + population.luck(tables)
        results.append((r.low <= population.mi_bits <= r.high, r.mi_bits - truth, r.mi_bits_plugin - truth))
    covered, bias, plain = np.mean(results, axis=0)
    error = np.std(results, axis=0)[1] / math.sqrt(runs)
    line = (
        f"{k:2} states, {documents:3} {kind:11} documents of {mean}: coverage {covered:.3f} "
        f"± {math.sqrt(covered * (1 - covered) / runs):.3f}, bias {bias:+.5f} ± {error:.5f} bits of "
        f"{population.mi_bits:.3f}, plug-in {plain:+.4f}"
    )
    found.append(line)
    assert within(covered, runs, 0.93, 0.97), line
    assert error < plain / 30, line
    assert abs(bias) < plain / 10, line
