"""Statistics of pairs of layers: one row of the table, and each output shows it."""

import csv
import json
from dataclasses import replace

import pytest

from routestat.report.html.study import write_report
from routestat.report.records import layer_pairs
from routestat.report.records.layer_pairs import layer_pair_record
from routestat.report.records.pair_statistic import Column, PairStatistic
from routestat.report.terminal.study import summarise

#: A statistic that no output knows: the share of the table's largest cell.
SCRATCH = PairStatistic(
    "largest_cell",
    lambda pair: pair.table.max() / pair.table.sum(),
    limits=lambda pair: (0.0, float(pair.table.max())),
    cautions=lambda pair: ("a scratch caution",),
    words="A scratch sentence.",
    page=(Column("largest cell", 11),),
    terminal=Column("largest", 5),
)


@pytest.mark.parametrize("table", ["DEPENDENCE", "PARTS"])
def test_a_new_row_is_in_every_output(reports, tmp_path, monkeypatch, capsys, table):
    study = reports("states").study
    before = layer_pair_record(study.pairs[0])
    scratch = replace(SCRATCH, page=(Column("largest cell", 11, table.lower()),))
    monkeypatch.setattr(layer_pairs, table, (*getattr(layer_pairs, table), scratch))
    page = write_report(study, tmp_path)
    summarise(study, page)
    terminal, html = capsys.readouterr().out, page.read_text()
    records = json.loads((tmp_path / "results.json").read_text())["dependence"]
    rows = list(csv.DictReader((tmp_path / "tables" / "dependence.csv").open()))
    for pair, record, row in zip(study.pairs, records, rows, strict=True):
        value = float(pair.table.max() / pair.table.sum())
        assert record["largest_cell"] == float(row["largest_cell"]) == value
        assert record["largest_cell_ci95"] == [0.0, float(pair.table.max())]
        assert f'<data value="{value!r}">' in html
    assert [key for key in records[0] if key not in before] == ["largest_cell", "largest_cell_ci95"]
    assert "largest cell</th>" in html
    assert "A scratch sentence." in html
    assert "a scratch caution" in html
    assert "largest" in terminal
    assert "a scratch caution" in terminal


def test_keys_are_unique_and_those_of_the_other_view_are_absent(reports):
    keys = [one.key for one in (*layer_pairs.DEPENDENCE, *layer_pairs.PARTS)]
    assert len(set(keys)) == len(keys)
    wide = layer_pair_record(reports("experts").study.pairs[0])
    narrow = layer_pair_record(reports("states").study.pairs[0])
    only = {one.key for one in layer_pairs.DEPENDENCE if one.states_only}
    assert not only & set(wide)
    assert only <= set(narrow)
