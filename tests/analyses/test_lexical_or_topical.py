"""The tables of lexical or topical, and the committed result against the cheap half of it."""

import numpy as np
import pytest

from analyses import output
from analyses.lexical_or_topical import MMLU, measured, part_of, strongest
from analyses.questions import GROUPS, information, read_questions, slopes
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate


def test_an_estimate_is_divided_with_its_interval():
    one = part_of(Estimate(2.0, 1.0, 3.0, 0.5, 40), 4.0)
    assert (one.value, one.low, one.high, one.standard_error, one.n_groups) == (0.5, 0.25, 0.75, 0.125, 40)


def test_what_a_trace_does_not_allow_is_an_error():
    assert measured(3) == 3
    with pytest.raises(RoutestatError, match="token ids and domains"):
        measured(None)


class OneCell:
    """Cells `[subject, layer, expert]` of which one of each layer is clear."""

    log10_p = np.array([[[-1.0, -9.0]], [[-3.0, -2.0]]])
    z = log10_p
    share = np.array([[[0.1, 0.05]], [[0.2, 0.3]]])
    others = np.array([[[0.2, 0.15]], [[0.2, 0.3]]])
    error = np.full((2, 1, 2), 0.01)


class OnlyCells:
    """What the table of cells reads."""

    cells = OneCell()


def test_the_clearest_cell_of_a_layer_is_listed():
    lines = strongest(OnlyCells(), ["moral_scenarios", "law"]).splitlines()
    assert lines[2:] == ["| moral scenarios | 0 | 1 | 5.0 | 15.0 | 1.0 | -9 |"]


def test_the_committed_result_has_the_figures_of_the_counts():
    """Own-text shares again: the plug-in lies above the interval's middle, by its bias."""
    committed = (output.RESULTS / "lexical_or_topical.md").read_text()
    questions, _ = read_questions(MMLU)
    own = slopes(questions.counts.astype(float), questions.tokens.astype(float), questions.subject, 2)
    plugin = information(own.share)
    rows = [line.split(" | ") for line in committed.splitlines() if line.startswith("| ")]
    table = [row for row in rows if len(row) == 9 and row[0][2:].isdigit()]
    assert len(table) == 12
    for row in table:
        value = float(row[3].split()[0])
        assert 0.6 * plugin[int(row[0][2:])] < value < plugin[int(row[0][2:])]
    subject, expert = questions.names.index("moral_scenarios"), 1
    assert f"| moral scenarios | 16 | 1 | {100 * own.share[subject, 16, expert]:.1f} |" in committed
    assert f"over {GROUPS} groups of questions" in " ".join(committed.split())
