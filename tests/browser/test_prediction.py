"""The picture of the predictors in a browser: what is drawn is the record, at every place of the sliders."""

import re

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.report.families import scheme
from routestat.report.html.curve_picture import BOTTOM, HEIGHT, TOP
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import planted_paths
from tests.browser.test_page import LOAD_ALL, STICKING_OUT
from tests.report.prediction_cases import write_full_report

pytestmark = pytest.mark.browser

LINES = """
Object.fromEntries([...document.querySelectorAll('#curves .curve')].map(curve =>
  [curve.dataset.predictor, curve.querySelector('.line').getAttribute('d')]))
"""
CELLS = """
Object.fromEntries([...document.querySelectorAll('#curve-table tbody tr')].map(row =>
  [row.dataset.predictor, ['at-k', 'at-2k', 'fetch'].map(name => row.querySelector('.' + name).textContent)]))
"""
SENTENCE = "document.getElementById('curve-sentence').textContent"
NUMBER = r"[ML]([\d.]+) ([\d.]+)"


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A page with a full board, and its record."""
    made = planted_paths(
        weight=0.5,
        rng=np.random.default_rng(2),
        n_experts=16,
        top_k=4,
        layers=6,
        documents=40,
        mean_length=30,
    )
    meta = TraceMeta(routers_like(made.layers, 16, 4), name="board")
    trace = Trace.from_arrays(meta, made.document, made.position, made.states)
    findings = study(trace, count(trace), None, np.random.default_rng(0), parts=("prediction",))
    return write_full_report(findings, tmp_path_factory.mktemp("board"))


def press(tab, name, key, times=1):
    """Press a key on a slider."""
    tab.evaluate(f"document.getElementById('curve-{name}').focus()")
    code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36}[key]
    for _ in range(times):
        for kind in ("keyDown", "keyUp"):
            tab.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def shares(path):
    down = np.array([float(y) for _, y in re.findall(NUMBER, path)])
    return (HEIGHT - BOTTOM - down) / (HEIGHT - BOTTOM - TOP)


def row_of(record, predictor, target, ahead):
    rows = [r for r in record["prediction_curves"] if (r["predictor"], r["target"]) == (predictor, target)]
    return next((row for row in rows if row["layers_ahead"] in (0, ahead)), None)


def test_the_script_begins_with_the_picture_of_the_page(tab, board):
    page, record = board
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(page, 1400)
        still = tab.evaluate(LINES)
        assert tab.evaluate("document.getElementById('curve-controls').getBoundingClientRect().height") == 0
        assert tab.evaluate("document.querySelector('#curve-table input').getBoundingClientRect().width") == 0
        cells, said = tab.evaluate(CELLS), tab.evaluate(SENTENCE)
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
    tab.open(page, 1400)
    live = tab.evaluate(LINES)
    assert set(live) == set(still) != set()
    for name, path in still.items():
        moved = np.array(re.findall(NUMBER, live[name]), float) - np.array(re.findall(NUMBER, path), float)
        assert np.abs(moved).max() <= 0.11
        mean = next(row for row in record["prediction_mean"] if row["predictor"] == name)
        np.testing.assert_allclose(shares(path), mean["found"], atol=8e-4)
    assert tab.evaluate("document.getElementById('curve-controls').getBoundingClientRect().height") > 0
    # Moved there and back, the script says what the page said.
    press(tab, "target", "ArrowRight")
    assert tab.evaluate(SENTENCE) != said
    press(tab, "target", "ArrowLeft")
    assert " ".join(tab.evaluate(SENTENCE).split()) == " ".join(said.split()).replace(" ,", ",")
    for name, (at_k, at_2k, fetch) in tab.evaluate(CELLS).items():
        assert fetch == cells[name][2]
        assert [float(at_k), float(at_2k)] == pytest.approx([float(one) for one in cells[name][:2]], abs=6e-4)


def test_sliders_move_to_every_layer_and_ahead(tab, board):
    page, record = board
    tab.open(page, 1400)
    layers = record["trace"]["layers"]
    press(tab, "target", "ArrowRight", 4)
    press(tab, "ahead", "ArrowRight", 1)
    target = layers[3]
    assert tab.evaluate("document.getElementById('curve-target-value').textContent") == f"layer {target}"
    assert (
        tab.evaluate("document.getElementById('curve-target').getAttribute('aria-valuetext')")
        == f"layer {target}"
    )
    assert tab.evaluate("document.getElementById('curve-ahead-value').textContent") == "2 layers"
    found, cells = tab.evaluate(LINES), tab.evaluate(CELLS)
    assert len(found) >= 4
    for name, path in found.items():
        np.testing.assert_allclose(shares(path), row_of(record, name, target, 2)["found"], atol=4e-4)
    for name, (at_k, _, fetch) in cells.items():
        row = row_of(record, name, target, 2)
        assert at_k == ("–" if row is None else f"{row['found'][0]:.3f}")
        if row is None:
            assert name not in found
            continue
        reached = [n for n, share in zip(row["fetched"], row["found"], strict=True) if share >= 0.9]
        assert fetch == (str(reached[0]) if reached else f"more than {row['fetched'][-1]}")
    label = tab.evaluate("document.getElementById('curves').getAttribute('aria-label')")
    assert f"layer {target}, 2 layers ahead" in label
    assert tab.evaluate(SENTENCE).startswith(f"Layer {target}, 2 layers ahead: to have 90 %")


def test_the_share_moves_the_line_the_table_and_the_sentence(tab, board):
    page, record = board
    tab.open(page, 1400)
    press(tab, "share", "ArrowLeft", 15)
    best = max(record["prediction_mean"], key=lambda row: row["recall_at_k"])
    fetch = next(n for n, f in zip(best["fetched"], best["found"], strict=True) if round(f, 3) >= 0.75)
    assert tab.evaluate("document.querySelector('#curves .limit').dataset.share") == "75"
    (_, y), *_ = re.findall(
        NUMBER, tab.evaluate("document.querySelector('#curves .limit').getAttribute('d')")
    )
    assert (HEIGHT - BOTTOM - float(y)) / (HEIGHT - BOTTOM - TOP) == pytest.approx(0.75, abs=2e-4)
    assert tab.evaluate(CELLS)[best["predictor"]][2] == str(fetch)
    assert (
        f"to have 75 % of the needed experts present, fetch {fetch} of 16 with {best['predictor']}"
        in tab.evaluate(SENTENCE)
    )
    assert tab.evaluate("document.querySelector('#curve-table .share').textContent") == "75 %"


def test_any_predictor_can_be_added_and_removed(tab, board):
    page, _ = board
    tab.open(page, 1400)
    before = set(tab.evaluate(LINES))
    assert "popularity" not in before
    tab.evaluate("document.querySelector('tr[data-predictor=\"popularity\"] input').click()")
    assert set(tab.evaluate(LINES)) == before | {"popularity"}
    tab.evaluate("document.querySelector('tr[data-predictor=\"popularity\"] input').click()")
    assert set(tab.evaluate(LINES)) == before


def test_print_has_the_mean(tab, board):
    page, _ = board
    tab.open(page, 760)
    mean = tab.evaluate(LINES)
    press(tab, "target", "ArrowRight", 3)
    moved = tab.evaluate(LINES)
    assert moved != mean
    tab.send("Emulation.setEmulatedMedia", media="print")
    try:
        printed = tab.evaluate(f"new Promise(done => setTimeout(() => done({LINES.strip()}), 300))")
        for name, path in mean.items():
            np.testing.assert_allclose(shares(printed[name]), shares(path), atol=1e-6)
        assert tab.evaluate("getComputedStyle(document.getElementById('curve-controls')).display") == "none"
    finally:
        tab.send("Emulation.setEmulatedMedia", media="")
    again = tab.evaluate(f"new Promise(done => setTimeout(() => done({LINES.strip()}), 300))")
    for name, path in moved.items():
        np.testing.assert_allclose(shares(again[name]), shares(path), atol=1e-6)


@pytest.mark.parametrize("width", [1400, 390])
def test_the_section_fits_and_is_quiet(tab, board, width):
    page, _ = board
    tab.open(page, width)
    tab.evaluate(LOAD_ALL)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(STICKING_OUT) == []
    assert tab.named("Log.entryAdded") == []
    assert tab.named("Runtime.exceptionThrown") == []
    assert tab.evaluate("document.getElementById('curves').getBoundingClientRect().right") <= width
    names = tab.evaluate("document.querySelectorAll('#curves .names text').length")
    assert (names > 0) == (width > 600)
    small = "[...document.querySelectorAll('.curves text')].filter(t => parseFloat(getComputedStyle(t).fontSize) < 12)"
    assert tab.evaluate(f"{small}.length") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_lines_have_the_colours_of_the_scheme(tab, board, dark):
    page, _ = board
    tab.open(page, 1400, prefers_color_scheme="dark" if dark else "light")
    colour = scheme(dark)["family-ridge"]
    wanted = f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"
    assert tab.evaluate("getComputedStyle(document.querySelector('.family-ridge .line')).stroke") == wanted
