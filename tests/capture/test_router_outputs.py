"""Every family that must work: outputs untouched, and the recorded choice is the published rule's."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")

from capture.hooks import Recorder
from capture.routers import discover
from tests.capture.families import FAMILIES, build, build_class, rule

TOKENS = torch.randint(3, 64, (3, 11), generator=torch.Generator().manual_seed(5))
DECODER_ONLY = [family for family in FAMILIES if family != "switch_transformers"]


def inputs_of(model, sites, run):
    """What every router was given, seen by wrapping its forward: no hook of the recorder is involved."""
    seen = {}
    for site in sites:

        def spy(x, *rest, _forward=site.router.forward, _name=site.name, **named):
            seen[_name] = x.detach().numpy().reshape(-1, x.shape[-1]).copy()
            return _forward(x, *rest, **named)

        site.router.forward = spy
    with torch.no_grad():
        run()
    for site in sites:
        del site.router.forward
    return seen


@pytest.mark.parametrize("family", DECODER_ONLY)
def test_recorded_is_the_published_rule_and_outputs_are_bit_identical(family):
    model = build(family)
    sites = discover(model)
    assert [site.layer for site in sites] == FAMILIES[family][2]
    with torch.no_grad():
        plain = model(input_ids=TOKENS).logits
        with Recorder(model, sites, weights=True, logits=True) as recorder:
            hooked = model(input_ids=TOKENS).logits
    assert torch.equal(plain, hooked)
    inputs = inputs_of(model, sites, lambda: model(input_ids=TOKENS))
    (step,) = recorder.steps
    for site in sites:
        experts = step.experts[site.name]
        assert experts.shape == (33, site.top_k)
        assert step.weights[site.name].shape == (33, site.top_k)
        assert step.logits[site.name].shape == (33, site.n_experts)
        np.testing.assert_array_equal(
            np.sort(experts, axis=1), rule(family, site, inputs[site.name]), site.module
        )
        # A rule that always answers the same would prove nothing.
        assert len(np.unique(np.sort(experts, axis=1), axis=0)) > 2


@pytest.mark.parametrize("family", ["deepseek_v2", "deepseek_v3", "ernie4_5_moe"])
def test_the_top_of_the_logits_is_not_the_selection(family):
    """Why logits are not enough: with group limits or correction biases they name other experts."""
    model = build(family)
    with torch.no_grad(), Recorder(model, logits=True) as recorder:
        model(input_ids=TOKENS)
    step, site = recorder.steps[0], recorder.sites[-1]
    top = np.sort(np.argsort(-step.logits[site.name], axis=1)[:, : site.top_k], axis=1)
    assert (top != np.sort(step.experts[site.name], axis=1)).any(axis=1).mean() > 0.2


def test_switch_drops_what_is_beyond_the_capacity():
    model = build("switch_transformers")
    sites = discover(model)
    assert [site.name for site in sites] == ["L01a", "L01b", "L03a", "L03b"]

    def run():
        return model(input_ids=TOKENS, decoder_input_ids=TOKENS[:, :4]).logits

    with torch.no_grad():
        plain = run()
        with Recorder(model, sites) as recorder:
            hooked = run()
    assert torch.equal(plain, hooked)
    inputs = inputs_of(model, sites, run)
    dropped = 0
    for site in sites:
        rows = len(inputs[site.name]) // 3
        chosen = rule("switch_transformers", site, inputs[site.name]).reshape(3, rows)
        # An expert takes the first 3 tokens of a sequence that choose it; the rest are dropped.
        for line in chosen:
            for expert in range(4):
                line[np.flatnonzero(line == expert)[3:]] = -1
        np.testing.assert_array_equal(recorder.steps[0].experts[site.name][:, 0], chosen.ravel())
        dropped += (chosen == -1).sum()
    assert dropped > 0


def test_jetmoe_has_two_routers_in_a_layer():
    model = build_class("JetMoe", {"num_local_experts": 8, "num_experts_per_tok": 2, "kv_channels": 8})
    sites = discover(model)
    assert [site.name for site in sites[:2]] == ["L00a", "L00b"]
    assert "attention" in sites[0].module
    inputs = inputs_of(model, sites, lambda: model(input_ids=TOKENS))
    with torch.no_grad(), Recorder(model, sites) as recorder:
        model(input_ids=TOKENS)
    for site in sites:
        logits = inputs[site.name] @ site.router.layer.weight.detach().numpy().T
        best = np.sort(np.argsort(-logits, axis=1)[:, :2], axis=1)
        np.testing.assert_array_equal(np.sort(recorder.steps[0].experts[site.name], axis=1), best)


def test_zaya_skipped_tokens_are_missing():
    model = build_class(
        "Zaya", {"num_experts": 4, "num_experts_per_tok": 1, "router_hidden_size": 16, "head_dim": 8}
    )
    sites = discover(model)
    for site in sites:
        site.router.balancing_biases.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.15]))
    with torch.no_grad(), Recorder(model, sites, logits=True) as recorder:
        model(input_ids=TOKENS)
    step, skips = recorder.steps[0], 0
    for site in sites:
        logits = step.logits[site.name].astype(np.float64)
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        chosen = np.argmax(scores + np.array([0, 0, 0, 0, 0.15]), axis=1)
        np.testing.assert_array_equal(step.experts[site.name][:, 0], np.where(chosen == 4, -1, chosen))
        skips += (chosen == 4).sum()
    assert 0 < skips < 33 * len(sites)


def test_longcat_identity_experts_are_marked():
    sites = discover(
        build_class(
            "LongcatFlash",
            {
                "q_lora_rank": 16,
                "kv_lora_rank": 16,
                "qk_nope_head_dim": 8,
                "qk_rope_head_dim": 8,
                "v_head_dim": 8,
                "num_key_value_heads": 4,
                "head_dim": 8,
                "n_routed_experts": 6,
                "zero_expert_num": 3,
                "moe_topk": 3,
                "expert_ffn_hidden_size": 16,
                "ffn_hidden_size": 16,
                "num_layers": 2,
                "num_hidden_layers": 4,
            },
        )
    )
    assert [(site.n_experts, site.top_k, site.identity) for site in sites] == [(9, 3, (6, 7, 8))] * 2
