"""Planted specialists follow their stated distribution."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.traces import synthetic
from routestat.traces.synthetic import distributions
from tests.oracle.specialisation_oracle import information_bits
from tests.traces.agreement import fits, rng

SHAPE = dict(n_experts=5, top_k=2, layers=2, documents=60, mean_length=100)


def test_choices_depend_on_domain_and_class_as_stated():
    popularity = np.array([1.0, 2.0, 1.0, 3.0, 1.0])
    made = synthetic.specialists(topical=4.0, lexical=3.0, popularity=popularity, rng=rng(1), **SHAPE)
    truth = made.truth.planted
    domain, kind = truth["domain"][made.document], truth["class_of_id"][made.token]
    for layer in range(2):
        for d in range(4):
            for c in range(5):
                weights = popularity.copy()
                weights[truth["topical_expert"][layer]] *= 4.0 if d == truth["topical_domain"][layer] else 1.0
                weights[truth["lexical_expert"][layer]] *= 3.0 if c == truth["lexical_class"][layer] else 1.0
                own = made.states[(domain == d) & (kind == c), layer]
                expected = distributions.subset_distribution(weights, 2)
                assert fits(np.bincount(own, minlength=10), expected)


def test_information_is_that_of_the_distribution():
    made = synthetic.specialists(
        topical=4.0, lexical=3.0, mixing=1.0, rng=rng(2), **SHAPE | {"documents": 400}
    )
    truth = made.truth.planted
    domain, kind = truth["domain"][made.document], truth["class_of_id"][made.token]
    chosen = made.states[:, :1].astype(int)
    for name, given, own in (
        ("domain_bits", [], [domain]),
        ("lexical_bits", [], [kind]),
        ("domain_given_bits", [kind], [domain]),
        ("lexical_given_bits", [domain], [kind]),
    ):
        # The plug-in is too high by at most (cells) / (2 n ln 2).
        bias = 4 * 5 * 10 / (2 * len(chosen) * np.log(2))
        assert information_bits(chosen, given, own) == pytest.approx(truth[name][0], abs=bias + 0.006)


def test_domains_reach_the_trace_and_documents_differ():
    made = synthetic.specialists(topical=1.0, lexical=1.0, document_effect=1.0, rng=rng(3), **SHAPE)
    assert made.truth.planted["domain_bits"] is None
    trace = synthetic.to_trace(made)
    assert trace.documents.column("domain").to_pylist()[:2] == [
        f"domain {one}" for one in made.truth.planted["domain"][:2]
    ]
    loads = np.stack([np.bincount(made.states[made.document == d, 0], minlength=10) for d in range(60)])
    assert loads.var(axis=0).sum() > 3 * loads.mean(axis=0).sum()


@pytest.mark.parametrize("wrong", [{"topical": 0.0}, {"lexical": -1.0}, {"mixing": -1.0}, {"n_ids": 0}])
def test_impossible_arguments(wrong):
    with pytest.raises(RoutestatError):
        synthetic.specialists(**{"topical": 1.0, "lexical": 1.0, "rng": rng(0), **SHAPE, **wrong})
