"""The published tables are consistent, and the committed result is what they give."""

import numpy as np
import pytest

from analyses import cross_layer_tables, output
from analyses.cross_layer_tables import LAYERS, MODELS, TEXTS, labels, read, span
from analyses.first_choice_tables import dependence


@pytest.fixture(scope="module")
def tables():
    return read()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("text", TEXTS)
def test_margins_are_the_published_counts_and_first_choices_are_a_part(tables, model, text):
    top_k = MODELS[model][1]
    for kind, choices in (("_top1", 1), ("", top_k)):
        counts, cross = tables[f"{model}/counts{kind}/{text}"], tables[f"{model}/cross{kind}/{text}"]
        assert (counts.sum(axis=1) == 208_896 * choices).all()
        for place in range(len(LAYERS)):
            assert (cross[place].sum(axis=1) == counts[place]).all()
            assert (cross[place].sum(axis=0) == counts[place + 1]).all()
    assert (tables[f"{model}/cross/{text}"] >= tables[f"{model}/cross_top1/{text}"]).all()


def test_the_information_of_layers_7_and_15(tables):
    """About 0.10 to 0.25 bits for Mixtral-8x7B and 0.66 to 1.28 for OLMoE-1B-7B."""
    found = {
        model: [dependence(tables[f"{model}/cross_top1/{text}"][1]).bits for text in TEXTS]
        for model in MODELS
    }
    assert span(found["mixtral_8x7b"], 2) == "0.10 to 0.25"
    assert span(found["olmoe_1b_7b"], 2) == "0.66 to 1.28"


def test_ids_in_common_lie_between_the_extremes_of_all_numberings():
    counts = np.array([[5, 1], [3, 7]])
    both = {f"{model}/cross_top1/{text}": np.stack([counts, counts]) for model in MODELS for text in TEXTS}
    assert labels(both).splitlines()[2] == "| Mixtral-8x7B | 0 → 7 | 0.500 | 0.750 … 0.750 | 0.250 … 0.750 |"


def test_the_committed_result_is_what_the_analysis_writes(tmp_path, monkeypatch, capsys):
    committed = (output.RESULTS / "cross_layer_tables.md").read_text()
    monkeypatch.setattr(output, "RESULTS", tmp_path)
    monkeypatch.setattr(output, "ROOT", tmp_path)
    cross_layer_tables.main()
    assert (tmp_path / "cross_layer_tables.md").read_text() == committed
    assert capsys.readouterr().out.endswith("written: cross_layer_tables.md\n")
