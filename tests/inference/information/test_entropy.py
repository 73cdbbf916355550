"""Estimators of entropy against published formulas and high precision."""

import math

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from routestat.inference.information.entropy import default_estimator, entropy
from routestat.inference.information.mutual_information import (
    mutual_information,
)
from tests.oracle.inference_oracle import chao_shen, grassberger_g, nsb_by_mpmath

ESTIMATORS = ("plugin", "miller-madow", "grassberger", "chao-shen", "james-stein", "nsb")


COUNTS = [4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1]


def test_plugin_and_miller_madow_by_hand() -> None:
    # Shares 1/2, 1/4, 1/4: 1.5 bits. Three observed cells of four, eight tokens: 2 / 16 nats more.
    assert entropy([4, 2, 2, 0], "plugin") == pytest.approx(1.5, abs=1e-15)
    assert entropy([4, 2, 2, 0]) == pytest.approx(1.5 + 2 / 16 / math.log(2), abs=1e-15)
    assert entropy(COUNTS, "plugin", base=math.e) == pytest.approx(scipy_entropy(COUNTS), rel=1e-14)


def test_grassberger_against_the_paper_s_recursion() -> None:
    n = sum(COUNTS)
    slow = math.log(n) - sum(c * grassberger_g(c) for c in COUNTS if c) / n
    assert entropy(COUNTS, "grassberger", base=math.e) == pytest.approx(slow, rel=1e-13)


def test_chao_shen_against_the_sum_over_cells() -> None:
    assert entropy(COUNTS, "chao-shen", base=math.e) == pytest.approx(chao_shen(COUNTS), rel=1e-13)
    # Nothing but singletons: one is left out of them, the coverage is 1/4 and every share 1/16.
    inclusion = 1 - (15 / 16) ** 4
    assert entropy([1, 1, 1, 1], "chao-shen") == pytest.approx(4 * 4 / 16 / inclusion, rel=1e-13)


def test_james_stein_by_hand() -> None:
    # 3, 1, 0, 0: shares squared sum to 10/16; squared distances from 1/4 to 6/16; lambda = (6/16) / (3 * 6/16).
    shares = [1 / 12 + 2 / 3 * 3 / 4, 1 / 12 + 2 / 3 / 4, 1 / 12, 1 / 12]
    assert entropy([3, 1, 0, 0], "james-stein", base=math.e) == pytest.approx(
        scipy_entropy(shares), rel=1e-14
    )
    assert entropy([2, 2, 2, 2], "james-stein") == pytest.approx(2.0, rel=1e-15)
    assert entropy([1, 0, 0, 0], "james-stein") == pytest.approx(2.0, rel=1e-15)


@pytest.mark.parametrize(
    "counts",
    [[4, 2, 0, 1], [10, 0, 0, 0], [1, 1, 1, 1], [50_000, 30_000, 20_000, 0], [250_000_000] * 4, [5] * 28],
)
def test_nsb_against_forty_digits(counts: list[int]) -> None:
    assert entropy(counts, "nsb", base=math.e) == pytest.approx(nsb_by_mpmath(counts), rel=1e-9)


def test_nsb_stays_right_from_a_handful_to_a_billion_tokens() -> None:
    share = np.array([0.5, 0.25, 0.125, 0.125])
    for n in (200_000, 10**6, 10**9):
        # The posterior is within a few 1/n of the plug-in, whose bias is -3 / 2n nats.
        assert entropy((share * n).astype(int), "nsb") == pytest.approx(1.75, abs=10 / n)


def test_zeros_matter_only_where_an_estimator_knows_an_alphabet() -> None:
    for name in ESTIMATORS:
        without, padded = entropy([5, 3, 1], name), entropy([5, 3, 1, 0, 0, 0], name)
        assert (without == padded) == (name not in ("james-stein", "nsb")), name


def test_corrected_estimators_are_closer_to_the_truth_than_the_plugin() -> None:
    rng = np.random.default_rng(3)
    share = rng.dirichlet(np.ones(28))
    truth = scipy_entropy(share, base=2)
    samples = rng.multinomial(100, share, size=300)
    bias = {name: np.mean([entropy(s, name) for s in samples]) - truth for name in ESTIMATORS}
    # The plug-in is about 27 / 200 nats short; 300 samples know a mean to about .005 bits.
    assert bias["plugin"] < -0.12
    for name in ("miller-madow", "grassberger", "chao-shen", "nsb"):
        assert abs(bias[name]) < abs(bias["plugin"]) / 2, (name, bias)


def test_entropy_of_nothing_is_undefined_and_of_one_cell_is_zero() -> None:
    for name in ESTIMATORS:
        assert math.isnan(entropy([0, 0], name))
        assert math.isnan(entropy([], name))
        if name != "grassberger":
            assert entropy([9], name) == 0.0


def test_the_default_estimator_goes_by_tokens_per_cell() -> None:
    assert default_estimator(30 * 784, 784) == ("miller-madow", "")
    assert default_estimator(30 * 784 - 1, 784) == ("nsb", "")
    name, caution = default_estimator(783, 784)
    assert name == "nsb"
    assert "reliable" in caution
    dense, sparse = np.full((3, 3), 50), np.array([[3, 1, 0], [0, 2, 1], [1, 0, 4]])
    assert mutual_information(dense, "auto") == mutual_information(dense, "miller-madow")
    assert mutual_information(sparse, "auto") == mutual_information(sparse, "nsb")
    assert entropy([500, 700], "auto") == entropy([500, 700], "miller-madow")
