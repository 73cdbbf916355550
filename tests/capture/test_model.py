"""Models that cannot be recorded, lack weights or cannot run are refused with one line."""

import os

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.command import app
from routestat.cli.runner import run
from tests.capture.conftest import TINY
from tests.capture.families import BASE
from tests.capture.harness import small_model


def broken_model(folder, config):
    transformers.AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("dense", "LlamaForCausalLM has no router: it is a dense model"),
        ("doge", "doge cannot be recorded: its routing mixes"),
        ("nllb-moe", "nllb-moe cannot be recorded"),
        ("switch_transformers", "is an encoder-decoder"),
        ("absent", "absent cannot be loaded"),
    ],
)
def test_models_that_cannot_be_recorded_get_one_line(tmp_path, capsys, kind, wanted):
    """None of them has weights: they are refused before any would be read."""
    folder = tmp_path / kind
    if kind == "dense":
        broken_model(folder, transformers.LlamaConfig(**BASE))
    elif kind != "absent":
        broken_model(folder, transformers.AutoConfig.for_model(kind))
    (tmp_path / "text.txt").write_text("words")
    assert (
        run(app, "capture", [str(folder), "--text", str(tmp_path / "text.txt"), "--out", str(tmp_path / "o")])
        == 2
    )
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert wanted in error[0]


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"num_hidden_layers": 3}, "lack 9 of the weights"),
        ({"num_local_experts": 4}, "such as model.layers.0.mlp.experts"),
        ({"intermediate_size": 18}, "--experts eager runs without it"),
        ("cut", "cannot be loaded"),
    ],
)
def test_a_model_that_would_be_drawn_at_random_or_cannot_run_gets_one_line(
    tmp_path, texts, capsys, changed, wanted
):
    """transformers draws what the files lack and goes on: routers of nobody's would be recorded."""
    model = small_model(tmp_path / "model", **({} if changed == "cut" else changed))
    if changed == "cut":
        os.truncate(model / "model.safetensors", 999)
    capsys.readouterr()
    assert run(app, "capture", [str(model), *texts, "--out", str(tmp_path / "t")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert wanted in error[0]


def test_a_model_of_odd_sizes_runs_without_the_kernel(tmp_path, texts):
    model = small_model(tmp_path / "model", intermediate_size=18)
    assert run(app, "capture", [str(model), *texts, "--experts", "eager", "--out", str(tmp_path / "t")]) == 0
