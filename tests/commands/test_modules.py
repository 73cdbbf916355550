"""`analyze` with --document, --shared-modules and --model-config, good and bad."""

import json

import numpy as np
import pytest

from routestat.analyze import app
from routestat.traces.synthetic import chain, write
from tests.commands.harness import ask, complaint

CONFIG = {
    "model_type": "mixtral",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "vocab_size": 30,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = chain(
        coupling=0.7,
        rng=np.random.default_rng(0),
        n_experts=4,
        top_k=2,
        layers=3,
        documents=20,
        mean_length=20,
    )
    return write(made, tmp_path_factory.mktemp("store") / "trace")


def analyze(store, out, *options):
    return ask(app, "analyze", store, "--out", out, *options)


def test_documents_modules_and_model_are_in_the_report(store, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    options = ("--document", "4", "--document", "7", "--shared-modules", "--model-config", tmp_path)
    result = analyze(store, tmp_path / "out", "--only", "modules", *options)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [row["document"] for row in record["document_views"]] == [4, 7]
    assert record["modules"]["shared_from"] == "option"
    assert record["model_facts"]["expert_parameters"] == 3 * 8 * 16
    assert record["model_facts"]["expert_bytes"] is None
    assert (tmp_path / "out" / "tables" / "document-7.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--document", "20"), "a number from 0 to 19, found '20'"),
        (("--document", "[bold]"), "found '[bold]'"),
        (("--document", "1", "--only", "dependence"), "--document: expected the part modules"),
        (("--model-config", "{wide}"), "routers have 4 experts, found a model with 8"),
        (("--model-config", "{none}"), "expected a model's config.json, or its folder"),
    ],
)
def test_bad_options_are_one_line_before_anything_is_computed(store, tmp_path, options, message):
    (tmp_path / "wide.json").write_text(json.dumps({**CONFIG, "num_local_experts": 8}))
    places = {"{wide}": tmp_path / "wide.json", "{none}": tmp_path / "none"}
    result = analyze(store, tmp_path / "out", *(places.get(one, one) for one in options))
    assert message in complaint(result)
    assert not (tmp_path / "out").exists()
