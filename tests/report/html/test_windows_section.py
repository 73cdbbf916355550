"""The section on windows states whether any is real, and escapes what it shows."""

import re

import pytest

from routestat.report.html.page import Picture, page_environment
from routestat.report.html.windows import windows_section
from routestat.traces.metadata import routers_like

ROUTERS = routers_like(range(5), 8, 2)
TESTED = {
    "n_tested": 40,
    "n_found": 2,
    "n_listed": 1,
    "orders": [1, 1, 2, 1],
    "least_tokens": 20,
    "least_documents": 6,
    "n_choosing_tokens": 900,
    "n_choosing_documents": 30,
    "n_tokens": 1800,
    "n_documents": 60,
    "n_groups": 60,
    "share_of_tokens": 0.125,
    "share_of_tokens_ci95": [0.1, 0.15],
    "by_length": [{"n_layers": 3, "n_tested": 40, "n_found": 2, "n_listed": 1}],
    "note": "",
}
WINDOW = {
    "layers": [1, 2, 3],
    "routers": ["L01", "L02", "L03"],
    "states": [0, 27, 3],
    "count": 80,
    "n_documents": 33,
    "expected": 20.0,
    "ratio": 4.0,
    "ratio_ci95": [3.0, 5.0],
    "z": 6.0,
    "log10_p": -9.0,
    "log10_q": -7.0,
    "shown": True,
}


def text_of(tested, windows):
    record = {"windows_tested": tested, "windows": windows}
    page = (
        page_environment()
        .get_template("windows.html")
        .render(
            record=record,
            windows=windows_section(record, ROUTERS, "subset"),
            expert=False,
            noun="pair",
            pictures={"windows": Picture(reason="There is no window to draw.")},
        )
    )
    return " ".join(re.sub(r"<[^>]+>", " ", page).split()), page


def test_it_begins_with_how_many_are_real():
    text, page = text_of(TESTED, [WINDOW, WINDOW | {"shown": False}])
    assert "2 of the 40 windows that were tested are more frequent than a chain" in text
    assert "a chain of order 1 (order 2 in 1 of 4 steps) explains" in text
    assert "1 of them is not part of a longer one. 12.5 % of the tokens take at least one" in text
    assert "0,1 → 6,7 → 0,4" in text
    assert page.count('data-table="windows"') == 1


def test_none_is_one_sentence():
    text, page = text_of(TESTED | {"n_found": 0, "n_listed": 0}, [])
    assert "None of the 40 windows that were tested is more frequent than a chain" in text
    assert 'data-table="windows"' not in page


@pytest.mark.parametrize("why", ["2 layers: a window has 3 to 8", "<b>5</b> units"])
def test_what_could_not_be_tested_has_its_reason(why):
    _, page = text_of(TESTED | {"n_tested": 0, "n_found": 0, "by_length": [], "reason": why}, [])
    assert why.replace("<", "&lt;").replace(">", "&gt;") in page
