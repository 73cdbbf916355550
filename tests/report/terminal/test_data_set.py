"""What the terminal says about the data set: the numbers of the findings, and what was left out."""

from dataclasses import replace

import pytest
from rich.console import Console

from routestat.counting.board_rows import board_rows
from routestat.forecast.board import make_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.effect_of_data import effect_of_data
from routestat.forecast.specification import BoardPlan
from routestat.report.numbers import interval, number
from routestat.report.terminal.data_set import print_data_set
from routestat.study.board_findings import board_findings
from routestat.study.data_set import DataSetFindings, TrainingSet, data_set_findings
from routestat.study.domain_matrix import domain_matrix
from routestat.traces.metadata import TraceMeta
from tests.study.transfer_cases import joined_domains, sample_of

PLAN = BoardPlan(threads=1)
SPECS = [spec for spec in PREDICTORS if spec.name in ("popularity", "layer-1")]


def printed(found, capsys, best="layer-1"):
    print_data_set(Console(width=120, highlight=False), found, best)
    return " ".join(capsys.readouterr().out.split())


def findings_of(sample):
    rows = board_rows(sample, sample.routers)
    return board_findings(make_board(rows, "expert", PLAN, specs=SPECS), rows)


def test_a_transfer_has_its_numbers_and_its_notes(capsys):
    test, train = sample_of(0, 1), sample_of(1, 2)
    metas = [TraceMeta(test.routers, name=name, model=model) for name, model in (("A", "one"), ("B", "two"))]
    found = data_set_findings(
        metas[0], test, findings_of(test), test.routers, "expert", PLAN, TrainingSet(metas[1], train)
    )
    out = printed(found, capsys)
    (one,) = [one for one in found.transfer.scores if one.score.predictor == "layer-1"]
    recall, less = one.score.estimate("recall_at_k"), one.less_than_own("recall_at_k")
    cells = [
        number(recall.value),
        interval(recall.low, recall.high),
        number(less.value),
        interval(less.low, less.high),
    ]
    assert f"layer-1 {' '.join(cells)}" in out
    assert "Fitted to B, scored on A." in out
    # Experts of two models have nothing but their ids in common.
    assert "The models have different names, one and two" in out


def test_a_matrix_shows_the_best_predictor_it_has(capsys):
    sample = joined_domains({"a": sample_of(0, 1, 12, 20), "b": sample_of(1, 2, 12, 20)})
    matrix = domain_matrix(sample, sample.routers, "expert", PLAN, specs=SPECS)
    found = DataSetFindings(None, matrix, None)
    cells = [
        number(next(s for s in matrix.scores if (s.score.predictor, s.train, s.test) == ("layer-1", "a", test))
        .score.estimate("recall_at_k").value)
        for test in matrix.domains
    ]  # fmt: skip
    out = printed(found, capsys)
    assert "recall@k of layer-1" in out
    assert f" a {' '.join(cells)}" in out
    assert "recall@k of popularity" in printed(found, capsys, best="popularity")
    alone = joined_domains({"a": sample_of(0, 1, 12, 20)})
    none = replace(found, domains=domain_matrix(alone, alone.routers, "expert", PLAN, specs=SPECS))
    assert "Expected two domains" in printed(none, capsys)


def test_the_regression_is_a_table_with_intervals(capsys):
    sample = joined_domains({"a": sample_of(0, 1, 12, 20), "b": sample_of(1, 2, 12, 20)})
    scores = make_board(board_rows(sample, sample.routers), "expert", PLAN, specs=SPECS)
    effect = effect_of_data([one for one in scores if one.predictor == "layer-1"], sample.routers)
    out = printed(DataSetFindings(None, None, effect), capsys)
    for term in effect.terms:
        one = term.estimate
        assert f"{term.term} {number(one.value)} {interval(one.low, one.high)}" in out
    assert "phase is left out: there is one phase only." in out
    assert "nan" not in out


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_one_group_of_documents_has_no_regression(view, capsys):
    sample = sample_of(0, 1, 2, 20)
    scores = make_board(board_rows(sample, sample.routers), view, PLAN, specs=SPECS)
    effect = effect_of_data([one for one in scores if one.predictor == "popularity"], sample.routers)
    out = printed(DataSetFindings(None, None, effect), capsys)
    assert f"Not computed: {effect.reason}." in out
