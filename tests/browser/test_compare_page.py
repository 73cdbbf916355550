"""The page of a comparison in a browser: it fits, is whole, prints no errors, and requests nothing from the network."""

import numpy as np
import pytest

from routestat.cli.runner import run
from routestat.compare import app
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.synthetic import clustered
from routestat.traces.writer import TraceWriter
from tests.browser.test_page import LOAD_ALL, STICKING_OUT

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two traces of the same texts in other words, with text that would do harm as HTML."""
    folder = tmp_path_factory.mktemp("compare")
    for seed, name in enumerate("ab"):
        made = clustered(
            rng=np.random.default_rng(seed),
            n_experts=8,
            top_k=2,
            layers=12,
            documents=40,
            mean_length=40,
            topic_concentration=20.0,
        )
        meta = TraceMeta(
            routers_like(made.layers, 8, 2),
            name="anamewithoutanyplacetobreak" * 6,
            model="<script>document.title = 'broken'</script>",
            dataset="aDatasetWithoutAnyPlaceToBreak" * 6,
        )
        with TraceWriter(folder / name, meta) as writer:
            writer.write(made.document, states=made.states, token=np.arange(len(made.document)))
    assert (
        run(app, "routestat compare", [str(folder / "a"), str(folder / "b"), "--out", str(folder / "r")]) == 0
    )
    return folder / "r" / "index.html"


@pytest.mark.parametrize("width", [1400, 390])
def test_page_fits_is_whole_and_quiet(tab, page, width):
    tab.open(page, width)
    pictures = tab.evaluate(LOAD_ALL)
    assert {src for src, _ in pictures} == {
        f"figures/{path.name}" for path in (page.parent / "figures").iterdir()
    }
    assert len(pictures) == 4
    assert [src for src, natural in pictures if not natural] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(STICKING_OUT) == []
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert [url for url in requested if not url.startswith(page.parent.as_uri())] == []
    assert tab.named("Log.entryAdded") == []
    assert tab.named("Runtime.exceptionThrown") == []
    assert tab.evaluate("document.title").startswith("a against b")
    assert tab.evaluate("document.scripts.length") == 0
    links = tab.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    assert links is True
