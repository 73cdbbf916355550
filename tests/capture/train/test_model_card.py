"""The model card states the results."""

import csv
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")


def test_the_card_states_the_facts_of_the_run(trained):
    card = (trained / "README.md").read_text()
    said = json.loads((trained / "training.json").read_text())["run"]
    assert f"bits per byte | {said['held_out_bits_per_byte']:.3f}" in card
    assert "30,720 tokens in 120 steps of 256" in card
    assert "2 layers, 8 experts, top 2" in card
    # Three of sixty documents of alike length.
    assert 0.03 < said["held_out_share"] < 0.07
    assert f"{said['held_out_share']:.1%} of the tokens were held out" in card
    assert "`toy.jsonl" in card
    with (trained / "load.csv").open() as lines:
        load = np.array([[float(v) for k, v in row.items() if k != "layer"] for row in csv.DictReader(lines)])
    assert load.shape == (2, 8)
    np.testing.assert_allclose(load.sum(axis=1), 2, atol=1e-4)
