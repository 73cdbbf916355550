"""The small real model, and traces and runs that several files compare with.

Modules that need torch are imported by the fixtures, so that tests are skipped where it is missing.
"""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "data" / "tiny-mixtral"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Two threads of tiny products on two busy cores wait for each other more than they work."""
    torch = pytest.importorskip("torch", reason="capture needs torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny():
    torch = pytest.importorskip("torch", reason="capture needs torch")
    transformers = pytest.importorskip(
        "transformers", minversion="5.0", reason="capture needs transformers 5"
    )
    return transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def tokenizer():
    transformers = pytest.importorskip(
        "transformers", minversion="5.0", reason="capture needs transformers 5"
    )
    return transformers.AutoTokenizer.from_pretrained(TINY)


@pytest.fixture
def texts(tmp_path):
    harness = import_module("tests.capture.harness")
    files = []
    for i, text in enumerate(harness.TEXTS):
        files.append(tmp_path / f"text{i}.txt")
        files[-1].write_text(text)
    return [part for file in files for part in ("--text", str(file))]


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Sixty-four documents of different lengths, and the trace of an uninterrupted run."""
    command = import_module("tests.capture.harness").command
    tmp_path = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    words = ["time", "captain", "return", "x", "sea", "clips", "and", "the", "of"]
    lines = [json.dumps({"text": " ".join(rng.choice(words, rng.integers(5, 60)))}) for _ in range(64)]
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(lines))
    assert command("--text", file, "--out", tmp_path / "whole", "--batch-size", 4) == 0
    return file, tmp_path / "whole"


@pytest.fixture(scope="module", params=["tiny-mixtral", "qwen3_moe"])
def model(request):
    if request.param == "tiny-mixtral":
        return request.getfixturevalue("tiny")
    return import_module("tests.capture.families").build(request.param)


@pytest.fixture(scope="module")
def sites(model):
    return import_module("capture.routers").discover(model)


@pytest.fixture(scope="module")
def token_lists(model):
    rng = np.random.default_rng(3)
    lengths = import_module("tests.capture.batches").LENGTHS
    return [rng.integers(3, 60, n).tolist() for n in lengths]


@pytest.fixture(scope="module")
def alone(model, sites, token_lists):
    """Every document on its own, without padding."""
    forward = import_module("capture.forward")
    return [
        forward.Runner(model, sites, pad=0).run([forward.Segment(i, text)])
        for i, text in enumerate(token_lists)
    ]
