"""Specialisation in results.json, tables, picture and page: the findings' numbers, names with markup, nothing there."""

import csv
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from routestat.counting.counts import count
from routestat.report.figures.specialisation import specialisation as drawn
from routestat.report.html.study import write_report
from routestat.report.records.plain import plain
from routestat.report.records.specialisation import specialisation_records
from routestat.study.specialisation import SpecialisationFindings
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces import synthetic
from routestat.traces.token_texts import TokenTexts
from tests.report.conftest import HOSTILE, Page
from tests.structure.label_cases import planted

TEXT = "<b>&amp;"


def study_of_planted(with_ids: bool = True, with_domains: bool = True, hostile: bool = False) -> Any:
    made, _, texts = planted(
        4, topical=6.0, lexical=6.0, mixing=0.8, documents=120, mean_length=120, layers=2, document_effect=0.3
    )
    if hostile:
        texts = replace(texts, texts={one: text + TEXT for one, text in texts.texts.items()})
    if not with_ids:
        made = replace(made, token=np.full_like(made.token, -1))
    trace = synthetic.to_trace(made)
    if hostile or not with_domains:
        words = [f"{HOSTILE}{one} $x_2^$" for one in made.truth.planted["domain"].tolist()]
        place = trace.documents.column_names.index("domain")
        trace.documents = trace.documents.remove_column(place)
        if with_domains:
            trace.documents = trace.documents.append_column("domain", pa.array(words))
    found = study(
        trace, count(trace, threads=1), None, np.random.default_rng(0), parts=["specialisation"],
        structure=StructurePlan(token_texts=texts if with_ids else None), threads=1,
    )  # fmt: skip
    return made.truth.planted, found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    truth, found = study_of_planted(hostile=True)
    folder = tmp_path_factory.mktemp("specialisation")
    html = write_report(found, folder).read_text(encoding="utf-8")
    return truth, found.specialisation, folder, html, json.loads((folder / "results.json").read_text())


def test_records_hold_the_findings(report):
    truth, found, _, _, record = report
    assert len(record["specialisation"]) == 2
    first, item = record["specialisation"][0], found.layers[0]
    given = item.found.by_token.domain_given
    assert first["domain_bits_given_token"] == given.value
    assert first["domain_bits_given_token_ci95"] == [given.low, given.high]
    assert first["verdict"] == item.verdict
    assert first["token_bits"] + first["domain_bits_given_token"] == pytest.approx(
        first["token_and_domain_bits"]
    )
    assert first["log10_q_domain_given_token"] == item.log10_q_domain_given
    experts = record["specialisation_experts"]
    assert [(one["layer"], one["expert"]) for one in experts] == [(l, e) for l in (0, 1) for e in range(8)]
    topical = experts[truth["topical_expert"][0]]
    assert topical["domain"] == f"{HOSTILE}{truth['topical_domain'][0]} $x_2^$"
    assert topical["verdict"] in ("topical", "mostly topical")
    cell = record["specialisation_cells"][0]
    assert cell["lift"] == pytest.approx(cell["n_observed"] / cell["n_expected"])
    assert cell["lift_ci95"][0] < cell["lift"] < cell["lift_ci95"][1]
    assert record["specialisation_summary"]["n_cells"]["domain"] == 2 * 4 * 8
    assert record == plain(record)


def test_tables_and_page_show_what_was_found_and_escape_names(report):
    _, _, folder, html, record = report
    for name, rows in (("specialisation", 2), ("specialisation_experts", 16)):
        with (folder / "tables" / f"{name}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == rows
    page = Page(html)
    assert HOSTILE not in html
    assert TEXT not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;b&gt;&amp;amp;" in html
    assert [row.attributes["data-layer"] for row in page.table("specialisation")] == ["0", "1"]
    assert len(page.table("specialisation_cells")) == len(record["specialisation_cells"])
    assert record["specialisation_summary"]["reading"] in page.text
    assert (folder / "figures" / "specialisation.png").exists()
    for exact, _ in page.table("specialisation")[0].numbers:
        assert float(exact) in [x for x in _numbers(record["specialisation"][0])]


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for item in value.values() for x in _numbers(item)]
    if isinstance(value, list):
        return [x for item in value for x in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize(
    ("how", "sentence", "panels"),
    [
        ({}, "at one token id, the domain shares at most", 2),
        ({"with_domains": False}, "The documents have no two domains", 1),
        ({"with_ids": False}, "The trace has no token ids", 1),
    ],
)
def test_the_sentence_and_the_picture_are_of_what_is_there(how, sentence, panels, tmp_path):
    _, found = study_of_planted(**how)
    page = Page(write_report(found, tmp_path).read_text(encoding="utf-8"))
    assert sentence in page.text
    figure = drawn(found.specialisation, "subset")
    assert len(figure.axes) == panels
    bars = [bar for axes in figure.axes for bar in axes.patches]
    if how.get("with_ids", True):
        known = specialisation_records(found.specialisation)["specialisation"]
        stacked = sum(max(0.0, bar.get_height()) for bar in bars)
        expected = sum(
            max(0.0, row["token_bits"]) + max(0.0, row["domain_bits_given_token"] or 0.0) for row in known
        )
        assert stacked == pytest.approx(expected)


def test_nothing_there_is_one_sentence(tmp_path):
    _, found = study_of_planted(with_ids=False, with_domains=False)
    page = Page(write_report(found, tmp_path).read_text(encoding="utf-8"))
    why = "What experts specialise in was not measured: the trace has neither token ids nor documents of two or more"
    assert why in page.text
    assert isinstance(drawn(found.specialisation, "subset"), str)
    assert isinstance(drawn(SpecialisationFindings(reason="none"), "subset"), str)


def test_a_tokenizer_note_is_on_the_page(tmp_path):
    _, found = study_of_planted()
    doubtful = replace(found.specialisation, note="5,000 ids & none", texts=TokenTexts({}))
    page = write_report(replace(found, specialisation=doubtful), tmp_path).read_text(encoding="utf-8")
    assert "5,000 ids &amp; none" in page
