"""Balance losses, cross-entropy and initial weights."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.train import recipe


def test_balance_loss_by_hand():
    """Two layers of two tokens, three experts, one chosen.

    Probabilities [.5 .3 .2] and [.1 .6 .3]: choices 0 and 1, shares ½ ½ 0, means .3 .45 .25:
    3 × (.15 + .225) = 1.125. The second layer sends both to expert 0 with .8: 3 × .8 = 2.4.
    """
    probability = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]], [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]])
    assert recipe.balance_losses(probability.log(), 1).tolist() == pytest.approx([1.125, 2.4])


def test_balance_loss_of_top_2_against_numpy_layer_by_layer():
    logits = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(2)) * 2
    wanted = []
    for layer in logits.numpy().astype(float):
        p = np.exp(layer) / np.exp(layer).sum(axis=1, keepdims=True)
        share = np.bincount(np.argsort(-p, axis=1)[:, :2].reshape(-1), minlength=8) / 100
        wanted.append(8 * (share * p.mean(axis=0)).sum())
    assert recipe.balance_losses(logits, 2).tolist() == pytest.approx(wanted, rel=1e-5)


def test_balance_loss_sees_layers_that_collapse_onto_different_experts():
    logits = torch.full((4, 30, 4), -20.0)
    for layer in range(4):
        logits[layer, :, layer] = 20.0
    assert recipe.balance_losses(logits, 1).tolist() == pytest.approx([4.0] * 4)


def test_the_model_s_own_routers_feed_the_balance_loss():
    shape = recipe.Recipe(layers=3, hidden=48, intermediate=16, context=16, batch_tokens=64)
    model = recipe.make_model(shape, 300)
    rows = torch.randint(3, 300, (4, 17), generator=torch.Generator().manual_seed(0))
    seen = []
    hooks = [
        layer.mlp.gate.register_forward_hook(lambda _, args, output: seen.append(output[0]))
        for layer in model.model.layers
    ]
    cross_entropy, balance = recipe.losses(model, rows)
    for hook in hooks:
        hook.remove()
    wanted = recipe.balance_losses(torch.stack(seen), 2).sum().item()
    assert balance.item() == pytest.approx(wanted)
    logits = model(input_ids=rows[:, :-1]).logits.detach().double()
    picked = logits.log_softmax(-1).gather(-1, rows[:, 1:, None])
    assert cross_entropy.item() == pytest.approx(-picked.mean().item(), rel=1e-5)


def test_first_weights_have_the_recipe_s_sizes():
    shape = recipe.Recipe(layers=8)
    model = recipe.make_model(shape, 1024)
    small = 16**-0.5
    wanted = {
        "model.embed_tokens.weight": 0.3,
        "lm_head.weight": 96**-0.5,
        "model.layers.3.self_attn.q_proj.weight": 96**-0.5,
        "model.layers.3.self_attn.o_proj.weight": 64**-0.5 * small,
        "model.layers.3.mlp.gate.weight": 96**-0.5,
        "model.layers.3.mlp.experts.gate_up_proj": 96**-0.5,
        "model.layers.3.mlp.experts.down_proj": 80**-0.5 * small,
    }
    parameters = dict(model.named_parameters())
    for name, sd in wanted.items():
        n = parameters[name].numel()
        # Six standard errors of a standard deviation.
        assert float(parameters[name].detach().std()) == pytest.approx(sd, rel=6 / (2 * n) ** 0.5), name
    assert bool((parameters["model.norm.weight"] == 1).all())
    assert parameters["model.embed_tokens.weight"].dtype == torch.float32
    again = recipe.make_model(shape, 1024)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
