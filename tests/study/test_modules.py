"""Experts over the depth of whole traces: both views agree, planted structure is found, wrong claims are refused."""

import itertools

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.errors import RoutestatError
from routestat.structure.model_facts import model_facts
from routestat.study.modules import measure_modules, shared_from
from routestat.study.structure_checks import require_structure
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import Router, TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.study.module_traces import shared_trace

SHARED = StructurePlan(shared_modules=True)


def never():
    raise AssertionError("no rows are needed")


@pytest.fixture(scope="module")
def found():
    trace = shared_trace(shared_modules=True)
    return measure_modules(trace, count(trace), StructurePlan(), never)


def test_planted_order_and_succession_are_found(found):
    shared = found.shared
    assert shared.origin == "metadata"
    assert shared.deployment.order[:1] + shared.deployment.order[-1:] == [0, 5]
    assert shared.deployment.peak[5] == 4
    best = int(np.nanargmax(shared.successions.z))
    assert (shared.successions.first[best], shared.successions.second[best]) == (0, 1)
    assert shared.successions.log10_q[best] < -2


def test_numbers_of_pairs_by_hand(found):
    trace = shared_trace()
    alphabet, batch = trace.meta.routers[0].alphabet, next(trace.counted())
    chosen = [alphabet.unrank(batch.columns[router.name]).astype(int) for router in trace.meta.routers]
    at = [np.eye(6)[rows].sum(axis=1) for rows in chosen]
    expected = sum(before.T @ after for before, after in itertools.pairwise(at))
    successions = found.shared.successions
    np.testing.assert_allclose(successions.observed, expected[successions.first, successions.second])
    together = sum(rows.T @ rows for rows in at)
    joint = found.shared.joint
    np.testing.assert_allclose(joint.observed, together[joint.first, joint.second])
    assert found.shared.repeats.share.value == pytest.approx(np.trace(expected) / (4 * len(batch) * 2))


def test_both_views_have_the_same_shared_modules(found):
    trace = shared_trace()
    wide = measure_modules(trace, count(trace, states="expert"), SHARED, never)
    assert wide.shared.origin == "option"
    for name in ("successions", "joint"):
        one, other = getattr(found.shared, name), getattr(wide.shared, name)
        np.testing.assert_allclose(one.observed, other.observed)
        np.testing.assert_allclose(one.z, other.z, rtol=1e-6)
    assert wide.shared.repeats == found.shared.repeats
    assert wide.busiest == found.busiest


def test_ordinary_models_have_no_pairs_over_layers():
    trace = shared_trace()
    assert measure_modules(trace, count(trace), StructurePlan(), never).shared is None


def test_one_layer_has_no_next_step():
    trace = shared_trace(steps=1)
    shared = measure_modules(trace, count(trace), SHARED, never).shared
    assert "only one step" in shared.successions.reason
    assert "no token has choices at two successive steps" in shared.repeats.reason
    assert shared.joint.reason == ""


def test_different_numbers_of_modules_per_token_have_no_joint_selection():
    routers = (Router(0, 6, 2), Router(1, 6, 1))
    rng = np.random.default_rng(0)
    states = np.stack([rng.integers(0, 15, 400), rng.integers(0, 6, 400)], axis=1)
    trace = Trace.from_arrays(
        TraceMeta(routers), np.repeat(np.arange(40), 10), np.tile(np.arange(10), 40), states
    )
    shared = measure_modules(trace, count(trace), SHARED, never).shared
    assert "different numbers of modules" in shared.joint.reason
    assert np.isfinite(shared.successions.z).all()


def test_claims_that_cannot_be_are_one_clear_line():
    uneven = TraceMeta((Router(0, 6, 2), Router(1, 8, 2)))
    with pytest.raises(
        RoutestatError, match="--shared-modules: expected routers that choose among the same modules"
    ):
        shared_from(uneven, SHARED)
    with pytest.raises(RoutestatError, match="expected true or false, found str"):
        shared_from(TraceMeta(routers_like([0], 4, 1), extra={"shared_modules": "yes"}), StructurePlan())
    metadata = TraceMeta(uneven.routers, extra={"shared_modules": True})
    with pytest.raises(RoutestatError, match="in the trace's metadata: expected routers that choose"):
        shared_from(metadata, StructurePlan())


def test_a_plan_is_checked_before_anything_is_computed():
    trace = shared_trace(identity_experts={"L09": [1]})
    with pytest.raises(RoutestatError, match="L09"):
        require_structure(trace, None, StructurePlan(), ["modules"])
    require_structure(trace, None, StructurePlan(), ["dependence"])
    with pytest.raises(RoutestatError, match="--document: expected the part modules"):
        require_structure(trace, None, StructurePlan(documents=("1",)), ["dependence"])
    facts = model_facts(
        {"model_type": "?", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_experts": 4,
         "num_experts_per_tok": 2}
    )  # fmt: skip
    with pytest.raises(RoutestatError, match="routers have 6 experts, found a model with 4"):
        require_structure(trace, None, StructurePlan(model_facts=facts), ["dependence"])
