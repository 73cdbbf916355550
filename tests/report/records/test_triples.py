"""Three consecutive layers in results.json, the files of cells, and the page."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.report.html.study import write_report
from routestat.report.records.triples import SHOWN
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta
from routestat.traces.store import Trace
from routestat.traces.synthetic import chain, clustered, planted_paths, to_trace
from tests.report.conftest import HOSTILE, Page


def report_of(trace: Trace, folder: Path, triples: bool = True, **how):
    findings = study(
        trace,
        count(trace),
        None,
        np.random.default_rng(0),
        parts=("level-checks",),
        structure=StructurePlan(triples=triples),
        **how,
    )
    html = write_report(findings, folder).read_text(encoding="utf-8")
    return findings, json.loads((folder / "results.json").read_text()), Page(html), html


def trace_of(layers=4, documents=30, n_experts=4, top_k=2, name="synthetic") -> Trace:
    made = chain(
        coupling=0.7,
        rng=np.random.default_rng(7),
        n_experts=n_experts,
        top_k=top_k,
        layers=layers,
        documents=documents,
        mean_length=40,
    )
    return to_trace(made, name)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_cells_and_margins_in_files_agree_with_the_results(tmp_path: Path):
    _, results, page, html = report_of(trace_of(), tmp_path)
    assert [(row["first"], row["middle"], row["last"]) for row in results["triples"]] == [
        (0, 1, 2),
        (1, 2, 3),
    ]
    one = results["triples"][0]
    rows = rows_of(tmp_path / "tables" / "triple-L00-L01-L02.csv")
    n = one["n_tokens"]
    assert sum(int(row["count"]) for row in rows) == n
    assert sum(float(row["joint"]) for row in rows) == pytest.approx(1.0, rel=1e-5)
    counts = [int(row["count"]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    pairs = {}
    for row in rows:
        own = row["first"], row["middle"]
        pairs[own] = pairs.get(own, 0) + int(row["count"])
    for row in rows:
        tokens = pairs[row["first"], row["middle"]]
        assert int(row["first_middle_tokens"]) == tokens
        assert float(row["conditional"]) == pytest.approx(int(row["count"]) / tokens, rel=1e-5)
        assert float(row["lift_chain"]) == pytest.approx(
            int(row["count"]) / float(row["expected_chain"]), rel=1e-5
        )
    margins = rows_of(tmp_path / "tables" / "triple-L00-L01-L02-margins.csv")
    assert sum(int(row["count"]) for row in margins) == 6 * n
    singles = {row["first"]: int(row["count"]) for row in margins if not row["middle"] and not row["last"]}
    assert sum(singles.values()) == n
    assert {row["first_experts"] for row in margins if row["first"]} <= {
        "0 1",
        "0 2",
        "0 3",
        "1 2",
        "1 3",
        "2 3",
    }
    assert len(rows_of(tmp_path / "tables" / "triples.csv")) == 2
    shown = [row for row in results["triple_cells"] if row["first"] == 0 and row["kind"] == "largest"]
    assert len(shown) == min(SHOWN, len(rows))
    assert [row["count"] for row in shown] == counts[:SHOWN]
    assert shown[0]["lift_independent"] == pytest.approx(float(rows[0]["lift_independent"]), rel=1e-5)
    assert sum(row["most_informative"] for row in results["triples"]) == 1
    # The page: a sentence, the table of all triples, the cells of one of them.
    assert results["triples_reading"] in page.text
    assert len(page.table("triples")) == 2
    best = next(row for row in results["triples"] if row["most_informative"])
    own = [row for row in results["triple_cells"] if row["first"] == best["first"]]
    assert len(page.table("triple_cells")) == len(own)
    assert 'href="tables/triple-L00-L01-L02-margins.csv"' in html
    assert (tmp_path / "figures" / "triples.png").is_file()


def test_off_by_default_and_old_files_go(tmp_path: Path):
    report_of(trace_of(), tmp_path)
    assert list((tmp_path / "tables").glob("triple*.csv"))
    findings, results, page, _ = report_of(trace_of(), tmp_path, triples=False)
    assert findings.triples is None
    assert not [key for key in results if key.startswith("triple")]
    assert not list((tmp_path / "tables").glob("triple*.csv"))
    assert "Three consecutive layers" not in page.text


def test_the_expert_view_has_cells_and_says_why_it_has_no_information(tmp_path: Path):
    made = planted_paths(
        weight=0.5,
        rng=np.random.default_rng(5),
        n_experts=16,
        top_k=4,
        layers=3,
        documents=40,
        mean_length=40,
    )
    _, results, page, _ = report_of(to_trace(made), tmp_path)
    (one,) = results["triples"]
    assert one["interaction_bits"] is None
    assert one["cmi_bits_ci95"] == [None, None]
    assert "expert view" in one["reason"]
    assert one["n_cells_more_than_chain"] > 0
    assert results["triples_reading"].startswith(
        "Most differences from the chain of order 1 are at layers 0, 1, 2"
    )
    rows = rows_of(tmp_path / "tables" / "triple-L00-L01-L02.csv")
    assert "first_experts" not in rows[0]
    assert sum(int(row["count"]) for row in rows) == 64 * one["n_tokens"]
    assert page.table("triple_cells")


@pytest.mark.parametrize("tokens_of_a_topic", [False, True])
def test_information_of_too_few_tokens_is_no_finding(tmp_path: Path, tokens_of_a_topic: bool):
    """28 pairs and 3,000 tokens: independent layers appear to share more than a bit given the middle one."""
    shape = dict(n_experts=8, top_k=2, layers=3, documents=30, mean_length=100, lengths="exponential")
    topics = dict(topic_concentration=3.0, stickiness=0.4) if tokens_of_a_topic else {}
    _, results, _, _ = report_of(
        to_trace(clustered(rng=np.random.default_rng(30), **topics, **shape)), tmp_path
    )
    assert results["triples"][0]["cmi_bits"] > 0.5
    assert "too few tokens" in results["triples"][0]["cautions"]["cmi_bits"]
    reading = results["triples_reading"]
    assert reading.startswith("In none of 1 set of three consecutive layers does the first layer clearly add")
    assert "cannot be relied on" in reading
    assert "synergy" not in reading


@pytest.mark.parametrize(
    ("layers", "documents", "said"),
    [(2, 20, "Fewer than three layers"), (3, 1, "1 independent unit"), (3, 4, "4 independent units")],
)
def test_too_little_to_test(tmp_path: Path, layers: int, documents: int, said: str):
    _, results, page, _ = report_of(trace_of(layers, documents), tmp_path)
    assert said in page.text
    for row in results["triples"]:
        assert row["interaction_bits_ci95"] == [None, None]
        assert row["reason"]


def test_layers_without_tokens(tmp_path: Path):
    made = chain(
        coupling=0.5,
        rng=np.random.default_rng(1),
        n_experts=4,
        top_k=2,
        layers=3,
        documents=9,
        mean_length=20,
    )
    states = made.states.copy()
    states[:, 1] = made.alphabet.missing
    known = TraceMeta(to_trace(made).meta.routers, name=HOSTILE)
    trace = Trace.from_arrays(known, made.document, made.position, states)
    _, results, page, html = report_of(trace, tmp_path)
    assert results["triples"][0]["n_tokens"] == 0
    assert "no token has a choice at all three layers" in results["triples"][0]["reason"]
    assert results["triple_cells"] == []
    assert not list((tmp_path / "tables").glob("triple-*.csv"))
    assert "No three consecutive layers have a token" in page.text
    assert HOSTILE not in html
