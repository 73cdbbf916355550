import math

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.level_checks.half_splits import HalfSplits, half_splits
from tests.inference.level_checks.grouped_loads import documents

UNEQUAL = np.array([5, 80, 17, 140, 9, 22, 60, 33, 12, 71])


def test_design_effect_of_independent_tokens_is_one_in_both_views() -> None:
    rng = np.random.default_rng(4)
    states = [documents(seed, np.full(60, 50), concentration=None) for seed in range(30)]
    taken = np.argsort(rng.random((30, 60, 50, 8)) ** (1 / np.linspace(1, 3, 8)), axis=-1)[..., -3:]
    experts = (taken[..., None] == np.arange(8)).any(axis=3).sum(axis=2)
    for loads, tokens in ((states, None), (experts, np.full(60, 50))):
        r = half_splits(loads, np.random.default_rng(5), tokens, n_splits=200)
        assert r.pooled_design_effect == pytest.approx(1.0, abs=0.05)
        assert 0.02 < r.pooled_iid < 0.08


def test_dependent_documents_fool_the_iid_test_alone() -> None:
    loads = [documents(seed, np.full(100, 80)) for seed in range(8)]
    r = half_splits(loads, np.random.default_rng(6), n_splits=500)
    assert r.pooled_iid > 0.8
    assert 0.03 <= r.pooled_clustered <= 0.07
    # Documents' distributions are Dirichlet: 1 + (80 - 1) / (8 + 1).
    assert r.pooled_design_effect == pytest.approx(1 + 79 / 9, rel=0.1)
    assert r.rate_clustered.shape == (8,)
    assert r.pooled_clustered == pytest.approx(r.rate_clustered.mean())
    assert r.error_iid[0] == pytest.approx(math.sqrt(r.rate_iid[0] * (1 - r.rate_iid[0]) / 500))
    assert 0 < r.pooled_error_clustered <= r.error_clustered.mean() * 1.01


def test_layers_share_their_splits_and_the_error_knows() -> None:
    table = documents(7, np.full(40, 60))
    once = half_splits([table], np.random.default_rng(8), n_splits=300)
    thrice = half_splits([table] * 3, np.random.default_rng(8), n_splits=300)
    assert thrice.rate_clustered.tolist() == once.rate_clustered.tolist() * 3
    assert thrice.pooled_error_clustered == pytest.approx(once.pooled_error_clustered, rel=1e-12)
    assert once.pooled_error_clustered == pytest.approx(once.error_clustered[0], rel=1e-12)


def test_labels_groups_without_tokens_and_unused_states_change_nothing() -> None:
    table, rng = documents(9, UNEQUAL), np.random.default_rng(10)
    plain = half_splits([table], np.random.default_rng(11))
    padded = np.pad(table[:, rng.permutation(6)], ((0, 2), (1, 1)))
    other = half_splits([padded], np.random.default_rng(11))
    assert other.n_groups == plain.n_groups == 10
    for name in ("rate_iid", "rate_first_order", "rate_clustered", "design_effect"):
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name), rtol=1e-9, err_msg=name)


def test_reading_says_what_was_found() -> None:
    r = half_splits([documents(12, np.full(64, 90))], np.random.default_rng(13), n_splits=400)
    text = r.reading()
    assert text.startswith("400 times these documents were split")
    assert f"in {r.pooled_clustered:.1%}" in text
    assert f"{r.pooled_iid:.1%} of the splits" in text
    assert f"{r.pooled_design_effect:.3g} times as much" in text
    assert "it is valid for loads here" in text


@pytest.mark.parametrize(
    ("rate", "says"), [(0.2, "with caution"), (0.01, "conservative here"), (0.05, "is valid for loads")]
)
def test_reading_judges_the_rate(rate: float, says: str) -> None:
    empty = np.full(1, np.nan)
    r = HalfSplits(
        **dict.fromkeys(("rate_iid", "rate_first_order", "rate_clustered", "design_effect"), empty),
        **dict.fromkeys(("error_iid", "error_clustered"), empty),
        pooled_clustered=rate,
        n_groups=50,
        n_splits=100,
        level=0.05,
    )
    assert says in r.reading()


@pytest.mark.parametrize(
    ("loads", "says"),
    [
        ([np.full((7, 3), 5)], "7 groups of documents hold tokens, 8 are needed"),
        ([np.full((20, 1), 5)], "one state in use"),
        ([np.vstack([np.full((9, 2), 1), [[100, 50]]])], "half of its tokens or more"),
        ([np.zeros((0, 3), dtype=int)], "0 groups"),
    ],
)
def test_what_cannot_be_split_says_why(loads: list[np.ndarray], says: str) -> None:
    r = half_splits(loads, np.random.default_rng(14))
    assert math.isnan(r.pooled_clustered)
    assert np.isnan(r.rate_clustered).all()
    assert says in str(r.reason)
    assert r.reading() == f"No A/A check: {r.reason}."


def test_a_layer_with_nothing_to_test_leaves_the_others_alone() -> None:
    table = documents(15, UNEQUAL)
    r = half_splits([table, table.sum(axis=1, keepdims=True)], np.random.default_rng(16))
    assert np.isnan(r.rate_clustered).tolist() == [False, True]
    assert r.pooled_clustered == r.rate_clustered[0]
    assert "only 10 groups" in str(r.note)


def test_equal_documents_are_never_distinguished() -> None:
    r = half_splits([np.tile([3, 4, 5], (12, 1))], np.random.default_rng(17))
    assert (r.pooled_iid, r.pooled_first_order, r.pooled_clustered) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"level": 1.0}, "between 0 and 1"),
        ({"n_splits": 0}, "1 or more"),
        ({"loads": []}, "no layer"),
        ({"loads": [np.ones((9, 2), dtype=int), np.ones((8, 2), dtype=int)]}, "same groups"),
        ({"loads": [np.ones(9, dtype=int)]}, "same groups"),
        ({"loads": [np.full((9, 2), 0.5)]}, "fractions"),
        ({"tokens": np.ones(4, dtype=int)}, "align"),
        ({"tokens": np.ones(9, dtype=int)}, "at most one per token"),
    ],
)
def test_bad_input_is_refused(change: dict, says: str) -> None:
    given = {"loads": [np.full((9, 2), 3)], "rng": np.random.default_rng(0)}
    with pytest.raises(RoutestatError, match=says):
        half_splits(**(given | change))


def test_results_are_closed_for_writing() -> None:
    r = half_splits([documents(18, UNEQUAL)], np.random.default_rng(19), n_splits=10)
    for array in (r.rate_iid, r.rate_first_order, r.rate_clustered, r.error_iid, r.design_effect):
        assert not array.flags.writeable
