"""A table that is better from a planted distance on; scores of two boards by hand."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from analyses import output
from analyses.table_against_gate import (
    FEWER_FOLDS,
    SHOWN,
    board_of,
    by_horizon,
    differences_table,
    fewer_table,
    first_in_words,
    on_shared_targets,
    scores_table,
)
from routestat.counting.score_sums import SUMS, Cells
from routestat.forecast.gate_horizons import first_horizon_beaten
from routestat.forecast.scores import PredictionScore
from tests.forecast.gate_traces import make_trace

GROUPS = 10


def score(predictor, router, horizon, recall):
    """A score with this recall in every group of 20 tokens; the exact set half as often."""
    sums = np.zeros((GROUPS, len(SUMS) + 3))
    sums[:, 0] = 20
    sums[:, len(SUMS)] = 20 * recall
    sums[:, SUMS.index("exact_set")] = 20 * recall / 2
    cells = Cells.of_groups(GROUPS)
    return PredictionScore(predictor, 0, int(router[1:]), horizon, sums, cells, router=router, top_k=1)


def board(gate=(0.9, 0.6, 0.5), table=0.7):
    """Three distances; the target L03 has all of them, L01 and L02 the near ones."""
    found = []
    for target in (1, 2, 3):
        router = f"L{target:02d}"
        found.append(score("token-id", router, 0, table))
        found += [score("gate", router, n, recall) for n, recall in enumerate(gate[:target], 1)]
    return found


def test_distances_are_compared_on_the_targets_that_have_all_of_them():
    kept = on_shared_targets(board())
    assert {one.router for one in kept} == {"L03"}
    assert sorted(one.horizon for one in kept) == [0, 1, 2, 3]
    pooled = by_horizon(kept)
    assert {n: by["gate"].n_tokens for n, by in pooled.items()} == {1: 200, 2: 200, 3: 200}
    assert scores_table(pooled, "recall_at_k").splitlines()[2:] == [
        "| token-id | 0.700 | 0.700 | 0.700 |",
        "| gate | 0.900 | 0.600 | 0.500 |",
    ]
    assert "| gate | 0.450 | 0.300 | 0.250 |" in scores_table(pooled, "exact_set")


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ((0.9, 0.6, 0.5), "from 2 on"),
        ((0.6, 0.6, 0.5), "from 1 on"),
        # Better at 2 only: farther ahead the gate is better again.
        ((0.9, 0.6, 0.8), "at no distance"),
        ((0.9, 0.8, 0.7), "at no distance"),
    ],
)
def test_from_which_distance_on(gate, words):
    found = first_horizon_beaten(on_shared_targets(board(gate)), "token-id")
    assert first_in_words(found) == words


def test_differences_have_their_sign():
    found = first_horizon_beaten(on_shared_targets(board()), "token-id")
    assert differences_table([found], (1, 3)).splitlines()[2] == (
        "| token-id | recall@2 | from 2 on | -0.200 (-0.200 … -0.200) | +0.200 (+0.200 … +0.200) |"
    )


def test_the_same_predictor_fitted_to_fewer_documents_stands_below():
    gate = [score("gate", "L09", n, 0.7) for n in SHOWN]
    more, fewer = ([*gate, *(score("x", "L09", n, recall) for n in SHOWN)] for recall in (0.8, 0.6))
    lines = fewer_table(more, fewer, "x").splitlines()[2:]
    assert lines[0].startswith("| nine tenths | 0.800 (0.800 … 0.800) |")
    assert lines[0].endswith("| from 1 on |")
    assert lines[1].startswith("| two thirds | 0.600 (0.600 … 0.600) |")
    assert lines[1].endswith("| at no distance |")


def test_a_planted_gate_is_beaten_by_token_ids_where_it_is_mostly_wrong():
    ahead = {(0, 1): 0.95, (1, 1): 0.95, (0, 2): 0.05}
    trace = make_trace((0, 1, 2), ahead, documents=30, length=40, ids=5)
    found = board_of(trace, (1, 2), ("token-id", "gate"), FEWER_FOLDS)
    kept = on_shared_targets(found)
    assert {one.router for one in kept} == {"L02"}
    assert first_horizon_beaten(kept, "token-id").first == 2


def test_the_committed_result_agrees_with_the_description_of_the_trace():
    """Eight layers ahead the targets are those of the trace's own table, which was counted without a board."""
    text = (output.RESULTS / "table_against_gate.md").read_text()
    assert "24,186 of 24,266 tokens" in " ".join(text.split())
    stated = (output.TRACES / "tiny-mixtral-lookahead" / "README.md").read_text()
    for row, part in (("recall@2", 1), ("exact pair", 2)):
        own = next(line for line in stated.splitlines() if line.startswith(f"| {row} |"))
        found = next(line for line in text.split("\n## ")[part].splitlines() if line.startswith("| gate |"))
        assert float(found.split(" | ")[8].rstrip(" |")) == float(own.split(" | ")[8].rstrip(" |"))
    ET.fromstring((output.RESULTS / "table_against_gate.svg").read_text())
