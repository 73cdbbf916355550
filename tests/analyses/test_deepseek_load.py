"""The published loads, recomputed; the selection rule by hand."""

import numpy as np
import pytest

from analyses import deepseek_load, output
from analyses.deepseek_load import compare, halves_agree, selected


@pytest.mark.parametrize(
    ("share", "least", "experts"),
    [
        ([0.1, 0.5, 0.4], 0.2, {1}),
        ([0.1, 0.5, 0.4], 0.5, {1}),
        ([0.1, 0.5, 0.4], 0.51, {1, 2}),
        ([0.25, 0.25, 0.25, 0.25], 0.5, {0, 1}),
    ],
)
def test_as_few_experts_as_hold_the_share_are_selected(share, least, experts):
    assert selected(np.array(share), least) == experts


def test_equal_documents_select_the_same_experts_and_unequal_ones_do_not():
    rng = np.random.default_rng(0)
    equal = np.tile(np.array([[[7, 2, 1]]]), (6, 1, 1))
    assert halves_agree(equal, rng) == 1.0
    apart = np.array([[[10, 0]], [[0, 10]]])
    assert halves_agree(apart, rng) == 0.0


def test_a_share_that_differs_by_more_than_rounding_is_counted():
    loads = np.tile(np.array([[[6, 3, 1]]]), (8, 1, 1))
    tokens = np.full(8, 10)
    rng = np.random.default_rng(0)
    rounded = compare("x", loads, tokens, np.array([[0.60004, 0.3, 0.1]]), 1, rng)
    assert (rounded.documents, rounded.tokens, rounded.beyond) == (8, 80, 0)
    wrong = compare("x", loads, tokens, np.array([[0.6002, 0.3, 0.1]]), 1, rng)
    assert wrong.beyond == 1
    assert wrong.largest == pytest.approx(0.0002)


def test_the_committed_result_is_what_the_analysis_writes(tmp_path, monkeypatch, capsys):
    """All 6,656 published shares agree to rounding."""
    committed = (output.RESULTS / "deepseek_load.md").read_text()
    monkeypatch.setattr(output, "RESULTS", tmp_path)
    monkeypatch.setattr(output, "ROOT", tmp_path)
    deepseek_load.main()
    assert (tmp_path / "deepseek_load.md").read_text() == committed
    assert "All 6,656 shares agree to rounding." in committed
    assert capsys.readouterr().out.endswith("written: deepseek_load.md\n")
