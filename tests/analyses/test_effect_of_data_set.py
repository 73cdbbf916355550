"""Losses of planted domains, and the shares that are kept, by hand."""

import numpy as np
import pytest

from analyses import output
from analyses.effect_of_data_set import (
    balanced,
    conclusion_of,
    data_in_words,
    effects_table,
    examine,
    kept_share,
    loss_of,
    losses_table,
    matrix_table,
)
from tests.study.transfer_cases import joined_domains, sample_of

NAMES = ("popularity", "layer-1")


@pytest.fixture(scope="module")
def planted():
    """Domains a and b of one process, c of another."""
    sample = joined_domains({"a": sample_of(0, 1, 50), "b": sample_of(0, 2), "c": sample_of(1, 3, 30)})
    return examine(sample, "subset", NAMES)


def test_only_another_process_loses(planted):
    assert planted.chance == pytest.approx(0.4)
    loss = loss_of(planted, "layer-1", "c")
    assert loss.difference.high < -0.05
    assert loss.difference.value == pytest.approx(loss.elsewhere.value - loss.own.value)
    assert loss.kept.high < 0.7
    # Domain a is predicted from b as well as from itself, and worse from c: the mean is between.
    by_train = {
        (one.train, one.test): one.score.estimate("recall_at_k").value
        for one in planted.matrix.scores
        if one.score.predictor == "layer-1"
    }
    mean = (by_train["b", "a"] + by_train["c", "a"]) / 2
    assert loss_of(planted, "layer-1", "a").elsewhere.value == pytest.approx(mean)
    assert by_train["b", "a"] == pytest.approx(by_train["a", "a"], abs=0.03)
    assert by_train["c", "a"] < by_train["a", "a"] - 0.1


def test_fitted_to_all_domains_is_paired_with_fitted_to_one(planted):
    for domain in "abc":
        loss = loss_of(planted, "layer-1", domain)
        mixed = planted.mixed["layer-1"].estimate("recall_at_k", domain=domain)
        assert loss.mixed.value == pytest.approx(mixed.value - loss.own.value)
        # A mixture that holds the domain is better than other domains alone.
        assert mixed.value > loss.elsewhere.value


def test_the_share_that_is_kept_by_hand():
    tokens = np.full(8, 10.0)
    own = np.resize([2.0, 6.0], 8)
    kept = kept_share(own / 2, own, tokens)
    assert (kept.value, kept.low, kept.high) == pytest.approx((0.5, 0.5, 0.5))
    # A group that has less than chance counts too.
    own = np.array([-1.0, 5, 4, 4, 4, 4, 4, 4])
    elsewhere = np.array([1.0, 1, 2, 2, 2, 2, 2, 2])
    found = kept_share(elsewhere, own, tokens)
    assert found.value == pytest.approx(0.5)
    error = np.sqrt(8 / 7 * (1.5**2 + 1.5**2)) / 28
    assert found.standard_error == pytest.approx(error)
    assert found.low < 0.5 < found.high
    assert np.isnan(kept_share(elsewhere[:4], own[:4], tokens[:4]).low)


def test_no_more_than_the_largest_part_of_a_domain_is_used():
    sample = joined_domains({"a": sample_of(0, 1, 50), "b": sample_of(0, 2, 5)})
    found = balanced(sample, 500, np.random.default_rng(0))
    rows = {name: sum(found.domains[int(d)] == name for d in found.document) for name in "ab"}
    whole = sum(sample.domains[int(d)] == "b" for d in sample.document)
    assert rows["b"] == whole
    assert 400 < rows["a"] <= 500
    assert len({int(d) for d in found.document if found.domains[int(d)] == "a"}) == 50


def test_what_is_written(planted):
    lines = losses_table(planted).splitlines()
    assert len(lines) == 2 + 2 * 3
    own = loss_of(planted, "layer-1", "a").own.value
    assert f"| layer-1 | a | {own:.3f} (" in lines[5]
    row = matrix_table(planted, "layer-1").splitlines()[2]
    assert row.startswith(f"| a | {own:.3f} | ")
    terms = effects_table(planted.effects).splitlines()
    assert terms[0] == "| term | against | popularity | layer-1 |"
    assert [line.split(" | ")[0] for line in terms[2:]][1:3] == ["| domain b", "| domain c"]
    assert "50 groups of documents" in data_in_words(planted)
    lost = sorted(-loss_of(planted, "layer-1", domain).difference.value for domain in "abc")
    words = conclusion_of("X", planted)
    assert " of 6 cases" in words
    assert f"`layer-1` loses {lost[0]:.3f} to {lost[2]:.3f} and keeps " in words


def test_the_committed_losses_are_those_of_the_committed_matrices():
    text = (output.RESULTS / "effect_of_data_set.md").read_text()
    checked = 0
    for part in text.split("\n## ")[1:3]:
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        start = next(at for at, cells in enumerate(lines) if cells[0].startswith("fitted to \\"))
        domains = lines[start][1:]
        matrix = np.array([cells[1:] for cells in lines[start + 2 : start + 2 + len(domains)]], float)
        for place, domain in enumerate(domains):
            last = [cells for cells in lines[:start] if len(cells) == 7 and cells[1] == domain][-1]
            own, elsewhere, difference = (float(cell.split(" ")[0]) for cell in last[2:5])
            column = matrix[:, place]
            assert own == column[place]
            assert elsewhere == pytest.approx(np.delete(column, place).mean(), abs=1.1e-3)
            assert difference == pytest.approx(elsewhere - own, abs=1.1e-3)
            checked += 1
    assert checked == 9
