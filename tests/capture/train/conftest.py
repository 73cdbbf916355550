"""A toy language, and a model trained on it once."""

import json
from importlib import import_module

import numpy as np
import pytest


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """Sixty documents of a toy language: each word is followed by one of the next two."""
    words = import_module("tests.capture.train.harness").WORDS
    rng = np.random.default_rng(5)
    lines = []
    for _ in range(60):
        steps = np.cumsum(rng.integers(1, 3, 80)) % len(words)
        lines.append(json.dumps({"text": " ".join(words[i] for i in steps)}))
    file = tmp_path_factory.mktemp("text") / "toy.jsonl"
    file.write_text("\n".join(lines))
    return file


@pytest.fixture(scope="session")
def trained(text, tmp_path_factory):
    command = import_module("tests.capture.train.harness").command
    out = tmp_path_factory.mktemp("trained") / "toy"
    assert command("--text", text, "--out", out, "--steps", 120, "--processes", 1) == 0
    return out
