"""The page of placements in a browser: it fits, is whole, and requests nothing from the network."""

import pytest

from routestat.report.html.placement import write_placement
from tests.browser.test_page import LOAD_ALL, STICKING_OUT
from tests.report.placement_cases import HOSTILE, exported, findings

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    found = findings(nodes=2, name="anamewithoutanyplacetobreak" * 6, model=HOSTILE)
    return write_placement(found, exported(found), tmp_path_factory.mktemp("placement"))[0]


@pytest.mark.parametrize("width", [1200, 360])
def test_page_fits_is_whole_and_quiet(tab, page, width):
    tab.open(page, width)
    pictures = tab.evaluate(LOAD_ALL)
    assert {src for src, _ in pictures} == {"figures/device_loads.png", "figures/affinity.png"}
    assert [src for src, natural in pictures if not natural] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(STICKING_OUT) == []
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if not url.startswith(page.parent.as_uri())] == []
    assert tab.named("Log.entryAdded") == []
    assert tab.named("Runtime.exceptionThrown") == []
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
