"""The page of a simulation: every number as in results.json, every text escaped, every link there."""

import json
from html import escape

import pytest

from routestat.report.html.simulation import write_simulation
from routestat.report.simulation_sentences import answers
from routestat.serving.settings import Hardware
from tests.report.conftest import Page
from tests.report.simulation_cases import (
    HOSTILE,
    empty,
    hostile,
    one_document,
    simulation,
    with_model,
    with_phases,
)

CASES = {
    "model": with_model,
    "no machine": lambda: simulation(hardware=Hardware()),
    "one document": one_document,
    "phases": lambda: with_phases(capacities=(2, 4)),
    "hostile": hostile,
    "empty": empty,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The findings, the folder, the text and the pieces of each page, written once."""
    done = {}

    def get(name):
        if name not in done:
            findings, folder = CASES[name](), tmp_path_factory.mktemp("page")
            ticks = []
            page = write_simulation(findings, folder, lambda *step: ticks.append(step))
            assert ticks[-1][1] == ticks[-1][2]
            text = page.read_text(encoding="utf-8")
            done[name] = findings, folder, text, Page(text)
        return done[name]

    return get


@pytest.mark.parametrize("name", CASES)
def test_every_link_and_picture_is_there(written, name):
    _, folder, text, page = written(name)
    files = [one["src"] for one in page.all("img")]
    links = [one["href"] for one in page.all("a")]
    for file in (*files, *(link for link in links if not link.startswith("#"))):
        assert (folder / file).is_file(), file
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert not page.all("script")
    assert sorted(f"figures/{path.name}" for path in (folder / "figures").iterdir()) == sorted(files)
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize("name", CASES)
def test_every_answer_is_on_the_page(written, name):
    findings, _, text, _ = written(name)
    for one in answers(findings):
        assert escape(one.text, quote=False) in text.replace("&#39;", "'").replace("&#34;", '"')
    assert "nan" not in text.lower().replace("nano", "")


def test_text_of_the_trace_is_escaped(written):
    _, _, text, page = written("hostile")
    assert HOSTILE not in text
    assert page.text.count(HOSTILE) >= 3


def test_tables_hold_the_numbers_of_the_record(written):
    _, folder, _, page = written("model")
    record = json.loads((folder / "results.json").read_text())
    rows = page.table("main")
    expected = [
        row
        for row in record["simulation"]
        if not row["lookahead"] and (row["policy"] == "none" or row["capacity"] == 4)
    ]
    assert len(rows) == len(expected) == 8
    exact = [[float(value) for value, _ in row.numbers] for row in rows]
    for numbers, row in zip(exact, expected, strict=True):
        assert numbers[0] == row["accesses"]
        for key in ("hit_rate", "loads_per_token", "bytes_per_token", "stall_seconds_per_token"):
            assert row[key] in numbers
    for name, part in (("hot_sets", 6), ("working_sets", 8), ("recoverable_gap", 4), ("prefetching", 20)):
        assert len(page.table(name)) == part, name
    assert len(page.table("capacity_plan")) == len(record["capacity_plan"]["sizes"])
    assert len(page.table("model_parts")) == len(record["model"]["parts"])


def test_numbers_are_labelled_and_the_overlap_model_is_in_words(written):
    _, _, text, page = written("model")
    for kind in ("measured", "simulated", "estimated"):
        assert f"({kind})" in page.text
    assert "Overlap model." in page.text
    assert "the wait is the stall" in text
    assert "One expert takes 14.1 ms" in page.text


def test_what_is_missing_is_said(written):
    _, _, _, page = written("no machine")
    assert "give --bandwidth" in page.text
    assert "–: nothing is prefetched" not in page.text
    _, _, _, page = written("one document")
    assert "no interval: 1 independent unit" in page.text
    assert "its hit rate is too high" not in page.text
    _, _, _, page = written("empty")
    assert "Nothing could be simulated" in page.text
    assert page.all("img") == []


def test_phases_are_apart_where_the_trace_has_both(written):
    _, _, _, page = written("phases")
    assert {row.cells[1] for row in page.table("phases")} == {"prefill", "decode"}
    _, _, _, page = written("model")
    assert page.table("phases") == []


def test_a_second_simulation_replaces_the_first(tmp_path):
    write_simulation(simulation(capacities=(4,)), tmp_path)
    assert list((tmp_path / "figures").iterdir())
    write_simulation(empty(), tmp_path)
    assert list((tmp_path / "figures").iterdir()) == []
