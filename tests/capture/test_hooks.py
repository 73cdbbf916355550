"""The recorder: nothing outside a step, always detached, and an error where a router recorded nothing."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from capture.hooks import Recorder
from capture.routers import discover
from routestat.errors import RoutestatError
from tests.capture.families import build

TOKENS = torch.randint(3, 64, (2, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mixtral():
    return build("mixtral")


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("implementation", ["eager", "batched_mm", "grouped_mm"])
def test_every_experts_implementation_is_seen(mixtral, implementation):
    mixtral.set_experts_implementation(implementation)
    with torch.no_grad(), Recorder(mixtral) as recorder:
        mixtral(input_ids=TOKENS)
    mixtral.set_experts_implementation("eager")
    with torch.no_grad(), Recorder(mixtral) as eager:
        mixtral(input_ids=TOKENS)
    for name, experts in recorder.steps[0].experts.items():
        np.testing.assert_array_equal(experts, eager.steps[0].experts[name])


def test_nothing_is_recorded_outside_a_step_and_nothing_stays_behind(mixtral):
    before = n_hooks(mixtral)
    with torch.no_grad(), Recorder(mixtral) as recorder:
        mixtral.model.layers[0].mlp(torch.randn(1, 3, 32))
        mixtral.model(input_ids=TOKENS)
    assert recorder.steps == []
    assert n_hooks(mixtral) == before
    with torch.no_grad():
        mixtral(input_ids=TOKENS)
    assert recorder.steps == []


def test_detached_after_an_error_and_the_next_step_is_clean(mixtral):
    before = n_hooks(mixtral)
    bomb = mixtral.model.layers[2].register_forward_pre_hook(
        lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())
    )
    with torch.no_grad(), Recorder(mixtral) as recorder:
        with pytest.raises(KeyboardInterrupt):
            mixtral(input_ids=TOKENS)
        bomb.remove()
        mixtral(input_ids=TOKENS[:1, :3])
    assert [len(step.experts["L00"]) for step in recorder.steps] == [3]
    assert n_hooks(mixtral) == before
    with pytest.raises(ZeroDivisionError), Recorder(mixtral):
        raise ZeroDivisionError
    assert n_hooks(mixtral) == before


def test_a_router_that_records_nothing_stops_the_capture(mixtral):
    block = mixtral.model.layers[1].mlp
    # As a compiled or patched block does: the experts' computation without the experts' call.
    block.experts.__class__ = type(
        "Bypassed", (type(block.experts),), {"__call__": type(block.experts).forward}
    )
    with torch.no_grad(), Recorder(mixtral) as recorder, pytest.raises(RoutestatError) as error:
        mixtral(input_ids=TOKENS)
    assert "model.layers.1.mlp.gate recorded nothing" in str(error.value)
    assert "1 of 3 routers" in str(error.value)
    assert recorder.steps == []


def test_gradient_checkpointing_records_each_token_once(mixtral):
    mixtral.train()
    mixtral.activation_checkpointing_enable()
    with Recorder(mixtral) as recorder:
        mixtral(input_ids=TOKENS, use_cache=False).logits.sum().backward()
    assert len(recorder.steps) == 1
    assert len(recorder.steps[0].experts["L00"]) == 14


def test_weights_of_mixtral_are_normalised_and_heaviest_first(mixtral):
    with torch.no_grad(), Recorder(mixtral, weights=True) as recorder:
        mixtral(input_ids=TOKENS)
    weights = recorder.steps[0].weights["L01"].astype(float)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=2e-3)
    assert (weights[:, 0] >= weights[:, 1]).all()


def test_an_unknown_call_of_the_experts_names_the_module(mixtral):
    site = discover(mixtral)[1]
    wrong = site.experts
    hidden = torch.zeros(14, 32)
    mixtral.forward = lambda input_ids: wrong(hidden)
    with (
        pytest.raises(RoutestatError, match=r"model\.layers\.1\.mlp\.gate: its experts were not called"),
        Recorder(mixtral, [site]),
    ):
        mixtral(input_ids=TOKENS)
