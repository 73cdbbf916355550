"""What analyze prints: plain and 80 columns when piped, numbers of results.json, trace text as text."""

import re
from pathlib import Path

import pytest

from routestat.report.numbers import number
from routestat.report.terminal.study import summarise

SCORES = ("recall_at_k", "recall_at_2k", "exact_set", "log_loss_bits", "parameters")


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
        # Three tokens a cell are too few for the bits to stand alone, or for an interval.
        assert line.split() == [
            str(record["source"]),
            "→",
            str(record["target"]),
            number(record["mi_bits"]),
            "*",
            "–",
            number(record["mi_bits_within_document"]),
            "*",
            number(record["mi_bits_beyond_token_type"]),
            number(record["mi_bits_given_token"]),
            number(record["log10_p_clustered"]),
        ]


def board_line(record):
    return [record["predictor"], *(number(record[score]) for score in SCORES)]


@pytest.mark.parametrize("name", ["states", "experts", "token ids"])
def test_the_board_has_the_best_of_each_family(reports, printed, name):
    out = printed(name)
    lines = out.splitlines()
    board = reports(name).results["prediction_mean"]
    best = {}
    for record in board:
        if record["recall_at_k"] > best.get(record["family"], {"recall_at_k": -1})["recall_at_k"]:
            best[record["family"]] = record
    expected = [board_line(record) for record in board if record in best.values()]
    assert len(expected) > 4
    first = next(at for at, line in enumerate(lines) if line.startswith("predictor"))
    assert [line.split() for line in lines[first + 1 : first + 1 + len(expected)]] == expected
    more = len(board) - len(expected)
    assert (f"; {more} more in the report." in out) == (more > 0)


def test_the_best_predictor_is_compared_with_the_best_baseline(reports, printed):
    board = reports("states").results["prediction_mean"]
    best = max(board, key=lambda record: record["recall_at_k"])
    base = max((record for record in board if record["baseline"]), key=lambda record: record["recall_at_k"])
    assert not best["baseline"]
    gain, (low, high) = best["recall_over_best_baseline"], best["recall_over_best_baseline_ci95"]
    said = (
        f"Best: {best['predictor']}; its recall@k is {number(gain)} (95 % interval {number(low)} … {number(high)}) "
        f"above that of the best baseline, {base['predictor']}"
    )
    assert said in " ".join(printed("states").split())


def test_nothing_held_out_is_one_sentence(printed):
    out = " ".join(printed("one document").split())
    assert "No predictor could be scored: all tokens are of one document: nothing can be held out." in out


@pytest.mark.parametrize("name", ["states", "experts", "token ids", "two layers", "one layer"])
def test_memory_has_its_numbers_and_its_reading(reports, printed, name):
    out = printed(name)
    memory = reports(name).results["memory"]
    lines = [line.split() for line in out.splitlines()]
    for record in memory["contexts_mean"]:
        wanted = [*record["given"].split(), number(record["log_loss_bits"])]
        if "shorter" in record:
            low, high = record["gain_bits_ci95"]
            wanted += [number(record["gain_bits"]), number(low), "…", number(high)]
        assert wanted in lines
    assert " ".join(memory["reading"]) in " ".join(out.split())


def test_without_documents_to_hold_out_the_memory_is_one_sentence(printed):
    out = printed("one document")
    assert "given  " not in out
    said = "Too few independent units were recorded to say whether there is memory or none"
    assert f"How long is the memory?\n{said}" in out.replace(" \n", " ")


def test_the_most_probable_paths_and_what_took_them(printed):
    text = " ".join(printed("states").split())
    assert "Most probable paths through all layers (not tested)" in text
    assert "The most probable path" in text
    assert re.search(r"tokens expected, taken by [\d,]+ tokens? of [\d,]+ documents?\.", text)


def test_load_and_dead_experts(printed):
    assert "2 experts unused in this trace." in " ".join(printed("dead experts").split())
    assert "no expert unused." in " ".join(printed("states").split())


def test_undefined_comes_with_the_reason(printed):
    out = " ".join(printed("one document").split())
    assert "0 → 1 – – –" in out
    assert "–: 1 independent unit: no test or interval below 6" in out
    assert "1 document (1 cluster) ·" in out
    assert "nan" not in out.split()


def test_views_and_single_layers_have_their_words(printed):
    assert "bits per pair of slots" in printed("experts")
    assert "bits per token" in printed("states")
    assert "There is one layer only." in printed("one layer")


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
