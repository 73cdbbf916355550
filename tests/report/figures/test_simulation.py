"""Figures of a simulation, read back from matplotlib's artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from routestat.report.figures import simulation as figures
from routestat.report.figures import simulation_memory as memory
from routestat.report.figures.simulation_lines import AHEAD, LINES
from routestat.report.simulation_main import hot_sets_at, main_setting
from routestat.serving.settings import POLICIES, Hardware
from tests.report.figures.artists import titled
from tests.report.simulation_cases import empty, one_document, simulation

DRAWN = (figures.capacity, figures.cost, figures.prefetching, memory.layers, memory.working_set, memory.plan)


def line(axes, words):
    return next(one for one in axes.lines if one.get_label() == words)


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize(
    "case", [simulation, one_document, lambda: simulation(layers=48)], ids=["", "one", "deep"]
)
def test_everything_drawn_is_inside_the_figure(draw, case):
    figure = draw(case())
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    wide, high = figure.canvas.get_width_height()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= wide
        assert 0 <= box.y0 < box.y1 <= high
        legend = axes.get_legend()
        if legend:
            box = legend.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= wide


@pytest.mark.parametrize("draw", DRAWN, ids=lambda draw: draw.__name__)
def test_where_there_is_nothing_a_sentence_says_so(draw):
    assert str(draw(empty())).endswith(".")


def test_every_policy_has_a_line_of_its_own():
    assert set(LINES) == {policy.name for policy in POLICIES}
    assert (
        len({(colour, mark) for colour, _, mark in [*LINES.values(), *AHEAD.values()]}) == len(POLICIES) + 2
    )


def test_lru_is_drawn_at_every_capacity_and_others_at_theirs():
    findings = simulation(capacities=(2, 4, 8))
    axes = titled(figures.capacity(findings), "a cache for each layer")
    x, y = line(axes, "LRU, every capacity").get_data()
    curve = {one.capacity: one.hit_rate.value for one in findings.curve if one.layer is None}
    assert dict(zip(x, y, strict=True)) == {at: curve[at] for at in range(2, 9)}
    x, y = line(axes, "Belady").get_data()
    found = {c.setting.capacity: c.hit_rate.value for c in findings.caches if c.setting.policy == "belady"}
    assert dict(zip(x, y, strict=True)) == found


def test_lru_is_not_drawn_in_a_pool_smaller_than_a_step():
    findings = simulation(scopes=("layer", "pool"))
    # Twice as many experts per event: a step needs as many slots as there are with 4 experts per layer.
    busy = replace(findings, caches=tuple(replace(one, events=one.events // 2) for one in findings.caches))
    axes = titled(figures.capacity(busy), "one pool")
    assert min(line(axes, "LRU, every capacity").get_xdata()) == 4.0
    assert min(line(axes, "LFU").get_xdata()) == 2.0
    assert min(line(titled(figures.capacity(busy), "a cache"), "LRU, every capacity").get_xdata()) == 2.0


def test_prefetching_is_a_line_of_its_own():
    findings = simulation()
    panels = figures.cost(findings).axes[:2]
    for axes, name in zip(panels, ("loads_per_token", "stall_per_token"), strict=True):
        x, y = line(axes, "LRU, prefetching: ridge-all, 4").get_data()
        ahead = [
            one
            for one in findings.caches
            if one.setting.predictor == "ridge-all" and one.setting.candidates == 4
        ]
        unit = 1e3 if name == "stall_per_token" else 1.0
        assert x.tolist() == [one.setting.capacity for one in ahead]
        assert np.allclose(y, [unit * getattr(one, name).value for one in ahead])


def test_the_stall_is_drawn_where_the_machine_is_known():
    findings = simulation()
    axes = titled(figures.cost(findings), "estimated")
    right = next(one for one in figures.cost(findings).axes if one.get_ylabel() == "stall per token, ms")
    caches = [one for one in findings.caches if one.setting.policy == "lru" and not one.setting.lookahead]
    assert np.allclose(line(right, "LRU").get_ydata(), [1e3 * one.stall_per_token.value for one in caches])
    assert line(right, "no cache").get_ydata()[0] == 1e3 * findings.caches[0].stall_per_token.value
    assert axes.get_ylabel() == "experts loaded per token"
    labels = {one.get_ylabel() for one in figures.cost(simulation(hardware=Hardware())).axes}
    assert labels == {"experts loaded per token"}


def test_prefetching_shows_precision_and_recall_of_each_predictor():
    findings = simulation()
    main = main_setting(findings)
    for title, name in (("precision", "precision"), ("recall", "recall")):
        axes = titled(figures.prefetching(findings), title)
        assert axes.lines[0].get_xdata().tolist() == [getattr(one, name).value for one in main.prefetching]


def test_layers_show_lru_pins_and_chance_at_the_main_capacity():
    findings = simulation()
    sets = hot_sets_at(findings, main_setting(findings))
    assert {one.capacity for one in sets} == {4}
    axes = memory.layers(findings).axes[0]
    drawn = [one.get_ydata().tolist() for one in axes.lines if len(one.get_ydata()) == len(sets)]
    for wanted in ([one.lru.value for one in sets], [one.static.value for one in sets], [0.5] * len(sets)):
        assert wanted in drawn


def test_the_working_set_is_drawn_beside_independent_tokens():
    findings = simulation()
    axes = memory.working_set(findings).axes[0]
    means = [one for one in findings.working_sets if one.layer is None]
    assert line(axes, "measured").get_ydata().tolist() == [one.experts.value for one in means]
    assert line(axes, "independent tokens, estimated").get_ydata().tolist() == [
        one.independent for one in means
    ]


def test_the_slots_are_those_of_the_smallest_memory_or_of_the_main_capacity():
    findings = simulation()
    bars = [bar.get_height() for bar in memory.plan(findings).axes[1].patches]
    assert bars == list(findings.plan.smallest.slots)
    open_plan = replace(findings.plan, smallest=None, stall_budget=None)
    assert memory.drawn_division(replace(findings, plan=open_plan)).slots_in_all == 4 * 6
