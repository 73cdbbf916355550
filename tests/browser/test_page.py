"""The report in a browser: it fits, is whole, prints no errors, and requests nothing from the network."""

import json

import pytest

pytestmark = pytest.mark.browser

WIDTHS = (1400, 700, 390)
VIEWS = ("states", "experts", "one layer")
LOAD_ALL = """
(async () => {
  for (const box of document.querySelectorAll('details')) box.open = true;
  const pictures = [...document.images];
  for (const picture of pictures) { picture.loading = 'eager'; await picture.decode().catch(() => {}); }
  return pictures.map(picture => [picture.getAttribute('src'), picture.naturalWidth]);
})()
"""
# Boxes that stick out of the window without a box around them that scrolls.
STICKING_OUT = """
[...document.body.querySelectorAll('*')].filter(part => {
  const box = part.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1) && !part.parentElement.closest('.scroll');
}).map(part => part.outerHTML.slice(0, 80))
"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("view", VIEWS)
def test_page_fits_is_whole_and_quiet(tab, page_of, view, width):
    page = page_of(view)
    tab.open(page, width)
    pictures = tab.evaluate(LOAD_ALL)
    assert {src for src, _ in pictures} == {
        f"figures/{path.name}" for path in (page.parent / "figures").iterdir()
    }
    assert [src for src, natural in pictures if not natural] == []
    assert tab.evaluate("innerWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(STICKING_OUT) == []
    requested = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
    assert requested[0] == page.as_uri()
    own = (page.parent.as_uri(), "data:image/png;base64,")
    assert [url for url in requested if not url.startswith(own)] == []
    assert tab.named("Log.entryAdded") == []
    assert tab.named("Runtime.consoleAPICalled") == []
    assert tab.named("Runtime.exceptionThrown") == []


@pytest.mark.parametrize("view", VIEWS)
def test_transitions_are_drawn_in_the_page(tab, page_of, view):
    tab.open(page_of(view), 1400)
    tab.evaluate(LOAD_ALL)
    transitions = tab.evaluate("document.querySelectorAll('#transitions details').length")
    assert transitions == {"states": 11, "experts": 3, "one layer": 0}[view]
    widths = tab.evaluate("""
      Promise.all([...document.querySelectorAll('svg.cells image')].map(async cells => {
        const picture = new Image();
        picture.src = cells.getAttribute('href');
        await picture.decode();
        return [picture.naturalWidth, cells.getBoundingClientRect().width, getComputedStyle(cells).imageRendering];
      }))
    """)
    # Two heatmaps and a colour key each; the second heatmap shows the key and the names of the first again.
    n_states = {"states": 28, "experts": 16, "one layer": 0}[view]
    assert sorted({natural for natural, *_ in widths}) == ([1, n_states] if n_states else [])
    assert len(widths) == 3 * transitions
    for natural, shown, rendering in widths:
        assert rendering == "pixelated"
        assert shown / natural == pytest.approx(round(shown / natural))
    again = tab.evaluate(
        "[...document.querySelectorAll('svg.cells use')].map(u => u.getBoundingClientRect().width)"
    )
    assert len(again) == 3 * transitions
    assert all(again)
    small = tab.evaluate("""
      [...document.querySelectorAll('svg.cells text')]
        .filter(text => parseFloat(getComputedStyle(text).fontSize) < 10.6).length
    """)
    assert small == 0


def test_text_of_the_trace_does_nothing(tab, page_of):
    tab.open(page_of("states"), 1400)
    assert tab.evaluate("document.title").startswith("anamewithout")
    assert tab.evaluate("[...document.scripts].map(script => script.id)") == ["curve-data", ""]
    assert tab.evaluate("document.querySelectorAll('dd img, dd script').length") == 0
    assert "<script>document.title" in tab.evaluate("document.body.innerText")


def test_policy_stops_scripts_styles_and_strangers(tab, page_of):
    tab.open(page_of("one layer"), 1400)
    tab.evaluate("""
      (async () => {
        const script = document.createElement('script'); script.textContent = 'window.ran = true';
        document.body.append(script);
        const style = document.createElement('style'); style.textContent = 'body { color: rgb(1, 2, 3) }';
        document.head.append(style);
        const picture = new Image(); picture.src = 'http://127.0.0.1:9/x.png'; document.body.append(picture);
        await picture.decode().catch(() => {});
      })()
    """)
    assert tab.evaluate("window.ran === undefined")
    assert tab.evaluate("getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    refused = json.dumps(tab.named("Log.entryAdded"))
    assert refused.count("Content Security Policy") >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes(tab, page_of, scheme):
    tab.open(page_of("one layer"), 1400, prefers_color_scheme=scheme)
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert tab.evaluate(
        "getComputedStyle(document.querySelector('figure:not(.live) .scroll')).backgroundColor"
    ) == ("rgb(255, 255, 255)")


def test_wide_parts_scroll_by_keyboard_on_a_phone(tab, page_of):
    tab.open(page_of("states"), 390)
    box = "document.querySelector('#paths .scroll')"
    assert tab.evaluate(f"{box}.scrollWidth > {box}.clientWidth")
    tab.evaluate(f"{box}.focus()")
    assert tab.evaluate(f"document.activeElement === {box}")
    for kind in ("keyDown", "keyUp"):
        tab.send(
            "Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39
        )
    moved = f"new Promise(done => setTimeout(() => done({box}.scrollLeft), 500))"
    assert tab.evaluate(moved) > 0


def test_print_leaves_nothing_cut_off(tab, page_of):
    tab.open(page_of("states"), 760)
    tab.evaluate(LOAD_ALL)
    tab.send("Emulation.setEmulatedMedia", media="print")
    try:
        pictures = """
          [...document.querySelectorAll('img, svg.cells')]
            .filter(picture => picture.getBoundingClientRect().right > innerWidth).length
        """
        assert tab.evaluate(pictures) == 0
        assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    finally:
        tab.send("Emulation.setEmulatedMedia", media="")
