"""Lines of predictors can be distinguished: a colour per family, a dash per predictor, contrast in both schemes."""

from itertools import combinations

import pytest

from routestat.forecast import catalogue
from routestat.report.families import BASELINE, COLOURS, OTHER, lines_of, scheme
from routestat.report.html.page import page_environment

ROWS = [
    {"predictor": spec.name, "family": spec.family, "baseline": spec.baseline}
    for spec in catalogue.PREDICTORS
]


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_two_predictors_have_the_same_line():
    lines = lines_of(ROWS)
    assert set(lines) == {row["predictor"] for row in ROWS}
    for one, other in combinations(lines.values(), 2):
        assert (one.css, one.dash) != (other.css, other.dash)


def test_baselines_are_grey_and_dashed_and_families_have_their_colours():
    lines = lines_of(ROWS)
    for row in ROWS:
        line = lines[row["predictor"]]
        if row["baseline"]:
            assert (line.css, line.colour) == ("family-baseline", BASELINE[0])
            assert line.dash
        else:
            assert line.colour == COLOURS[row["family"]][0]
    assert lines_of([{"predictor": "new", "family": "new", "baseline": False}])["new"].colour == OTHER[0]


@pytest.mark.parametrize(("dark", "paper"), [(False, "#ffffff"), (True, "#14171b")])
def test_lines_contrast_in_both_schemes(dark, paper):
    colours = scheme(dark)
    assert len(set(colours.values())) == len(colours) == len(COLOURS) + 2
    for colour in colours.values():
        high, low = sorted((luminance(colour), luminance(paper)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3, colour


def test_the_style_sheet_has_the_colours():
    style = (
        page_environment().get_template("style.css").render(light=scheme(dark=False), dark=scheme(dark=True))
    )
    light, dark = style.split("@media(prefers-color-scheme:dark){.family")
    for css, colour in scheme(dark=False).items():
        assert f".{css}{{color:{colour}}}" in light
    for css, colour in scheme(dark=True).items():
        assert f"{css.removeprefix('family')}{{color:{colour}}}" in dark
