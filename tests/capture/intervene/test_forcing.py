"""Forcing a router: its experts execute the choice with the stated weights, and nothing else changes."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
from capture.hooks import Recorder
from capture.intervene.forcing import SCORES, Intervention, WeightRule, fit_weight_rule
from capture.routers import discover
from routestat.errors import RoutestatError
from tests.capture.families import build

TOKENS = torch.randint(3, 64, (3, 11), generator=torch.Generator().manual_seed(5))


WORDS = torch.randint(3, 500, (2, 20), generator=torch.Generator().manual_seed(6))


LAYER = 5


# What each family's router does with its scores, read in its sources; the rest cannot be forced, or not renormalised.
RULES = {
    "mixtral": WeightRule("softmax", True),
    "qwen2_moe": WeightRule("softmax", False),
    "qwen3_moe": WeightRule("softmax", False),
    "qwen3_next": WeightRule("softmax", True),
    "olmoe": WeightRule("softmax", False),
    "flex_olmo": WeightRule("softmax", False),
    "deepseek_v2": WeightRule("softmax", False),
    "deepseek_v3": WeightRule("sigmoid", True, 2.5),
    "gpt_oss": WeightRule("softmax", True),
    "granitemoe": WeightRule("softmax", True),
    "jamba": WeightRule("softmax", False),
    "glm4_moe": WeightRule("sigmoid", True),
    "minimax": WeightRule("softmax", True),
    "ernie4_5_moe": WeightRule("softmax", True),
    "hunyuan_v1_moe": WeightRule("softmax", True),
    "dots1": WeightRule("sigmoid", False),
    "lfm2_moe": WeightRule("sigmoid", True),
}


def n_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def recorded(model, tokens, **options):
    with torch.no_grad(), Recorder(model, **options) as recorder:
        logits = model(input_ids=tokens, use_cache=False).logits
    return logits, recorder.steps[0]


@pytest.fixture(scope="module")
def forced(tiny):
    """One forced pass over the small real model: some tokens natural, and all that went in and out of the layer."""
    site = discover(tiny)[LAYER]
    experts = np.tile([7, 1], (40, 1))
    experts[::4] = -1
    seen = {}
    _, natural = recorded(tiny, WORDS, weights=True, logits=True)
    handle = site.block.register_forward_hook(lambda _, args, output: seen.update(x=args[0], y=output))
    with Intervention(tiny, site).forcing(experts):
        _, step = recorded(tiny, WORDS, weights=True, logits=True)
    handle.remove()
    return site, experts, natural, step, seen


def test_forced_tokens_execute_what_was_forced_and_the_others_what_they_chose(forced):
    site, experts, natural, step, _ = forced
    executed = np.sort(step.experts[site.name], axis=1)
    left = (experts == -1).any(axis=1)
    np.testing.assert_array_equal(executed[~left], np.tile([1, 7], ((~left).sum(), 1)))
    np.testing.assert_array_equal(step.experts[site.name][left], natural.experts[site.name][left])
    np.testing.assert_array_equal(step.weights[site.name][left], natural.weights[site.name][left])


def test_earlier_layers_are_unchanged_and_later_ones_are_not(forced):
    _, _, natural, step, _ = forced
    for layer in range(LAYER):
        np.testing.assert_array_equal(step.experts[f"L{layer:02d}"], natural.experts[f"L{layer:02d}"])
    assert (step.experts["L06"] != natural.experts["L06"]).any()


def test_the_output_of_the_forced_layer_by_hand(forced):
    site, experts, natural, _, seen = forced
    x = seen["x"].reshape(-1, seen["x"].shape[-1]).double().numpy()
    scores = np.exp(x @ site.router.weight.detach().double().numpy().T)
    gate_up, down = (w.detach().double().numpy() for w in (site.experts.gate_up_proj, site.experts.down_proj))
    for token in range(40):
        chosen = natural.experts[site.name][token] if -1 in experts[token] else experts[token]
        wanted = 0
        for expert in chosen:
            gate, up = np.split(gate_up[expert] @ x[token], 2)
            weight = scores[token, expert] / scores[token, chosen].sum()
            wanted = wanted + weight * (down[expert] @ (gate / (1 + np.exp(-gate)) * up))
        got = seen["y"].reshape(40, -1)[token].numpy()
        np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max() + 1e-6)


@pytest.mark.parametrize("implementation", ["batched_mm", "grouped_mm", "eager"])
def test_the_natural_choice_forced_is_bit_identical(tiny, implementation):
    before = tiny.config._experts_implementation
    tiny.set_experts_implementation(implementation)
    try:
        site = discover(tiny)[LAYER]
        plain, natural = recorded(tiny, WORDS)
        # Both as "each its own" and spelt out, in an order of slots that is not the router's.
        spelt = np.sort(natural.experts[site.name], axis=1)
        for experts in (None, spelt):
            with Intervention(tiny, site).forcing(experts):
                logits, step = recorded(tiny, WORDS)
            assert torch.equal(logits, plain)
            for name, choice in natural.experts.items():
                np.testing.assert_array_equal(step.experts[name], choice)
    finally:
        tiny.set_experts_implementation(before)


def test_the_variants_of_the_weights_by_hand(tiny):
    site = discover(tiny)[LAYER]
    _, natural = recorded(tiny, WORDS, weights=True, logits=True)
    p = np.exp(natural.logits[site.name].astype(float))
    pair = p[:, [1, 7]] / p[:, [1, 7]].sum(axis=1, keepdims=True)
    own = -np.sort(-natural.weights[site.name].astype(float), axis=1)
    wanted = {"renorm": -np.sort(-pair, axis=1), "uniform": np.full((40, 2), 0.5), "slot": own}
    for variant, weights in wanted.items():
        with Intervention(tiny, site, variant).forcing([1, 7]):
            _, step = recorded(tiny, WORDS, weights=True)
        # The expert that the router likes better comes first, and gets more.
        better = np.where(p[:, 1] > p[:, 7], 1, 7)
        np.testing.assert_array_equal(step.experts[site.name][:, 0], better)
        np.testing.assert_allclose(step.weights[site.name].astype(float), weights, atol=2e-3)


@pytest.mark.parametrize("family", RULES)
def test_renormalised_weights_are_the_familys_own(family):
    model = build(family)
    site = discover(model)[0]
    intervention = Intervention(model, site)
    assert intervention.rule == RULES[family]
    # Not through the shortcut for rows that stay as they are: the rule alone gives back the router's weights.
    logits, weights, natural = intervention._probe(model)
    np.testing.assert_allclose(intervention.rule.weights(logits, natural), weights, rtol=2e-6, atol=1e-7)
    plain, _ = recorded(model, TOKENS)
    with intervention.forcing(None):
        assert torch.equal(recorded(model, TOKENS)[0], plain)
    subset = np.arange(site.top_k)[::-1].copy()
    with intervention.forcing(subset):
        logits, step = recorded(model, TOKENS)
    np.testing.assert_array_equal(np.sort(step.experts[site.name], axis=1), np.tile(np.sort(subset), (33, 1)))
    assert not torch.equal(logits, plain)


def test_a_router_with_weights_of_its_own_kind_is_refused_but_for_other_variants():
    model = build("phimoe")
    site = discover(model)[0]
    with pytest.raises(RoutestatError, match=r"mlp\.router \(PhimoeTopKRouter\): .*use uniform or slot"):
        Intervention(model, site)
    with Intervention(model, site, "uniform").forcing([0, 1]):
        _, step = recorded(model, TOKENS, weights=True)
    weights = step.weights[site.name]
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])


@pytest.mark.parametrize("family", ["dbrx", "llama4_text"])
def test_families_whose_experts_do_not_take_the_routers_output_are_refused(family):
    model = build(family)
    site = discover(model)[0]
    with pytest.raises(RoutestatError, match=rf"{site.module} .*cannot be forced, because its experts"):
        Intervention(model, site)


def test_a_block_that_ignores_its_router_is_refused():
    model = build("mixtral")
    site = discover(model)[1]

    def forward(x):
        flat = x.reshape(-1, x.shape[-1])
        site.router(flat)
        weights, indices = torch.nn.functional.linear(flat, site.router.weight).softmax(-1).topk(2)
        return site.experts(flat, indices, weights).reshape(x.shape)

    site.block.forward = forward
    with pytest.raises(RoutestatError, match="did not execute what was forced"):
        Intervention(model, site)


def test_hooks_are_removed_whatever_happens_and_a_router_that_is_not_called_is_an_error():
    model = build("mixtral")
    site = discover(model)[1]
    before = n_hooks(model)
    intervention = Intervention(model, site)
    assert n_hooks(model) == before
    with pytest.raises(KeyboardInterrupt), intervention.forcing([0, 1]):
        raise KeyboardInterrupt
    assert n_hooks(model) == before
    with (
        pytest.raises(RoutestatError, match=r"layers\.1\.mlp\.gate was not called"),
        intervention.forcing([0, 1]),
    ):
        pass
    with pytest.raises(RoutestatError, match="got 33 tokens, but 5 rows"), intervention.forcing([[0, 1]] * 5):
        recorded(model, TOKENS)
    assert n_hooks(model) == before


@pytest.mark.parametrize(
    ("experts", "words"),
    [
        ([1, 8], "experts 0 … 7, got 8"),
        ([-2, 1], "experts 0 … 7, got -2"),
        ([1, 1], "twice"),
        ([1, 2, 3], r"\[token, 2\]"),
        ([0.5, 1.5], r"\[token, 2\]"),
    ],
)
def test_what_cannot_be_forced_is_refused(experts, words):
    model = build("mixtral")
    intervention = Intervention(model, discover(model)[0])
    with pytest.raises(RoutestatError, match=words), intervention.forcing(experts):
        recorded(model, TOKENS)
    with pytest.raises(RoutestatError, match="renorm, uniform, slot"):
        Intervention(model, discover(model)[0], "even")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_rule_is_found_in_low_precision(dtype):
    logits = torch.randn(32, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    for rule in (WeightRule(score, normalised, 2.5) for score in SCORES for normalised in (True, False)):
        experts = logits.topk(2).indices
        assert fit_weight_rule(logits, rule.weights(logits, experts).to(dtype), experts, 2.5) == rule
    assert fit_weight_rule(logits, torch.rand(32, 2).to(dtype), logits.topk(2).indices) is None
