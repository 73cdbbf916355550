"""What place prints."""

from pathlib import Path

from routestat.report.placement_sentences import pins_sentence
from routestat.report.records.placement import results
from routestat.report.records.plain import plain
from routestat.report.terminal.placement import summarise
from tests.report.placement_cases import exported, findings


def printed(capsys, **case):
    found = findings(**case)
    record = plain(results(found, exported(found)))
    summarise(record, Path("reports/place/index.html"))
    return capsys.readouterr().out, record


def test_gains_files_and_pins_are_printed_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said, record = printed(capsys, nodes=2)
    lines = said.splitlines()
    assert len(lines) <= 45
    above = lines[: lines.index("Files")]
    assert max(map(len, above)) <= 80
    joined = " ".join(said.split())
    assert "0.300 0.290 … 0.310" in joined
    assert "balance: It is better than the default order." in joined
    assert pins_sentence(record["pins"]) in joined
    for row in record["exports"]:
        assert all(path in said for path in row["files"])
    assert "vllm (experimental): " in said
    assert "Report reports/place/index.html" in said


def test_reasons_stand_where_there_is_no_interval_or_no_file(capsys):
    said, _ = printed(capsys, pins=False, reach=None)
    joined = " ".join(said.split())
    assert "Whether that is chance could not be tested." in joined
    assert "–: 3 independent units: no test or interval below 6" in joined
    assert (
        "not written: llama.cpp, pins: expected the number of experts that fit, got none; name it by --pin"
        in joined
    )
    assert "Pins:" not in said


def test_what_loads_alone_keep_is_printed_where_it_is_known(capsys):
    found = findings()
    record = plain(results(found, exported(found)))
    assert "busy experts" not in printed(capsys)[0]
    row = next(row for row in record["placements"] if row["objective"] == "affinity")
    row |= {"device_affinity_default_by_loads": 0.25, "device_affinity_placed_by_loads": 0.35}
    summarise(record, Path("index.html"))
    assert "0.350 would stay (0.250 in the default order): busy experts share a device." in " ".join(
        capsys.readouterr().out.split()
    )


def test_markup_of_a_trace_is_printed_as_it_is(capsys):
    found = findings()
    record = plain(results(found, ()))
    record["trace"]["folder"] = "[red]mine[/red]"
    summarise(record, Path("x"))
    assert "[red]mine[/red]" in capsys.readouterr().out
