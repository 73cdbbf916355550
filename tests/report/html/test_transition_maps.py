"""Heatmaps in the page: the pixels are the cells, read back from the PNG; names, bars and keys are in place."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from routestat.report.html import transition_maps as maps
from routestat.report.html.cell_pictures import UNDEFINED, cell_picture
from routestat.report.names import FEW_TOKENS

HREF = "href"


def pixels(address):
    kind, content = address.split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def drawing(item, states):
    return ET.fromstring(str(maps.transition_map(item, states).svg))


def shades(address):
    """Places in the palette ``[row, column]``: 0 is undefined, 1 the least value."""
    return np.asarray(pixels(address))


def heatmaps(svg):
    return [image for image in svg.iter("image") if float(image.get("width")) > 20]


def test_a_picture_is_the_table_by_hand():
    address = cell_picture(np.array([[0.0, 0.25, 1.0], [np.nan, 1.0, 0.0]]), 1.0)
    # The square root of a quarter is half way up.
    assert shades(address).tolist() == [[1, 32, 63], [0, 63, 1]]
    colours = np.asarray(pixels(address).convert("RGB"))
    assert bytes(colours[1, 0]).hex() == UNDEFINED
    assert bytes(colours[0, 0]).hex() == "440154"
    assert bytes(colours[0, 2]).hex() == "fde725"


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3)])
def test_pictures_of_any_shape_and_of_nothing_but_zeros(shape):
    rng = np.random.default_rng(0)
    for values in (rng.random(shape) ** 3, np.zeros(shape)):
        found = shades(cell_picture(values, float(values.max())))
        assert found.shape == shape
        largest = values.max() or 1.0
        np.testing.assert_allclose(found, 1 + 62 * np.sqrt(values / largest), atol=0.51)


@pytest.mark.parametrize("name", ["states", "experts", "constant layer", "top 1"])
def test_heatmaps_hold_joint_and_conditional_probabilities(reports, name):
    study = reports(name).study
    item = study.pairs[0]
    svg = drawing(item, study.states)
    table, rows = item.table, item.table.sum(axis=1)
    used = rows > 0
    given = np.divide(table, rows[:, None], where=used[:, None], out=np.full(table.shape, np.nan))
    for image, values in zip(heatmaps(svg), (table / table.sum(), given), strict=True):
        found = shades(image.get(HREF)).astype(float)
        expected = 1 + 62 * np.sqrt(values / np.nanmax(values))
        assert (found[~used] == (0 if np.isnan(values).any() else 1)).all()
        np.testing.assert_allclose(found[used], expected[used], atol=0.51)
        assert float(image.get("width")) % table.shape[1] == float(image.get("height")) % table.shape[0] == 0


def test_bars_are_the_shares_of_the_sources_and_few_tokens_are_marked(reports):
    pair = reports("states").study.pairs[0]
    rows = np.random.default_rng(0).integers(0, 2 * FEW_TOKENS, 28)
    rows[[3, 7]] = 0, FEW_TOKENS
    few = rows < FEW_TOKENS
    table = np.zeros((28, 28), dtype=np.int64)
    table[:, 5] = rows
    svg = drawing(replace(pair, table=table, cells=None), "subset")
    lengths = {
        path.get("class"): [float(one) for one in re.findall(r"(?<=h)[\d.]+(?=v)", path.get("d"))]
        for path in svg.iter("path")
    }
    for kind, chosen in (("many", ~few), ("few", few & (rows > 0))):
        np.testing.assert_allclose(lengths[kind], 64 * rows[chosen] / rows.max(), rtol=0.01, atol=0.01)
    (run,) = (path.get("d") for path in svg.iter("path") if path.get("class") == "run")
    marked = sum(float(one) for one in re.findall(r"v([\d.]+)", run))
    assert marked == pytest.approx(float(heatmaps(svg)[0].get("height")) * few.mean(), rel=0.01)


def test_names_axes_and_keys(reports):
    study = reports("states").study
    svg = drawing(study.pairs[0], "subset")
    words = [
        text.text.replace("\u2009", "") for text in svg.iter() if text.tag in ("text", "tspan") and text.text
    ]
    for name in ("0,1", "6,7"):
        # Of the rows and of the columns; the second heatmap shows the same names again.
        assert words.count(name) == 2
    for said in ("joint P(i, j)", "conditional P(j | i)", "P(i)", "i: pair of layer 0"):
        assert words.count(said) == 1
    assert words.count("j: pair of layer 1") == 2
    shown = {one.get(HREF)[1:] for one in svg.iter("use")}
    assert shown == {one.get("id") for one in svg.iter("g")} == {"rows-L01", "columns-L01", "key-L01"}
    assert svg.get("aria-label").startswith("Two heatmaps for layers 0 to 1")
    wide = drawing(reports("experts").study.pairs[0], "expert")
    assert "j: expert of layer 1" in [text.text for text in wide.iter("text")]


@pytest.mark.parametrize(
    ("largest", "height"), [(0.4, 390), (1.0, 390), (3e-5, 384), (0.0221, 100), (0.0, 390)]
)
def test_ticks_of_a_key_are_apart_and_stand_at_their_values(largest, height):
    found = maps._ticks(largest, height)
    places = [place for place, _ in found]
    assert found[-1] == (0.0, "0")
    assert all(a - b >= 15 for a, b in pairwise(places))
    for place, words in found[1:-1]:
        if "×" not in words:
            assert float(words) == pytest.approx(largest * (place / height) ** 2)


def test_no_tokens_no_heatmap(reports):
    found = maps.transition_map(reports("layer without tokens").study.pairs[0], "subset")
    assert found.svg is None
    assert found.reason == "No token has a choice at both layer 0 and layer 1."
    assert found.reason in reports("layer without tokens").page.text


def test_of_very_wide_tables_only_the_strongest_are_drawn(reports, monkeypatch):
    study = reports("states").study
    monkeypatch.setattr(maps, "MOST_CELLS", 2 * 28**2)
    found = maps.transition_maps(study.pairs, "subset")
    strongest = int(np.argmax([pair.information.mi_bits for pair in study.pairs]))
    assert [one.svg is not None for one in found] == [place == strongest for place in range(3)]
    assert all("--figures" in one.reason for one in found if one.svg is None)


def test_pictures_of_full_tables_are_small():
    values = np.random.default_rng(1).dirichlet(np.full(128, 0.3), 128)
    assert len(cell_picture(values, float(values.max()))) < 16_000
    empty = np.zeros((1024, 1024))
    empty[::50, ::70] = 1
    assert len(cell_picture(empty, 1.0)) < 20_000
