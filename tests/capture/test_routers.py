"""Routers are found in a model's modules; models whose routers cannot be recorded are refused."""

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
import transformers

from capture.routers import discover
from routestat.errors import RoutestatError
from tests.capture.families import BASE, build


@pytest.fixture
def mixtral():
    return build("mixtral")


def test_a_dense_model_is_refused():
    config = transformers.LlamaConfig(**BASE)
    with pytest.raises(RoutestatError, match="LlamaForCausalLM has no router: it is a dense model"):
        discover(transformers.LlamaForCausalLM(config))


@pytest.mark.parametrize(
    ("kind", "reason"), [("doge", "mixes the tokens of a batch"), ("nllb-moe", "broken")]
)
def test_broken_families_are_refused_with_the_reason(kind, reason):
    model = torch.nn.Module()
    model.config = transformers.AutoConfig.for_model(kind)
    with pytest.raises(RoutestatError, match=f"{kind} cannot be recorded: .*{reason}"):
        discover(model)


def test_experts_without_a_known_router_are_refused(mixtral):
    block = mixtral.model.layers[1].mlp
    block.chooser = block.gate
    block.chooser.__class__ = type("Chooser", (torch.nn.Module,), {})
    del block.gate
    with pytest.raises(RoutestatError, match=r"model\.layers\.1\.mlp .*experts without a known router"):
        discover(mixtral)
