"""What simulate prints: 80 columns when piped, the numbers of the findings, and no markup of the trace."""

from dataclasses import replace
from pathlib import Path

import pytest

from routestat.report.numbers import number
from routestat.report.simulation_main import main_setting
from routestat.report.terminal.simulation import summarise
from routestat.serving.settings import Hardware
from tests.report.simulation_cases import CAUTION, HOSTILE, empty, hostile, one_document, simulation


def printed(capsys, findings):
    summarise(findings, Path("reports/simulate-made/index.html"))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "made", [simulation, one_document, hostile, lambda: simulation(hardware=Hardware())],
    ids=["all", "one", "hostile", "no machine"],
)  # fmt: skip
def test_it_fits_a_terminal(capsys, made):
    lines = printed(capsys, made()).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30


def test_it_holds_the_numbers_of_every_policy(capsys):
    findings = simulation()
    text = printed(capsys, findings)
    for one in main_setting(findings).policies:
        if one.setting.policy != "belady-forced":
            assert number(one.loads_per_token.value) in text
            assert number(one.hit_rate.value) in text
    assert "stall/token" in text
    assert "Pin nothing" in text
    assert "Worth it here" in text
    assert text.rstrip().endswith("Report reports/simulate-made/index.html")


def test_bytes_or_nothing_replace_the_stall_without_the_machine(capsys):
    assert "bytes/token" in printed(capsys, simulation(hardware=Hardware(expert_bytes=1e6)))
    text = printed(capsys, simulation(hardware=Hardware()))
    assert "bytes/token" not in text
    assert "stall/token" not in text


def test_text_of_the_trace_is_no_markup(capsys):
    text = printed(capsys, hostile())
    assert HOSTILE in text
    assert "\x1b" not in text


def test_what_is_missing_and_what_misleads_is_said(capsys):
    text = " ".join(printed(capsys, one_document()).split())
    assert "–: static pins are from other documents, and there is one only" in text
    assert "1 independent unit: no test or interval below 6" in text
    findings = simulation(scopes=("pool",))
    careful = replace(findings, caches=tuple(replace(one, cautions=(CAUTION,)) for one in findings.caches))
    text = " ".join(printed(capsys, careful).split())
    assert f"* {CAUTION}" in text
    assert "LRU *" in text
    assert "Nothing could be simulated" in printed(capsys, empty())
