"""The section on prediction against its records: tables, sentences, the picture and what its script reads."""

import json
import re

import pytest

from routestat.report.html.curve_codes import decoded
from routestat.report.html.prediction import fetch_for, prediction_section
from tests.report.conftest import Page
from tests.report.prediction_cases import DOMAINS, HORIZONS, PHASES, SKILL, with_board, write_full_report


@pytest.fixture(scope="module", params=["states", "experts"])
def full(request, reports, tmp_path_factory):
    page, record = write_full_report(reports(request.param).study, tmp_path_factory.mktemp("board"))
    html = page.read_text(encoding="utf-8")
    return Page(html), record, html


@pytest.fixture(scope="module")
def record(reports):
    return with_board(reports("experts").results)


def exact(row):
    return [float(value) for value, _ in row.numbers]


def known(*values):
    return [value for value in values if value is not None]


def with_limits(record, *names):
    return known(*(one for name in names for one in ([record[name], *(record[name + "_ci95"] or ())])))


def test_mean_and_differences_equal_the_record(full):
    page, record, _ = full
    rows = {row.attributes["data-predictor"]: row for row in page.table("prediction_differences")}
    assert list(rows) == [
        r["predictor"] for r in sorted(record["prediction_mean"], key=lambda r: -r["recall_at_k"])
    ]
    for one in record["prediction_mean"]:
        names = (
            "recall_less_than_best",
            "recall_over_best_baseline",
            "log_loss_more_than_best",
            "log_loss_saved_over_best_baseline",
        )
        assert exact(rows[one["predictor"]]) == [*with_limits(one, *names), one["fit_seconds"]]
    assert len(page.table("prediction_mean")) == len(record["prediction_mean"])


def test_the_table_of_the_picture_equals_the_record(full):
    page, record, _ = full
    k = record["trace"]["top_k"][0]
    rows = {row.attributes["data-predictor"]: row for row in page.table("prediction_picture")}
    assert set(rows) == set(SKILL)
    for one in record["prediction_mean"]:
        fetch = next(
            (n for n, f in zip(one["fetched"], one["found"], strict=True) if round(f, 3) >= 0.9), None
        )
        wanted = [one["found"][0], one["found"][k], fetch, one["parameters"], one["multiply_adds_per_token"]]
        assert exact(rows[one["predictor"]]) == known(*wanted)
        assert ("more than" in " ".join(rows[one["predictor"]].cells)) == (fetch is None)


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("prediction_horizons", "layers_ahead", HORIZONS),
        ("prediction_by_phase", "phase", PHASES),
        ("prediction_by_domain", "domain", DOMAINS),
    ],
)
def test_tables_with_a_column_per_value(full, table, column, values):
    page, record, _ = full
    rows = page.table(table)
    assert {row.attributes["data-predictor"] for row in rows} == set(SKILL)
    assert len(rows) == len(SKILL)
    for row in rows:
        own = [one for one in record[table] if one["predictor"] == row.attributes["data-predictor"]]
        there = [one for value in values for one in own if one[column] == value]
        assert exact(row) == [number for one in there for number in with_limits(one, "recall_at_k")]
        assert row.cells[1:].count("–") == len(values) - len(there)


def test_the_other_tables_equal_the_record(full):
    page, record, _ = full
    for row, one in zip(page.table("prediction_next_token"), record["prediction_next_token"], strict=True):
        assert exact(row) == with_limits(one, "recall_at_k", "recall_at_2k", "exact_set", "log_loss_bits")
    for row, one in zip(page.table("prediction_calibration"), record["prediction_calibration"], strict=True):
        parts = [
            one["brier"],
            *(one["brier_" + name] for name in ("reliability", "resolution", "uncertainty")),
        ]
        assert exact(row) == [*with_limits(one, "ece_debiased"), *parts]
    for row, one in zip(
        page.table("gate_against_table"), record["gate_against_table"]["horizons"], strict=True
    ):
        head = [one["layers_ahead"], one["n_targets"], one["gate"], one["table"]]
        assert exact(row) == [*head, *with_limits(one, "difference")]
    for row, one in zip(page.table("data_effect"), record["data_effect"], strict=True):
        assert exact(row) == known(*with_limits(one, "estimate"), one["log10_p"])
        assert row.cells[:4] == [one["term"], one["reference"] or "", one["predictor"], "recall@k"]
    assert "–: one cell only." in page.text
    for row in page.table("transfer"):
        name, train = row.attributes["data-predictor"], row.attributes["data-train"]
        own = [one for one in record["transfer"] if one["predictor"] == name and one["train"] == train]
        names = [
            ("recall_at_k",) if one["held_out"] else ("recall_at_k", "recall_less_than_own") for one in own
        ]
        assert exact(row) == [
            v for one, keys in zip(own, names, strict=True) for v in with_limits(one, *keys)
        ]
    assert len(page.table("transfer")) == 2 * len(DOMAINS)


def test_the_picture_shows_the_best_of_each_family(record):
    section = prediction_section(record)
    shown = {row["predictor"] for row in section.picture.rows if row["shown"]}
    best = {}
    for row in record["prediction_mean"]:
        kind = "baseline" if row["baseline"] else row["family"]
        if kind not in best or row["found"][0] > best[kind]["found"][0]:
            best[kind] = row
    assert shown == {row["predictor"] for row in best.values()} | {"uniform"}
    drawn = re.findall(r'<g class="curve [\w-]+" data-predictor="([^"]+)"', section.picture.svg)
    assert set(drawn) == shown
    # The best of each family is drawn solid, and baselines are dashed.
    for row in section.picture.rows:
        if row["shown"]:
            assert bool(row["dash"]) == row["baseline"]
    assert section.base["predictor"] == best["baseline"]["predictor"]
    assert section.best == max(record["prediction_mean"], key=lambda row: row["recall_at_k"])


def test_the_script_reads_the_curves_of_the_record(full):
    _, record, html = full
    (text,) = re.findall('<script type="application/json" id="curve-data">(.*?)</script>', html, re.S)
    data = json.loads(text)
    names = [one["name"] for one in data["predictors"]]
    targets = list(dict.fromkeys(row["target"] for row in record["prediction_curves"]))
    assert data["targets"] == ["mean over layers", *(f"layer {layer}" for layer in targets)]
    assert data["horizons"] == list(HORIZONS)
    expected = {}
    for row in record["prediction_curves"]:
        expected[names.index(row["predictor"]), 1 + targets.index(row["target"]), row["layers_ahead"]] = row
    for row in record["prediction_horizons"]:
        expected[names.index(row["predictor"]), 0, row["layers_ahead"]] = row
    for row in record["prediction_mean"]:
        expected[names.index(row["predictor"]), 0, 1] = row
    assert set(data["curves"]) == {" ".join(map(str, key)) for key in expected}
    for key, row in expected.items():
        shares = [*row["found"], *row["found_low"], *row["found_high"]]
        code = decoded(data["curves"][" ".join(map(str, key))])
        assert code == pytest.approx([1000 * share for share in shares], abs=0.501)


def test_the_first_sentences(full):
    page, record, _ = full
    best = max(record["prediction_mean"], key=lambda row: row["recall_at_k"])
    load = next(row for row in record["prediction_mean"] if row["predictor"] == "popularity")
    many = [fetch_for(row, row["fetched"]) for row in (best, load)]
    words = [str(n) if n is not None else f"more than {best['fetched'][-1]}" for n in many]
    experts = record["trace"]["n_experts"][0]
    said = (
        f"Mean over layers: to have 90 % of the needed experts present, fetch {words[0]} of {experts} "
        f"with {best['predictor']}, {words[1]} with the layer’s load alone."
    )
    assert said in page.text.replace(" ,", ",")
    verdict = page.text.split("it was not fitted on.")[1].split("Target layer")[0]
    assert verdict.split()[0] == best["predictor"]
    assert "the best baseline" in verdict
    assert "uncertain" not in verdict
    assert "By domain it predicts from" in verdict
    assert "From 2 layers ahead on, ridge-all is better" in page.text.replace("2  layers", "2 layers")


def changed(record, **of_best):
    """The record with other values of its best predictor."""
    best = max(record["prediction_mean"], key=lambda row: row["recall_at_k"])
    mean = [row | of_best if row is best else row for row in record["prediction_mean"]]
    return record | {"prediction_mean": mean}


def test_a_cheaper_predictor_is_named_only_where_it_is_not_clearly_worse(record):
    assert prediction_section(record).cheaper is None
    near = [
        row | {"recall_less_than_best_ci95": [-0.001, 0.02]}
        if row["predictor"] in ("ridge-all", "gate")
        else row
        for row in record["prediction_mean"]
    ]
    assert prediction_section(record | {"prediction_mean": near}).cheaper["predictor"] == "gate"


def test_gains_that_may_be_nothing_are_called_uncertain(reports, record, tmp_path):
    mean = changed(record, recall_over_best_baseline_ci95=[-0.01, 0.02])["prediction_mean"]
    page, _ = write_full_report(reports("experts").study, tmp_path, prediction_mean=mean)
    assert "the best baseline: too uncertain to claim" in page.read_text(encoding="utf-8")


def test_a_board_of_baselines_says_so(reports, record, tmp_path):
    mean = [row for row in record["prediction_mean"] if row["baseline"]]
    page, _ = write_full_report(reports("experts").study, tmp_path, prediction_mean=mean)
    text = " ".join(Page(page.read_text(encoding="utf-8")).text.split())
    assert "No predictor is better than the baselines. The best of them, token-id" in text
    assert "No predictor on the board is better than the baselines; the best of them, token-id" in text


def test_parts_that_are_missing_are_one_sentence(reports, record, tmp_path):
    gone = ("prediction_by_domain", "prediction_by_phase", "gate_against_table", "transfer", "data_effect")
    page, _ = write_full_report(reports("experts").study, tmp_path, gone, prediction_horizons=[])
    text = Page(page.read_text(encoding="utf-8")).text
    assert "Not here: scores by phase" in text
    for title in ("On which data?", "How far ahead?", "The gate against the table", "Fitted on other data"):
        assert title not in text


@pytest.mark.parametrize("without", [(), ("transfer",)])
def test_what_was_left_out_of_a_transfer_is_said_with_and_without_a_table(reports, tmp_path, without):
    law = {"domain": "law", "n_tokens": None, "n_groups": None, "reason": "one group of documents"}
    notes = ["expected two domains of 3 or more groups of documents, got 1"]
    page, _ = write_full_report(
        reports("experts").study, tmp_path, without, transfer_domains=[law], transfer_notes=notes
    )
    text = Page(page.read_text(encoding="utf-8")).text
    assert "law is left out: one group of documents." in text
    assert "Expected two domains of 3 or more groups of documents, got 1." in text


def test_without_a_common_k_there_is_no_curve(record):
    mean = [row | {"found": None, "fetched": None} for row in record["prediction_mean"]]
    section = prediction_section(record | {"prediction_mean": mean})
    assert section.picture is None
    assert section.best is not None
    assert prediction_section({"trace": record["trace"]}) is None


@pytest.mark.parametrize("name", ["one document", "one layer of one document"])
def test_guessing_alone_is_no_board(reports, name):
    report = reports(name)
    assert "No predictor could be scored: that requires documents to fit on" in report.page.text
    assert report.page.table("prediction_picture") == []
    assert "curve-data" not in report.html
    assert report.page.all("script") == []


def test_reliability_is_drawn_for_the_predictors_of_the_picture(record):
    section = prediction_section(record)
    panels = re.findall(r'<svg class="curves panel".*?data-predictor="([^"]+)"', section.reliability)
    with_probabilities = {row["predictor"] for row in record["prediction_calibration"]}
    assert panels == [n for n in SKILL if n in section.shown and n in with_probabilities]
    # Nine bins have tokens.
    assert section.reliability.count("<circle") == 9 * len(panels)
