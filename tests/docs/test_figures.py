"""The figures that the README and the pages of the documentation quote are those of the demo's report."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def page(name):
    """The text of a page on one line, without emphasis."""
    return " ".join((ROOT / name).read_text().replace("*", "").split())


@pytest.fixture(scope="module")
def record(demo_report):
    return json.loads((demo_report / "results.json").read_text())


def test_dependence(record):
    bits = [pair["mi_bits"] for pair in record["dependence"]]
    entropy = np.mean([layer["entropy_bits"] for layer in record["layers"]])
    for name in ("README.md", "docs/interpretation.md"):
        assert f"{min(bits):.2f} to {max(bits):.2f} bits" in page(name)
        assert f"about {entropy:.1f} bits" in page(name)
    weakest = min(record["dependence"], key=lambda pair: pair["mi_bits"])
    text = page("docs/interpretation.md")
    assert f"a p-value of 10 to the minus {-round(weakest['log10_p_iid']):,};" in text
    assert f"documents as the units it is 10 to the minus {-round(weakest['log10_p_clustered'])}." in text


def test_components_of_the_dependence(record):
    pairs = {pair["source"]: pair for pair in record["dependence"]}
    text = page("docs/interpretation.md")
    for key, said in (("mi_bits", "share {} bits on average"), ("mi_bits_swapped_types", "{} bits are left")):
        assert said.format(f"{np.mean([pair[key] for pair in pairs.values()]):.2f}") in text
    assert f"layers 0 and 1 still share {pairs[0]['mi_bits_given_token']:.3f} bits" in text
    assert f"layers 30 and 31 share {pairs[30]['mi_bits_given_token']:.2f} bits" in text


def test_level_of_the_tests(record):
    text = page("docs/interpretation.md")
    families = {family["family"]: family for family in record["calibration"]["families"]}
    for name, said in (
        ("loads", "rejects in {} % of the splits, the clustered test in about {} %"),
        ("independence", "rejects in {} % of the cases, the clustered test in about {} %"),
    ):
        rates = (families[name]["rate_iid"], families[name]["rate_clustered"])
        assert said.format(*(round(100 * rate) for rate in rates)) in text
    order = families["order"]
    rate, error = (round(100 * order[key]) for key in ("rate_clustered", "rate_clustered_error"))
    assert f"rejects in {rate} % (Monte-Carlo error {error} %)" in text


def test_scores_of_the_predictors(record):
    rows = {
        "uniform": "uniform",
        "popularity": "popularity of the layer",
        "previous-token": "previous token, same layer",
        "token-id": "the token's id",
        "layer-1": "chain: the layer before",
        "layers-3": "chain: the three layers before",
        "ridge-all": "ridge: all earlier layers, the previous token",
        "ridge-all-token-id": "the same, and the ids of both tokens",
    }
    means = {score["predictor"]: score for score in record["prediction_mean"]}
    best = [
        max(own, key=lambda score: score["recall_at_k"])["predictor"]
        for own in (means.values(), [score for score in means.values() if score["baseline"]])
    ]
    assert set(best) <= set(rows)
    assert page("README.md").count(" | .") == 2 * len(rows)
    targets = [{s["target"] for s in record["prediction"] if s["predictor"] == name} for name in means]
    layers = sorted(set.intersection(*targets))
    assert f"mean over layers {layers[0]}–{layers[-1]}) |" in page("README.md")
    for score in (means[name] for name in rows):
        shown = [f"{score[key]:.3f}"[1:] for key in ("exact_set", "recall_at_k")]
        shown.append(f"{score['log_loss_bits']:.2f}")
        assert f"| {rows[score['predictor']]} | {' | '.join(shown)} |" in page("README.md")


def test_memory(record):
    rows = {
        "nothing": "nothing",
        "layer-1": "the layer before (order 1)",
        "layer-2,layer-1": "the two layers before (order 2)",
        "layer-3,layer-2,layer-1": "the three layers before",
        "token-1": "the same layer’s choice at the token before",
        "token id": "the token’s id",
        "token id,layer-1": "the token’s id and the layer before",
    }
    means = {mean["context"]: mean for mean in record["memory"]["contexts_mean"]}
    for context, words in rows.items():
        low, high = means[context]["log_loss_bits_ci95"]
        figures = f"{means[context]['log_loss_bits']:.2f} | {low:.2f} … {high:.2f}"
        assert f"| {words} | {figures} |" in page("docs/memory.md")
    layers = record["memory"]["contexts_mean_layers"]
    assert f"mean over layers {layers[0]}–{layers[-1]}" in page("docs/memory.md")
    distant = {mean["horizon"]: mean for mean in record["memory"]["horizons_mean"]}
    assert distant[4]["mi_bits_chain"] < 0.001
    assert "below 0.001 bits within four steps" in page("docs/memory.md")
    assert distant[8]["mi_bits"] == pytest.approx(0.5, abs=0.01)


def test_the_picture_of_the_first_transition(demo_report):
    with (demo_report / "tables" / "transition-L00-L01.csv").open() as table:
        cells = {(cell["source_experts"], cell["target_experts"]): cell for cell in csv.DictReader(table)}
    assert f"probability {float(cells['3 5', '6 7']['conditional']):.2f}, where 0.04" in page("README.md")


def test_size_of_the_trace(record):
    trace = record["trace"]
    template = trace["template"]
    said = f"{trace['n_tokens'] + template['n_tokens_left_out']:,} tokens of {trace['n_documents']} documents"
    for name in ("README.md", "docs/interpretation.md"):
        assert said in page(name)
    assert (
        f"{template['n_documents']} of {trace['n_documents']} documents begin with the same "
        f"{template['n_tokens']} tokens; {template['n_tokens_left_out']}"
    ) in page("docs/independence.md")
