import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mutual_info_score

from routestat.errors import RoutestatError
from routestat.inference.information.divergence import jensen_shannon
from routestat.inference.information.entropy import entropy
from routestat.inference.information.mutual_information import (
    conditional_mutual_information,
    mutual_information,
    mutual_information_interval,
)
from tests.oracle.inference_oracle import without_bias

ESTIMATORS = ("plugin", "miller-madow", "grassberger", "chao-shen", "james-stein", "nsb")


TABLE = np.array([[9, 2, 0, 4], [1, 7, 3, 0], [5, 5, 5, 1]])


small_tables = arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.integers(0, 30))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: entropy([1, 2], "best"), "estimator: expected one of auto, plugin"),
        (lambda: entropy([1, 2], base=1), "base"),
        (lambda: entropy([1, 2], base=-2), "base"),
        (lambda: entropy([0.5, 0.5]), "fractions"),
        (lambda: mutual_information(np.ones((2, 2, 2), dtype=int)), "3 axes"),
        (lambda: conditional_mutual_information([[1, 2]]), r"\[x, y, z\]"),
        (lambda: jensen_shannon([1, 0], [1, 0, 0]), "equal shapes"),
        (lambda: jensen_shannon([0, 0], [1, 0]), "p: expected"),
        (lambda: jensen_shannon([1, 0], [np.nan, 1]), "q: expected"),
        (lambda: jensen_shannon([1, -1, 3], [1, 1, 1]), "p: expected"),
        (lambda: mutual_information_interval([[1, 2]]), "2 axes"),
        (lambda: mutual_information_interval([[[1, 2]]], level=95), "level"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        call()  # type: ignore[operator]


def test_mutual_information_against_scikit_learn() -> None:
    assert mutual_information(TABLE, base=math.e) == pytest.approx(
        mutual_info_score(None, None, contingency=TABLE), rel=1e-13
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_mutual_information_is_the_sum_of_entropies(name: str) -> None:
    padded = np.insert(TABLE, 1, 0, axis=0)
    h = entropy(TABLE.sum(1), name) + entropy(TABLE.sum(0), name) - entropy(TABLE.ravel(), name)
    assert mutual_information(TABLE, name) == pytest.approx(h, rel=1e-12)
    assert mutual_information(padded, name) == mutual_information(TABLE, name)


@given(small_tables, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_labels_and_direction_change_no_information(table: np.ndarray, random: object) -> None:
    if not table.any():
        assert math.isnan(mutual_information(table))
        return
    rng = np.random.default_rng(random.randrange(2**32))  # type: ignore[attr-defined]
    shuffled = table[rng.permutation(table.shape[0])][:, rng.permutation(table.shape[1])]
    information = mutual_information(table)
    assert 0 <= information <= min(entropy(table.sum(a), "plugin") for a in (0, 1)) + 1e-12
    assert mutual_information(shuffled) == pytest.approx(information, abs=1e-12)
    assert mutual_information(table.T) == pytest.approx(information, abs=1e-12)


def test_conditional_information_by_hand() -> None:
    # z = x xor y, all fair: x and z share nothing, but given y they are one bit.
    cube = np.zeros((2, 2, 2), dtype=int)
    for x in (0, 1):
        for y in (0, 1):
            cube[x, y, x ^ y] = 5
    assert conditional_mutual_information(cube) == pytest.approx(1.0, abs=1e-14)
    assert mutual_information(cube.sum(axis=1)) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_conditional_information_is_the_sum_of_entropies(name: str) -> None:
    cube = np.random.default_rng(0).poisson(1.5, (3, 4, 5))
    parts = [entropy(cube.sum(axes), name) for axes in ((2,), (0,), (), (0, 2))]
    assert conditional_mutual_information(cube, name) == pytest.approx(
        parts[0] + parts[1] - parts[2] - parts[3], rel=1e-10
    )


def test_conditional_plugin_is_the_mean_over_slices() -> None:
    cube = np.random.default_rng(1).poisson(1.0, (3, 4, 5))
    slices = [cube[:, y] for y in range(4)]
    mean = sum(s.sum() * mutual_information(s) for s in slices) / cube.sum()
    assert conditional_mutual_information(cube) == pytest.approx(mean, rel=1e-14)


def test_interval_against_groups_left_out_one_by_one() -> None:
    tables = np.random.default_rng(5).poisson(3.0, (7, 3, 4)) + np.eye(3, 4, dtype=int) * 6
    whole = tables.sum(axis=0)
    left_out = [mutual_information(whole - table) for table in tables]
    result = mutual_information_interval(tables, level=0.9)
    assert result.mi_bits_plugin == pytest.approx(mutual_information(whole), rel=1e-13)
    size = tables.sum(axis=(1, 2))
    estimate = without_bias(mutual_information(whole), left_out, size)
    assert result.mi_bits == pytest.approx(estimate, rel=1e-10)
    n, p = whole.sum(), whole / whole.sum()
    score = np.log2(p / np.outer(p.sum(1), p.sum(0)))
    psi = [(table * (score - result.mi_bits_plugin)).sum() for table in tables]
    assert result.standard_error == pytest.approx(math.sqrt(7 / 6 * np.square(psi).sum()) / n, rel=1e-10)
    # Sizes are nearly alike: the 95 % quantile of Student's t with 6 degrees, from any printed table, or little more.
    assert 1.943 < (result.high - result.mi_bits) / result.standard_error < 1.96
    assert result.high + result.low == pytest.approx(2 * result.mi_bits, rel=1e-12)


def test_interval_without_enough_units_says_why() -> None:
    one = mutual_information_interval([TABLE, np.zeros_like(TABLE)])
    assert math.isnan(one.low)
    assert one.mi_bits_plugin == pytest.approx(mutual_information(TABLE))
    assert one.reason is not None
    assert one.reason == "1 independent unit: no test or interval below 6"
    assert mutual_information_interval(np.zeros((3, 2, 2), dtype=int)).reason == "no tokens"


def test_interval_covers_on_dependent_tokens() -> None:
    """Documents differ in load and repeat themselves; the truth is known because the channel is fixed."""
    rng = np.random.default_rng(11)
    k, stay, runs, groups = 6, 0.4, 300, 40
    channel = 0.6 * np.eye(k)[:, np.roll(np.arange(k), 1)] + 0.4 / k
    # Loads have mean 1/k over documents, so the joint distribution is channel / k.
    truth = float((channel / k * np.log2(channel * k)).sum())
    covered = {"cluster": 0, "tokens": 0}
    for _ in range(runs):
        tables = np.zeros((groups, k, k), dtype=int)
        for g in range(groups):
            fresh = rng.multinomial(60, (rng.dirichlet(np.full(k, 3.0))[:, None] * channel).ravel())
            # A run of repeats: every fresh draw counts a geometric number of times.
            tables[g].flat = fresh + rng.negative_binomial(np.maximum(fresh, 1), 1 - stay) * (fresh > 0)
        result = mutual_information_interval(tables)
        p = tables.sum(axis=0) / tables.sum()
        score = np.log2(np.divide(p, np.outer(p.sum(1), p.sum(0)), out=np.ones_like(p), where=p > 0))
        naive = math.sqrt(((p * score**2).sum() - (p * score).sum() ** 2) / tables.sum())
        covered["cluster"] += result.low <= truth <= result.high
        covered["tokens"] += abs(result.mi_bits_plugin - truth) <= 1.96 * naive
    rate = {name: hits / runs for name, hits in covered.items()}
    print(f"coverage {rate}, Monte-Carlo error {math.sqrt(0.95 * 0.05 / runs):.3f}")
    assert 0.91 <= rate["cluster"] <= 0.985
    assert rate["tokens"] < 0.85
