"""The page against results.json and against hostile text; the links, the words, the accessibility."""

import base64
import hashlib
import itertools
import json
import math
import re
import struct
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from routestat.report.cautions import MARKS
from routestat.report.html.page import page_environment
from routestat.report.html.study import write_report
from routestat.report.numbers import number
from routestat.report.records.study import results

SCORES = ("exact_set", "recall_at_k", "hit_rate", "top1_hit", "recall_at_2k", "log_loss_bits")


def exact(row):
    return [float(value) for value, _ in row.numbers]


def known(*values):
    return [value for value in values if value is not None]


def label(row):
    """The first cell of a row, without the marks of cautions."""
    return row.cells[0].rstrip(f" {MARKS}")


def covered(record, key):
    """An interval as far as it is shown: one that would not cover is not."""
    return record[key] if record.get("mi_bits_ci95_covers", True) else ()


def scores_of(record):
    found = [record["n_tokens"]]
    for name in SCORES:
        low, high = record[name + "_ci95"]
        found += known(record[name], *((low, high) if record[name] is not None else ()))
    return found


def flat(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(flat, value)) if value else set()
    return {float(value)} if isinstance(value, int | float) else set()


def test_dependence_table_equals_results(any_report):
    rows = any_report.page.table("dependence")
    assert len(rows) == len(any_report.results["dependence"])
    by_source = {str(record["source"]): record for record in any_report.results["dependence"]}
    for row in rows:
        record = by_source[row.attributes["data-source"]]
        wide = any_report.results["states"] == "expert"
        effects = ("cramers_v_corrected", "theils_u", "design_effect")
        assert exact(row) == known(
            record["n_tokens"],
            record["n_documents"],
            record["mi_bits"],
            *covered(record, "mi_bits_ci95"),
            *(() if wide else (record[name] for name in effects)),
            record["log10_p_clustered"],
            None if wide else record["log10_p_iid"],
        )
        assert row.cells[0].split()[:3] == [str(record["source"]), "→", str(record["target"])]


def test_dependence_is_sorted_by_effect(reports):
    rows = reports("states").page.table("dependence")
    bits = [exact(row)[2] for row in rows]
    assert bits == sorted(bits, reverse=True)
    assert len(set(bits)) == 3


def test_load_table_equals_results(any_report):
    rows = any_report.page.table("layers")
    assert [row.attributes["data-layer"] for row in rows] == [
        str(record["layer"]) for record in any_report.results["layers"]
    ]
    for row, record in zip(rows, any_report.results["layers"], strict=True):
        names = ("n_tokens", "entropy_bits", "load_gini", "load_max_over_mean", "load_cv")
        assert exact(row) == known(*(record[name] for name in names))


def test_dead_experts_are_named(reports):
    report = reports("dead experts")
    assert [row.cells[-1] for row in report.page.table("layers")] == ["none", "2, 5", "none"]
    assert "In layer 1 some experts were never used" in report.page.text


@pytest.mark.parametrize("name", ["prediction", "prediction_mean"])
def test_board_equals_results(any_report, name):
    rows = any_report.page.table(name)
    key = lambda record: (record["predictor"], record["target"] if name == "prediction" else None)  # noqa: E731
    records = {key(record): record for record in any_report.results[name]}
    assert len(rows) == len(records) == len(any_report.results[name])
    for row in rows:
        target = row.attributes.get("data-target")
        record = records[row.attributes["data-predictor"], int(target) if target else None]
        assert exact(row) == scores_of(record)


def test_blocks_and_chain_equal_results(any_report):
    results = any_report.results
    rows = any_report.page.table("biclusters")
    assert [exact(row) for row in rows] == [
        known(
            record["n_row_blocks"],
            record["n_column_blocks"],
            record["heldout_gain_bits"],
            *record["heldout_gain_bits_ci95"],
            record["share_explained"],
            *record["share_explained_ci95"],
            record["share_of_mi"],
            record["share_of_mi_noise"],
            record["stability_ari"],
        )
        for record in results["biclusters"]
    ]
    chain = results["chain"]
    names = ("orders", "concentration")
    if results["states"] == "subset":
        names += ("strength_order_2", "discount_order_2", "design_effect")
    steps = [exact(row) for row in any_report.page.table("chain")]
    assert steps == [known(*values) for values in zip(*(chain[name] for name in names), strict=True)]


def test_memory_tables_equal_results(any_report):
    page, memory = any_report.page, any_report.results["memory"]
    any_scored = any(record["log_loss_bits"] is not None for record in memory["contexts_mean"])
    scored = memory["contexts_mean"] if any_scored else []
    rows = page.table("contexts_mean")
    assert [row.attributes["data-context"] for row in rows] == [record["context"] for record in scored]
    for row, record in zip(rows, scored, strict=True):
        gain = [record["gain_bits"], *record["gain_bits_ci95"]] if "shorter" in record else []
        assert exact(row) == known(record["log_loss_bits"], *record["log_loss_bits_ci95"], *gain)
        assert row.cells[0] == record["given"]
    rows = page.table("horizons_mean")
    if rows:
        assert len(rows) == len(memory["horizons_mean"])
    for row, record in zip(rows, memory["horizons_mean"], strict=False):
        names = ("mi_bits", "mi_bits_chain", "difference_bits", "discrepancy_bits")
        bands = [value for name in names for value in (record[name], *record[name + "_ci95"])]
        assert exact(row) == known(record["horizon"], *bands, record["log10_p_clustered"])[1:]
        assert label(row) == str(record["horizon"])
    rows = page.table("tokens_order")
    for row, record in zip(rows, memory["tokens_order"] if rows else (), strict=True):
        gains = [
            value
            for name in ("gain_bits_order_1", "gain_bits_order_2")
            for value in (record[name], *record[name + "_ci95"])
        ]
        assert exact(row) == known(*gains, record["chosen_order"])
        assert label(row) == str(record["layer"])


def test_order_tables_equal_results(any_report):
    page, records = any_report.page, any_report.results["order"]
    wide = any_report.results["states"] == "expert"
    rows = page.table("steps")
    for row, record in zip(rows, records, strict=True):
        limits, nothing = record["cmi_bits_ci95"] or (), record["cmi_bits_shuffled"]
        given = (record["cmi_bits"], *limits, nothing, record["cmi_share"])
        assert exact(row) == known(
            record["heldout_gain_bits"],
            *(record["heldout_gain_bits_ci95"] or ()),
            record["chosen_order"],
            *(() if wide else (*given, record["log10_p_clustered"])),
        )
        assert label(row) == f"{record['source']} → {record['via']} → {record['target']}"
    for row in page.table("order"):
        record = next(one for one in records if str(one["source"]) == row.attributes["data-source"])
        assert exact(row) == known(
            record["cmi_bits"],
            *record["cmi_bits_ci95"],
            record["cmi_bits_shuffled"],
            record["cmi_share"],
            record["interaction_bits"],
            record["log10_p_clustered"],
        )
    others = ("g", "dof", "log10_p_iid", "p_resampled_iid", "bic_gain_tokens", "bic_gain_documents")
    rows = page.table("criteria")
    assert len(rows) == (0 if wide else len(records))
    for row, record in zip(rows, records if rows else (), strict=True):
        losses = record.get("heldout_log_loss_bits") or ()
        criteria = (*(record[name] for name in others), record.get("forward_code_gain_nats"))
        assert exact(row) == known(*losses, *criteria)


def test_few_tokens_for_the_states_are_said_where_the_figures_stand(reports):
    """28 states and 2,400 tokens of a chain of order 1: nothing is left given the layer between."""
    report = reports("states")
    for record in report.results["order"]:
        assert record["cmi_bits_ci95"][0] > 0.5
        assert record["cmi_bits_shuffled"] > 0.5
        assert record["cmi_share"] is None
        assert "not small against cmi_bits" in record["caution"]
    assert report.page.text.count("number of states to estimate what the layer before adds") == 2
    assert "number of states to estimate what the layer before the source adds" in report.page.text


def test_the_chain_page_begins_with_the_reading(any_report):
    memory = any_report.results["memory"]
    chain = any_report.page.text.split("The chain: how many earlier layers matter?")[1]
    assert 1 <= len(memory["reading"]) <= 7
    at = -1
    for sentence in memory["reading"]:
        assert sentence.endswith(".")
        assert (at := chain.find(sentence, at + 1)) >= 0
    assert " ".join(memory["reading"][:2]) in any_report.page.text.split("Memory.")[1]


def test_paths_equal_results_and_name_their_experts(any_report):
    results, trace = any_report.results, any_report.results["trace"]
    wide = results["states"] == "expert"
    for kind in ("dominant", "observed", "frequent"):
        records = [record for record in results["paths"] if record["kind"] == kind]
        rows = [row for row in any_report.page.table("paths") if row.attributes["data-kind"] == kind]
        assert len(rows) == len(records)
        for row, record in zip(rows, records, strict=True):
            own = [record[key] for key in ("count", "n_documents", "expected", "probability", "lift")]
            tokens = [token["count"] for token in record["tokens"]]
            assert exact(row) == known(*own, *known(*record["lift_ci95"]), *tokens)
            words = row.cells[-len(trace["layers"]) :]
            if wide:
                steps = record["experts"]
                assert words == [",".join(map(str, s)) if isinstance(s, list) else str(s) for s in steps]
            else:
                subsets = list(itertools.combinations(range(trace["n_experts"][0]), trace["top_k"][0]))
                assert words == [",".join(map(str, subsets[state])) for state in record["states"]]


def test_every_number_of_the_page_is_one_of_results_json(any_report):
    there = flat(any_report.results)
    assert any_report.page.numbers
    for value, shown in any_report.page.numbers:
        assert float(value) in there
        text = shown.replace("−", "-").replace(",", "").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert math.isclose(float(text.replace("×10", "e")), float(value), rel_tol=5.1e-3), (value, shown)


def test_undefined_numbers_are_dashes_with_the_reason(reports):
    page = reports("one document").page
    row = page.table("dependence")[0]
    assert row.cells[3] == "–"
    assert "1 independent unit: no test or interval below 6" in page.text
    assert "nothing can be held out and no interval can be given" in page.text
    for wrong in ("nan", "None", "inf"):
        assert not re.search(rf"\b{wrong}\b", page.text)


def test_one_layer_says_why_parts_are_absent(reports):
    page = reports("one layer").page
    assert "Only one layer was analysed: there is no pair of layers." in page.text
    assert page.table("dependence") == []
    assert [image["src"] for image in page.all("img")] == [
        "figures/board.png",
        "figures/calibration.png",
        "figures/load.png",
        "figures/contexts.png",
        "figures/routes.png",
        "figures/expert_use.png",
    ]
    assert "There is one layer only, so there is no memory over layers." in page.text
    assert page.table("steps") == page.table("horizons_mean") == []
    assert "routestat.predict" not in page.text.split("The chain is")[0].split("In short")[1]


def test_hostile_text_is_text(reports):
    report = reports("hostile")
    assert "<script>alert(1)</script>" in report.page.text
    assert 'Source "><img src=x onerror=alert(1)>' in report.page.text
    assert all(
        script in ({}, {"type": "application/json", "id": "curve-data"})
        for script in report.page.all("script")
    )
    (running,) = re.findall("<script>(.*?)</script>", report.html, re.S)
    (data,) = re.findall('<script type="application/json"[^>]*>(.*?)</script>', report.html, re.S)
    assert running == page_environment().get_template("prediction.js").render()
    assert "alert" not in running + data
    for tag, attributes in report.page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "javascript:" not in attributes.get("href", "")
    assert all(image["src"].startswith("figures/") for image in report.page.all("img"))
    assert not (report.folder.parent / "x").exists()


def digest(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_policy_allows_pictures_one_style_and_one_script_and_nothing_else(any_report):
    (policy,) = [
        tag["content"]
        for tag in any_report.page.all("meta")
        if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    style = re.search("<style>(.*?)</style>", any_report.html, re.S).group(1)
    scripts = re.findall("<script>(.*?)</script>", any_report.html, re.S)
    assert len(scripts) == ("curve-data" in any_report.html)
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src 'self' file: data:",
        f"style-src 'sha256-{digest(style)}'",
        *(f"script-src 'sha256-{digest(script)}'" for script in scripts),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not [tag for tag, attributes in any_report.page.tags if "style" in attributes]
    assert not re.search(r"https?://|url\(|@import", any_report.html)


def test_links_and_pictures_resolve(any_report):
    page, folder = any_report.page, any_report.folder
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in page.all("a")]
    assert "results.json" in links
    assert "routes.graphml" in links
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (folder / unquote(link)).is_file(), link
    for image in page.all("img"):
        width, height = struct.unpack(">II", (folder / image["src"]).read_bytes()[16:24])
        assert (round(width / 130 * 96), round(height / 130 * 96)) == pytest.approx(
            (int(image["width"]), int(image["height"])), abs=1
        )
    assert {path.name for path in (folder / "figures").iterdir()} == {
        Path(image["src"]).name for image in page.all("img")
    }


def test_accessible(any_report):
    page = any_report.page
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    alts = [image["alt"] for image in page.all("img")]
    alts += [drawing["aria-label"] for drawing in page.all("svg") if drawing.get("role") == "img"]
    assert all(drawing.get("role") == "img" or "aria-hidden" in drawing for drawing in page.all("svg"))
    assert all(len(alt) > 60 for alt in alts)
    assert len(set(alts)) == len(alts)
    assert all(tag.get("scope") in ("col", "row") for tag in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(
        tag.get("tabindex") == "0" and tag.get("aria-label")
        for tag in page.all("div")
        if tag.get("class") == "scroll"
    )
    assert page.all("html") == [{"lang": "en"}]


def test_colours_contrast_in_both_schemes(reports):
    style = re.search("<style>(.*?)</style>", reports("states").html, re.S).group(1)
    schemes = [dict(re.findall(r"--([\w-]+):(#\w+)", part)) for part in re.findall(r":root\{(.*?)\}", style)]
    assert len(schemes) == 2
    for colours in schemes:
        for ink, paper in (
            ("ink", "paper"),
            ("soft", "paper"),
            ("link", "paper"),
            ("ink", "tint"),
            ("warn", "tint"),
            ("ink", "warn-tint"),
        ):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(one, other):
    """The ratio of WCAG 2."""

    def light(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_each_view_uses_its_own_words(reports):
    wide, narrow = reports("experts").page.text, reports("states").page.text
    for words in ("expert view", "bits per pair of slots", "expert × expert"):
        assert words in wide
        assert words not in narrow
    for words in ("state view", "bits per token", "do not use", "design effect of the table", "pair × pair"):
        assert words in narrow
        assert words not in wide
    assert "There is no p-value that takes tokens as independent here" in wide


def test_untested_parts_are_labelled(reports):
    page = reports("states").page
    assert len([tag for tag in page.all("p") if tag.get("class") == "untested"]) == 1
    assert "A frequent path is not necessarily significant" in page.text


def test_blocks_say_whether_they_are_real(any_report):
    records, text = any_report.results["biclusters"], any_report.page.text
    real = [record for record in records if record["real"]]
    tested = [record for record in records if record["real"] is not None]
    if real:
        several = f" in {len(real)} of {len(tested)} transitions" if len(tested) > 1 else ""
        assert f"Blocks are real{several}: they describe" in text
        best = max(real, key=lambda record: record["heldout_gain_bits"])
        assert f"clearest in layers {best['source']} → {best['target']}" in text
    elif tested:
        where = f"in none of {len(tested)} transitions do blocks" if len(tested) > 1 else "blocks do not"
        assert f"No blocks: {where} describe" in text
    elif records:
        assert "No transition was tested for blocks" in text


def test_the_question_names_what_the_first_layer_really_chose(reports):
    report = reports("experts")
    path = next(record for record in report.results["paths"] if record["kind"] == "observed")
    wanted = f"{report.folder} --layer 0 --after {','.join(map(str, path['experts'][0]))}"
    assert wanted in report.page.text


def test_a_shorter_report_leaves_no_file_of_the_longer_one(reports, tmp_path):
    longer = ["transition-0-1", "transition-1-2", "transition-2-3"]
    page = write_report(reports("states").study, tmp_path, figures=True)
    assert sorted(path.stem for path in (tmp_path / "figures").glob("transition-*.png")) == longer
    assert all(f'href="figures/{name}.png"' in page.read_text() for name in longer)
    write_report(reports("states").study, tmp_path)
    assert list((tmp_path / "figures").glob("transition-*.png")) == []
    assert len(list((tmp_path / "tables").glob("transition-*.csv"))) == 3
    write_report(reports("one layer").study, tmp_path)
    assert list((tmp_path / "tables").glob("transition-*.csv")) == []
    assert "transition-0-1" not in page.read_text()


def with_extra(study, **extra):
    return replace(study, meta=replace(study.meta, extra=extra))


def test_selections_that_changed_on_replay_are_shown(reports, tmp_path):
    study = with_extra(reports("one layer").study, replay={"selections": 8000, "changed": 100})
    html = write_report(study, tmp_path).read_text(encoding="utf-8")
    said = json.loads((tmp_path / "results.json").read_text())["trace"]["replay"]
    assert said == {"selections": 8000, "changed": 100, "changed_percent": 1.25}
    assert 'selections that changed on replay: <data value="1.25">1.25</data> % of' in html
    assert "Replay" not in reports("one layer").html
    assert "replay" not in reports("one layer").results["trace"]


@pytest.mark.parametrize(
    "said",
    [
        "100 %",
        {},
        {"selections": 0, "changed": 0},
        {"selections": 5, "changed": 6},
        {"selections": "5", "changed": 1},
        {"selections": True, "changed": True},
        {"selections": 5, "changed": -1},
    ],
)
def test_a_replay_that_says_nonsense_is_left_out(reports, tmp_path, said):
    assert "replay" not in results(with_extra(reports("one layer").study, replay=said))["trace"]


def test_progress_is_reported_to_the_end(reports, tmp_path):
    reported = []
    write_report(reports("one layer").study, tmp_path, tick=lambda *step: reported.append(step))
    # Jobs that find nothing to draw write no file.
    jobs = reported[0][2]
    assert jobs >= len(list((tmp_path / "figures").glob("*.png"))) > 0
    assert reported == [("drawing figures", done, jobs) for done in range(jobs + 1)]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (-5, "−5"),
        (0.25, "0.250"),
        (-25.1158, "−25.1"),
        (123.4, "123"),
        (999.7, "1,000"),
        (-136263.75, "−136,264"),
        (1.0048e-18, "1.00×10⁻¹⁸"),
        (0.00009996, "0.000100"),
        (0.00002524, "2.52×10⁻⁵"),
        (3.2e17, "3.20×10¹⁷"),
    ],
)
def test_numbers_for_people(value, shown):
    assert number(value) == shown
