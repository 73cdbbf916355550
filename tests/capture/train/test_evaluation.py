"""The bigram model by hand, and a trained model below it."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.train import evaluation, recipe
from tests.capture.train.harness import course


def test_bigram_by_hand():
    """Stream a b a c a b over four tokens (a = 0 … and START = 1 never seen); after a: b twice, c once, T = 2, n = 3.

    P(b | a) = (2 + 2 × 3/10) / 5 where the unigram of b is (2 + 1) / (6 + 4); after the start token the unigram.
    """
    a, b, c = 0, 2, 3
    stream = np.array([a, b, a, c, a, b], np.uint16)
    nats = evaluation.bigram_nats(stream, [np.array([recipe.START_ID, b]), np.array([a, b])], 4)
    assert nats == pytest.approx(-np.log(3 / 10) - np.log((2 + 2 * 0.3) / 5))


def test_the_loss_falls_below_the_bigram_of_a_learnable_text(trained, capsys):
    rows = course(trained)
    assert len(rows) == 120
    assert float(rows[0]["loss"]) > 5
    assert float(rows[-1]["loss"]) < 3
    assert float(rows[-1]["held_out_loss"]) < 3
    # A warm-up of a fifth of so few steps, then down to nothing.
    assert max(range(120), key=lambda i: float(rows[i]["lr"])) == 24
    assert float(rows[-1]["lr"]) < 1e-4
    said = json.loads((trained / "training.json").read_text())["run"]
    assert 0 < said["held_out_bits_per_byte"] < 2
    assert said["tokens"] == 120 * 256
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")
