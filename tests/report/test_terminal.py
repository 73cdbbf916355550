"""What analyze prints: plain and 80 columns when piped, numbers of results.json, trace text as text."""

from pathlib import Path

import pytest

from routestat.report.html import number
from routestat.report.terminal import summarise


@pytest.fixture
def printed(reports, capsys, monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)

    def get(name):
        summarise(reports(name).study, Path("out/index.html"))
        return capsys.readouterr().out

    return get


def test_piped_output_is_plain_and_80_columns_wide(any_report, printed, capsys):
    summarise(any_report.study, Path("out/index.html"))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert out.endswith("Report out/index.html\n")


def test_strongest_pairs_come_first_with_their_numbers(reports, printed):
    lines = printed("states").splitlines()
    records = sorted(reports("states").results["dependence"], key=lambda r: -r["mi_bits"])
    start = next(at for at, line in enumerate(lines) if line.startswith("layers "))
    assert len(records) == 3
    for line, record in zip(lines[start + 1 :], records, strict=False):
        low, high = record["mi_bits_ci95"]
        assert line.split() == [
            str(record["source"]),
            "→",
            str(record["target"]),
            number(record["mi_bits"]),
            number(low),
            "…",
            number(high),
            number(record["mi_bits_within_document"]),
            number(record["mi_bits_beyond_token_type"]),
            number(record["mi_bits_given_token"]),
            number(record["log10_p_clustered"]),
        ]


@pytest.mark.parametrize("name", ["states", "experts"])
def test_board_means(reports, printed, name):
    lines = printed(name).splitlines()
    for record in reports(name).results["prediction_mean"]:
        scores = ("exact_set", "recall_at_k", "top1_hit", "log_loss_bits")
        wanted = [record["predictor"], *(number(record[score]) for score in scores)]
        assert wanted in [line.split() for line in lines]


def test_load_and_dead_experts(printed):
    assert "2 experts unused in this trace." in " ".join(printed("dead experts").split())
    assert "no expert unused." in " ".join(printed("states").split())


def test_undefined_comes_with_the_reason(printed):
    out = " ".join(printed("one document").split())
    assert "0 → 1 – – –" in out
    assert "–: a clustered test needs at least 2 groups of documents" in out
    assert "1 document ·" in out
    assert "nan" not in out.split()


def test_views_and_single_layers_have_their_words(printed):
    assert "bits per pair of slots" in printed("experts")
    assert "bits per token" in printed("states")
    assert "One layer only" in printed("one layer")


def test_hostile_text_is_printed_as_it_is(printed):
    out = printed("hostile")
    assert "<script>alert(1)</script>" in out
    assert "[bold]model[/bold]" in out
    assert "[31mred" in out
    assert "\x1b" not in out


def test_a_long_path_to_the_report_stays_on_one_line(reports, capsys):
    page = Path("a" * 60, "b" * 60, "index.html")
    summarise(reports("one layer").study, page)
    assert f"Report {page}\n" in capsys.readouterr().out
