"""Finished interventions, each made once."""

from importlib import import_module

import pytest

from tests.capture.conftest import TINY


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """Thirty-two documents in windows, forced in three ways, looked at two layers on."""
    harness = import_module("tests.capture.intervene.harness")
    folder = tmp_path_factory.mktemp("intervene")
    file = harness.lines(folder, 32)
    options = ("--text", file, "--window", 50, "--batch-size", 16, "--out", folder / "out", "--layer", 5)
    forced = ("--do", "1+7", "--do", "natural", "--do", "random", "--horizon", 2, "--seed", 3)
    assert harness.command(*options, *forced) == 0
    return folder / "out", (*options, *forced)


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A model of 16 experts, top 5: 4,368 subsets, so the distributions are over experts; its first layer is dense."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    base = import_module("tests.capture.families").BASE
    folder = tmp_path_factory.mktemp("wide") / "model"
    torch.manual_seed(0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    tokenizer.save_pretrained(folder)
    moe = {"num_experts": 16, "num_experts_per_tok": 5, "moe_intermediate_size": 16, "mlp_only_layers": [0]}
    config = transformers.Qwen3MoeConfig(**{**base, **moe, "vocab_size": len(tokenizer), "head_dim": 8})
    transformers.Qwen3MoeForCausalLM(config).save_pretrained(folder)
    return folder
