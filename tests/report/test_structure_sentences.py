"""Answers on structure: of made traces, and of findings changed by hand."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.inference.base.estimate import Estimate
from routestat.report.structure_sentences import blocks_sentence, structure_answers, windows_sentence
from routestat.report.terminal.console import new_console
from routestat.report.terminal.structure import print_structure
from routestat.study.blocks import find_blocks
from routestat.study.structure_plan import StructurePlan
from routestat.study.windows import find_windows
from routestat.traces import synthetic

SHAPE = {"n_experts": 4, "top_k": 2, "mean_length": 60}


def counts_of(coupling=0.8, layers=3, documents=30):
    made = synthetic.chain(
        coupling=coupling, layers=layers, documents=documents, rng=np.random.default_rng(1), **SHAPE
    )
    trace = synthetic.to_trace(made)
    return trace, count(trace)


@pytest.fixture(scope="module")
def blocks():
    return find_blocks(counts_of()[1], StructurePlan(n_blocks=2), np.random.default_rng(0))


def changed(item, ari, gain=0.25, size=1, reason=None):
    """The blocks of a transition with another agreement, gain and number."""
    found = item.found
    number = replace(
        found.number, size=size, gain=Estimate(gain, gain - 0.01, gain + 0.02, 0.01, 30), reason=reason
    )
    blocks = replace(
        found,
        number=number,
        explained=Estimate(0.5, 0.4, 0.6, 0.05, 30),
        stability=replace(found.stability, ari=ari),
    )
    return replace(item, found=blocks)


def test_stable_blocks_are_named_with_what_they_save(blocks):
    said = blocks_sentence([changed(blocks[0], 0.5, gain=0.1), changed(blocks[1], 0.93)], "subset")
    rows, columns = blocks[1].blocks.n_row_blocks, blocks[1].blocks.n_column_blocks
    assert said == (
        "Blocks are real in 2 of 2 transitions: they describe left-out documents better than one block of all choices "
        f"does. They are clearest in layers 1 → 2: {rows} × {columns} blocks save 0.250 bits per token (0.240 … 0.270),"
        " 0.500 of what the two layers share. Other draws of the documents give nearly the same blocks (adjusted Rand "
        "0.930)."
    )
    assert " bits per pair of slots (" in blocks_sentence([changed(blocks[1], 0.93)], "expert")


def test_the_borders_of_unstable_blocks_are_uncertain(blocks):
    said = blocks_sentence([changed(blocks[0], 0.4)], "subset")
    assert said.endswith(
        "Other draws of the documents divide the choices differently (adjusted Rand 0.400, 1 is equal): the "
        "test shows that there are blocks, not where their borders are."
    )
    assert "Other draws" not in blocks_sentence([changed(blocks[0], math.nan)], "subset")


def test_no_blocks_and_blocks_without_a_test_are_said_to_be_so(blocks):
    none = changed(blocks[0], 0.9, size=0)
    untested = changed(blocks[1], 0.9, size=0, reason="1 independent unit: no test or interval below 6")
    assert blocks_sentence([none, untested], "subset").startswith("No blocks: blocks do not describe ")
    assert blocks_sentence([untested], "subset") == (
        "No transition was tested for blocks: 1 independent unit: no test or interval below 6."
    )
    assert blocks_sentence([], "subset") == (
        "Only one layer was analysed: there is no transition to find blocks in."
    )
    said = blocks_sentence([changed(blocks[0], 0.9), none, untested], "subset")
    assert said.startswith("Blocks are real in 1 of 2 transitions: ")


@pytest.fixture(scope="module")
def windows():
    made = synthetic.planted_routes(
        weight=0.1, n_routes=2, length=4, coupling=0.5, layers=6, documents=60, rng=np.random.default_rng(0), **SHAPE
    )  # fmt: skip
    trace = synthetic.to_trace(made)
    return windows_of(trace)


def windows_of(trace):
    return find_windows(count(trace), take_sample(trace), None, StructurePlan(), np.random.default_rng(0))


def test_windows_are_counted_with_the_share_of_the_tokens_that_take_one(windows):
    n_tested, n_found = windows.n_tested, int(windows.found.sum())
    assert n_found > 1
    found = replace(windows, share=Estimate(0.25, 0.2, 0.3, 0.02, 40))
    assert windows_sentence(found) == (
        f"{n_found:,} of {n_tested:,} windows of 3 to 8 layers are more frequent than a chain of order 1 explains "
        "(false discovery rate 5 %); 25.0 % of the tokens take at least one (95 % interval 20.0 … 30.0)."
    )
    without = replace(windows, share=Estimate(0.25, math.nan, math.nan, math.nan, 1))
    assert windows_sentence(without).endswith("; 25.0 % of the tokens take at least one.")


def test_one_window_no_window_and_none_tested(windows):
    one = np.zeros(len(windows.found), bool)
    assert windows_sentence(replace(windows, found=one)) == (
        f"None of {windows.n_tested:,} windows of 3 to 8 layers is more frequent than a chain of order 1 explains "
        "(false discovery rate 5 %)."
    )
    one[0] = True
    assert windows_sentence(replace(windows, found=one)).startswith(f"1 of {windows.n_tested:,} windows")
    assert " layers is more frequent than " in windows_sentence(replace(windows, found=one))
    untested = replace(windows.tests, log10_p=np.full(len(one), np.nan))
    none = replace(windows, tests=untested, found=np.zeros(len(one), bool), reason="why not")
    assert windows_sentence(none) == "No window was tested: why not."
    two_layers = windows_of(counts_of(layers=2)[0])
    assert windows_sentence(two_layers) == "No window was tested: 2 layers: a window has 3 to 8."


def test_what_was_not_looked_for_has_no_answer(capsys):
    nothing = SimpleNamespace(
        blocks=None, paths=None, windows=None, specialisation=None, states="subset", routers=()
    )
    assert structure_answers(nothing) == []
    print_structure(new_console(), nothing)
    assert capsys.readouterr().out == ""


def test_answers_of_a_study_are_in_its_page_and_on_the_terminal(reports, capsys):
    report = reports("states")
    answers = structure_answers(report.study)
    assert [answer.title for answer in answers] == ["Blocks", "Paths", "Windows"]
    for answer in answers:
        assert f'<section id="{answer.anchor}"' in report.html
        assert answer.sentence in report.page.text
    print_structure(new_console(), report.study)
    printed = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert f"Blocks. {answers[0].sentence}" in printed
    assert "Paths." not in printed
    assert f"Windows. {answers[2].sentence}" in printed


def test_one_layer_has_no_transitions_paths_or_windows(reports):
    answers = {answer.title: answer.sentence for answer in structure_answers(reports("one layer").study)}
    assert set(answers) == {"Blocks", "Windows"}
    assert answers["Blocks"].startswith("Only one layer was analysed")
    assert answers["Windows"].startswith("No window was tested: 1 layer")
