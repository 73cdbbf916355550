import json
from dataclasses import replace

import numpy as np
import pytest

from routestat.counting.board_rows import board_rows
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.effect_of_data import effect_of_data
from routestat.forecast.specification import BoardPlan
from routestat.report.records.plain import plain
from routestat.report.records.transfer import data_effect_records, domain_records, transfer_records
from routestat.study.domain_matrix import domain_matrix
from routestat.study.transfer import transfer
from tests.study.transfer_cases import joined_domains, sample_of

PLAN = BoardPlan(threads=1)
SPECS = [spec for spec in PREDICTORS if spec.name in ("popularity", "repeat-previous-token")]


def test_records_of_a_transfer():
    test, train = sample_of(0, 1), sample_of(1, 2)
    own = make_board(board_rows(test, test.routers), "expert", PLAN, specs=SPECS)
    found = transfer(test, train, "expert", PLAN, specs=SPECS, own=own, names=("A", "B"))
    first, second = plain(transfer_records(found.scores))
    assert list(first)[:6] == ["predictor", "train", "test", "held_out", "n_train_tokens", "n_tokens"]
    assert (first["train"], first["test"], first["held_out"]) == ("B", "A", False)
    score = found.scores[0]
    assert first["recall_at_k"] == score.score.estimate("recall_at_k").value
    difference = score.less_than_own("log_loss_bits")
    assert first["log_loss_more_than_own"] == difference.value
    assert first["log_loss_more_than_own_ci95"] == [difference.low, difference.high]
    assert second["predictor"] == "repeat-previous-token"
    assert second["log_loss_bits"] is None
    assert "no probabilities" in second["reason"]
    json.dumps([first, second], allow_nan=False)


def test_records_of_a_matrix():
    sample = joined_domains({"a": sample_of(0, 3), "b": sample_of(0, 4, 20), "c": sample_of(0, 5, 2)})
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS[:1])
    records = plain(transfer_records(matrix.scores))
    assert [(one["train"], one["test"]) for one in records] == [
        ("a", "a"),
        ("a", "b"),
        ("b", "a"),
        ("b", "b"),
    ]
    assert [one["held_out"] for one in records] == [True, False, False, True]
    assert "recall_less_than_own" not in records[0]
    assert records[1]["recall_less_than_own"] == pytest.approx(
        records[1]["recall_at_k"] - records[3]["recall_at_k"]
    )
    domains = plain(domain_records(matrix))
    assert [one["domain"] for one in domains] == ["a", "b", "c"]
    assert domains[0] == {"domain": "a", "n_tokens": int((sample.document < 40).sum()), "n_groups": 40}
    assert domains[2]["n_tokens"] is None
    assert "fewer than 3" in domains[2]["reason"]


def test_records_of_the_effect_of_the_data():
    sample = joined_domains({"a": sample_of(0, 6), "b": sample_of(1, 7, 20)})
    board = make_board(board_rows(sample, sample.routers), "expert", PLAN, specs=SPECS[:1])
    effects = [effect_of_data(board, sample.routers, score) for score in ("recall_at_k", "log_loss_bits")]
    records = plain(data_effect_records(effects))
    assert [one["term"] for one in records] == 2 * ["reference", "domain b", "depth", "depth, ends", "phase"]
    b = records[1]
    assert (b["predictor"], b["score"], b["reference"], b["n_groups"]) == (
        "popularity",
        "recall_at_k",
        "a",
        60,
    )
    term = effects[0].terms[1]
    assert (b["estimate"], b["log10_p"], b["dof"]) == (term.estimate.value, term.log10_p, term.dof)
    assert b["estimate_ci95"] == [term.estimate.low, term.estimate.high]
    assert records[0]["log10_p"] is None
    assert records[4] | {"estimate": None, "reason": "there is one phase only"} == records[4]
    few = [replace(one, sums=np.where((one.cells.group < 3)[:, None], one.sums, 0)) for one in board]
    (said, *_) = plain(data_effect_records([effect_of_data(few, sample.routers)]))
    assert said["term"] == "all"
    assert said["reason"].startswith("3 independent units")
