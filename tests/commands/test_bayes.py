"""analyze --bayes full as a user runs it: the record, the files, the page, and what cannot be sampled."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import arviz as az
import numpy as np
import pytest

from routestat.analyze import app
from routestat.traces.synthetic import chain, expert_chain, write
from tests.commands.harness import ask, complaint

ROOT = Path(__file__).parents[2]
PICTURES = ("bayes-forest", "bayes-trace", "bayes-ranks", "bayes-energy")
LAYERS = [2, 5, 6]


def analyze(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "routestat.analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """24 documents of a chain of order 1: three layers, three states."""
    made = chain(
        n_experts=3,
        top_k=1,
        layers=tuple(LAYERS),
        documents=24,
        mean_length=40,
        coupling=0.6,
        rng=np.random.default_rng(1),
    )
    return write(made, tmp_path_factory.mktemp("bayes") / "three", "three")


@pytest.fixture(scope="module")
def analysed(trace, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "r"
    only = ("--only", "prediction,chain")
    result = analyze(trace, "--bayes", "full", "--bayes-draws", "250", *only, "--out", out)
    assert result.returncode == 0, result.stderr
    # Libraries have much to say on the way, and none of it is for the user.
    # No warning of the sampler; a long run says how far it is.
    assert all(" % done, " in line for line in result.stderr.splitlines()), result.stderr
    return out


def record_of(out):
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_the_record_says_what_was_sampled(analysed):
    bayes = record_of(analysed)["bayes"]
    assert (bayes["draws"], bayes["tune"], bayes["chains"]) == (250, 250, 4)
    assert bayes["layers"] == LAYERS
    assert "note" not in bayes
    assert [order["order"] for order in bayes["orders"]] == [0, 1, 2]
    assert [unit["layers"] for unit in bayes["orders"][1]["units"]] == [[2, 5], [5, 6]]
    for order in bayes["orders"]:
        assert order["rhat_max"] < 1.05
        assert order["ess_bulk_min"] > 100
        low, high = order["mu_log_strength"]["ci95"]
        assert low < order["mu_log_strength"]["mean"] < high
        for unit in order["units"]:
            low, high = unit["strength_tokens_ci95"]
            assert 0 < low < unit["strength_tokens"] < high
            assert 0 <= unit["p_information_bits"] <= 1
    comparison = bayes["comparison"]
    # The chain is of order 1: nothing is gained by a second layer, much is lost without the first.
    assert comparison["chosen_order"] == 1
    none, one, two = comparison["orders"]
    assert none["behind_bits_per_token_ci95"][0] > 0.02
    assert two["behind_bits_per_token"] < 0.02
    assert comparison["layers"] == [6]
    assert (comparison["n_bundles"], comparison["n_tokens"]) == (24, 24 * 40)
    # Exact leave-out of the same documents by the closed form, in the same report.
    held_out = next(
        row
        for row in record_of(analysed)["prediction"]
        if row["predictor"] == "layer-1" and row["target"] == 6
    )
    assert one["elpd_bits_per_token"] == pytest.approx(-held_out["log_loss_bits"], abs=0.01)


@pytest.mark.slow
def test_the_files_open_with_arviz(analysed):
    bayes = record_of(analysed)["bayes"]
    assert sorted(path.name for path in analysed.glob("bayes-order*")) == bayes["files"]
    for order, name in zip(bayes["orders"], bayes["files"], strict=True):
        data = az.from_netcdf(analysed / name)
        assert data.posterior["mu"].shape == (4, 250)
        assert float(data.posterior["mu"].mean()) == pytest.approx(order["mu_log_strength"]["mean"])
        assert data.log_likelihood["bundle"].shape == (4, 250, 24)
        assert float(data.observed_data["cell_count"].sum()) >= 24 * 40
        assert int(data.sample_stats["diverging"].sum()) == order["divergences"]


@pytest.mark.slow
def test_the_page_shows_the_four_pictures(analysed):
    page = (analysed / "index.html").read_text()
    for name in PICTURES:
        assert re.search(rf'<img[^>]* src="figures/{name}\.png"', page)
        assert (analysed / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert 'href="#bayes"' in page
    assert page.count('data-table="bayes-samplers"') == 3


@pytest.mark.slow
def test_a_second_report_without_it_removes_what_is_stale(analysed, trace, tmp_path):
    out = shutil.copytree(analysed, tmp_path / "again")
    assert len(list(out.glob("bayes*"))) == 3
    result = ask(app, "routestat analyze", trace, "--only", "dependence", "--out", out)
    assert result.returncode == 0, result.stderr
    assert "bayes" not in record_of(out)
    assert not list(out.glob("bayes*"))
    assert not list((out / "figures").glob("bayes*"))
    page = (out / "index.html").read_text()
    assert "bayes-trace" not in page
    assert 'href="#bayes"' not in page


@pytest.mark.slow
def test_what_cannot_be_sampled_is_refused_in_one_line(trace, tmp_path):
    out = tmp_path / "r"
    assert "--bayes is full or none, got 'maybe'" in complaint(
        ask(app, "routestat analyze", trace, "--bayes", "maybe", "--out", out)
    )
    assert not out.exists()
    made = expert_chain(
        n_experts=46, top_k=2, layers=2, documents=4, coupling=1.0, rng=np.random.default_rng(0)
    )
    wide = write(made, tmp_path / "wide", "wide")
    assert "needs the state view" in complaint(
        ask(app, "routestat analyze", wide, "--bayes", "full", "--out", out)
    )
    assert not (out / "results.json").exists()
