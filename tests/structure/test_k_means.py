"""K-means of many sets at once: scikit-learn's answer for every one of them, whatever else is in the batch."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans

from routestat.structure.k_means import k_means


def sklearn_labels(points, n_clusters, seed, starts=10):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KMeans(n_clusters, n_init=starts, random_state=seed).fit(points).labels_


def clouds(rng, sets, n, dimensions, spread):
    """Sets of points around four centres."""
    centres = rng.normal(size=(sets, 4, dimensions))
    own = np.take_along_axis(centres, rng.integers(4, size=(sets, n))[..., None], axis=1)
    return own + spread * rng.normal(size=(sets, n, dimensions))


@pytest.mark.parametrize(
    ("n", "dimensions", "n_clusters", "spread"),
    [(56, 2, 4, 0.3), (56, 2, 4, 2.0), (40, 1, 2, 1.0), (30, 3, 7, 1.0), (12, 2, 9, 1.0)],
)
def test_labels_are_those_of_scikit_learn(n, dimensions, n_clusters, spread):
    rng = np.random.default_rng(n + n_clusters)
    points = clouds(rng, 6, n, dimensions, spread)
    seeds = rng.integers(2**31, size=6)
    found = k_means(points, n_clusters, seeds)
    for own, labels, seed in zip(points, found, seeds, strict=True):
        np.testing.assert_array_equal(labels, sklearn_labels(own, n_clusters, int(seed)))


def test_empty_clusters_take_over_far_points_as_in_scikit_learn():
    # Single points that are far from two tight clouds: Lloyd's iterations empty clusters on the way.
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.normal(size=(20, 1)) * 0.01, rng.normal(size=(20, 1)) * 0.01 + 5, [[60.0], [61.0]]]
    )
    for seed in range(20):
        (found,) = k_means(points[None], 8, np.array([seed]), starts=1)
        np.testing.assert_array_equal(found, sklearn_labels(points, 8, seed, starts=1))


def test_a_set_does_not_depend_on_the_others():
    rng = np.random.default_rng(4)
    points, seeds = clouds(rng, 5, 30, 2, 1.0), np.arange(5)
    together = k_means(points, 3, seeds)
    for one in range(5):
        np.testing.assert_array_equal(
            k_means(points[one : one + 1], 3, seeds[one : one + 1])[0], together[one]
        )


def test_points_that_are_all_alike_are_one_cluster():
    (labels,) = k_means(np.ones((1, 6, 2)), 3, np.array([0]))
    assert len(set(labels.tolist())) == 1
