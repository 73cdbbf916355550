"""The page of a simulation in a browser: it fits, is whole, prints no errors, and requests nothing from the network."""

from dataclasses import replace

import pytest

from routestat.report.html.simulation import write_simulation
from tests.browser.test_page import LOAD_ALL, STICKING_OUT
from tests.report.simulation_cases import with_model, with_phases

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Everything that a page can have, with text that would do harm as HTML."""
    found = with_model(scopes=("layer", "pool"), layers=40, capacities=(2, 4, 8))
    meta = replace(
        found.meta,
        name="anamewithoutanyplacetobreak" * 6,
        model="<script>document.title = 'broken'</script>",
        dataset='<img src="http://127.0.0.1:9/x.png" onerror="document.title = 1">',
    )
    apart = with_phases(capacities=(2, 4)).caches
    caches = found.caches + tuple(one for one in apart if one.phase != "all")
    findings = replace(found, meta=meta, caches=caches, folder="aFolderWithoutAnyPlaceToBreak" * 6)
    return write_simulation(findings, tmp_path_factory.mktemp("simulate"))


@pytest.mark.parametrize("width", [1400, 1200, 360])
def test_page_fits_is_whole_and_quiet(tab, page, width):
    tab.open(page, width)
    pictures = tab.evaluate(LOAD_ALL)
    assert {src for src, _ in pictures} == {
        f"figures/{path.name}" for path in (page.parent / "figures").iterdir()
    }
    assert len(pictures) == 6
    assert [src for src, natural in pictures if not natural] == []
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(STICKING_OUT) == []
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if not url.startswith(page.parent.as_uri())] == []
    assert tab.named("Log.entryAdded") == []
    assert tab.named("Runtime.exceptionThrown") == []
    assert tab.evaluate("document.title").startswith("anamewithout")
    assert tab.evaluate("document.scripts.length") == 0
    assert (
        tab.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
        is True
    )


def test_the_answers_are_on_the_first_screen(tab, page):
    tab.open(page, 1400)
    assert tab.evaluate("document.querySelectorAll('#short li').length") == 7
    assert (
        tab.evaluate("document.querySelector('#short li').getBoundingClientRect().top < innerHeight") is True
    )
    assert tab.evaluate("[...document.querySelectorAll('details')].filter(box => box.open).length") == 0
