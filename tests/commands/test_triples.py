"""`analyze --triples` as a user runs it."""

import json

import numpy as np

from routestat.analyze import app
from routestat.traces.synthetic import chain, write
from tests.commands.harness import ask


def test_three_layers_on_request(tmp_path):
    made = chain(
        coupling=0.7,
        rng=np.random.default_rng(2),
        n_experts=4,
        top_k=1,
        layers=3,
        documents=20,
        mean_length=40,
    )
    write(made, tmp_path / "trace")
    options = "--only", "level-checks", "--out", tmp_path / "report"
    result = ask(app, "routestat analyze", tmp_path / "trace", *options, "--triples")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "report" / "results.json").read_text())
    assert len(found["triples"]) == 1
    assert (tmp_path / "report" / "tables" / "triple-L00-L01-L02.csv").is_file()
    result = ask(app, "routestat analyze", tmp_path / "trace", *options)
    assert result.returncode == 0
    assert "triples" not in json.loads((tmp_path / "report" / "results.json").read_text())
    assert not (tmp_path / "report" / "tables" / "triple-L00-L01-L02.csv").exists()
