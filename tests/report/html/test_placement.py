"""The page of placements against its record."""

import html
import re

import pytest

from routestat.report.html.placement import write_placement
from tests.report.conftest import Page
from tests.report.placement_cases import HOSTILE, exported, findings


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("placement")
    found = findings(nodes=2, name=HOSTILE, model=HOSTILE)
    page, record = write_placement(found, exported(found), folder)
    return page, record


def test_sentences_notes_and_usage_are_on_the_page(written):
    page, record = written
    text = html.unescape(page.read_text())
    for words in (*record["reading"], *record["notes"], *(row["usage"] for row in record["exports"])):
        assert words in text
    for row in record["exports"]:
        for path in row["files"]:
            assert f'<a href="{path}">' in text
            assert (page.parent / path).is_file()
    assert "experimental" in text


def test_numbers_of_the_tables_equal_the_record(written):
    page, record = written
    found = {(row.attributes["data-objective"], row.attributes["data-figure"]): row
             for row in Page(page.read_text()).table("placements")}  # fmt: skip
    for row in record["placements"]:
        shown = [float(value) for value, _ in found[row["objective"], "balance"].numbers]
        assert shown[0] == row["balance_default"]
        assert row["balance_gain"] in shown
        assert [one for one in row["balance_gain_ci95"] if one not in shown] == []
    assert len(found) == 10


def test_tables_of_layers_are_folded(written):
    text = written[0].read_text()
    for name in ("layers", "transitions", "pinned"):
        at = text.index(f'data-table="{name}"')
        assert text.rfind("<details>", 0, at) > text.rfind("</details>", 0, at)


def test_text_of_the_trace_is_escaped(written):
    text = written[0].read_text()
    assert HOSTILE not in text
    assert html.escape(HOSTILE) in text
    assert not re.search(r"<script", text)


def test_what_was_not_written_has_its_reason(tmp_path):
    found = findings(pins=False)
    page, record = write_placement(found, exported(found), tmp_path)
    text = html.unescape(page.read_text())
    absent = [row for row in record["exports"] if not row["files"]]
    assert {row["export"] for row in absent} == {"llama.cpp", "pins"}
    for row in absent:
        assert row["reason"] in text
    assert 'id="pins"' not in text


def test_without_placements_there_are_only_pins(tmp_path):
    found = findings(objectives=())
    page, record = write_placement(found, exported(found), tmp_path)
    text = page.read_text()
    assert 'id="pins"' in text
    assert 'id="balance"' not in text
    assert record["placements"] == record["layers"] == record["transitions"] == []
    assert not (tmp_path / "figures" / "affinity.png").exists()
