"""Cautions travel with numbers: of poor traces nothing that results.json calls unreliable is printed without that."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.report.cautions import MARKS, Cautions
from routestat.report.numbers import number
from routestat.report.terminal.study import summarise
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.report.conftest import report_of

# What a caution is about: figures in bits, and shares of them. Tests hold all the same, targets are given, and the
# plug-in stands on the page only as "information as it looks, uncorrected".
ABOUT = re.compile(r"^(?!log10|p_)(?!.*(_covers|_target|_plugin)$).*(bits|half_width|theils_u$)")


def test_marks_stand_beside_numbers_and_below_once():
    marks = Cautions()
    assert marks.beside("1.36", None, "") == "1.36"
    assert marks.beside("2.85", "only 0.054 tokens per cell") == "2.85 *"
    assert marks.beside("2.32", "only 1,200.5 tokens per cell", "short documents") == "2.32 *†"
    assert marks.beside("–", "none of it") == "–"
    assert marks.beside("2.41", "only 7×10⁻⁵ tokens per cell") == "2.41 *"
    assert marks.below == ["* only 7×10⁻⁵ to 1,200.5 tokens per cell", "† short documents"]
    assert marks.of({"caution": 'a "b" < c'}) == (
        ' <abbr class="caution" title="a &#34;b&#34; &lt; c">‡</abbr>'
    )
    assert marks.of({}) == ""
    for place in range(9):
        marks.mark("abcdefghi"[place])
    assert [line.split()[0] for line in marks.below][5:8] == ["‖", "**", "††"]


class Blocks(HTMLParser):
    """Rows, list items and paragraphs of a page: the exact numbers in each, and the cautions that stand there."""

    def __init__(self, text):
        super().__init__()
        self.blocks, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("tr", "li", "p", "summary"):
            self.open.append((tag, set(), [], given.get("data-table")))
            self.blocks.append(self.open[-1])
        if tag == "data" and self.open:
            self.open[-1][1].add(float(given["value"]))
        if tag == "abbr" and given.get("class") == "caution":
            assert self.open, given["title"]
            self.open[-1][2].append(given["title"])

    def handle_endtag(self, tag):
        if self.open and tag == self.open[-1][0]:
            self.open.pop()

    def handle_data(self, data):
        self.text += data


def trace_of(kind):
    rng = np.random.default_rng(4)
    n_experts, top_k, documents, length, layers = {
        "one token": (16, 2, 200, 1, 4),
        "three tokens": (8, 2, 60, 3, 4),
        "two documents": (8, 2, 2, 50, 4),
        "tiny and wide": (16, 2, 8, 12, 4),
        "tiny experts": (64, 6, 12, 10, 3),
        "unknown token before": (4, 2, 40, 1, 4),
        "tokens with ids": (8, 2, 30, 20, 4),
    }[kind]
    n = documents * length
    scores = rng.random((n, layers, n_experts)) + 0.3 * rng.random((n, 1, n_experts))
    experts = np.argsort(scores, axis=2)[:, :, :top_k]
    token = rng.integers(0, 12, n) if "ids" in kind else None
    meta = TraceMeta(routers_like(range(layers), n_experts, top_k), name=kind)
    document = np.repeat(np.arange(documents), length)
    return Trace.from_arrays(meta, document, None, None, experts=experts, token=token)


KINDS = (
    "one token",
    "three tokens",
    "two documents",
    "tiny and wide",
    "tiny experts",
    "unknown token before",
    "tokens with ids",
)


@pytest.fixture(scope="module", params=KINDS)
def poor(request, tmp_path_factory):
    trace = trace_of(request.param)
    found = study(
        trace,
        count(trace),
        count_paths(trace, None, 2),
        np.random.default_rng(0),
        structure=StructurePlan(n_blocks=2, n_paths=2),
    )
    return report_of(found, tmp_path_factory.mktemp("poor"))


@pytest.fixture
def printed(poor, capsys, monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    summarise(poor.study, Path("out/index.html"))
    return capsys.readouterr().out


def records(value):
    """Every record of results.json."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from records(item)


def numbers(record, keys=ABOUT):
    """The exact numbers of a record that its caution is about; whole numbers and 0 are found anywhere."""
    return {
        value
        for key, value in record.items()
        if keys.search(key) and isinstance(value, float) and value != round(value)
    }


def test_poor_traces_have_cautions_to_pass_on(poor):
    """Or the tests below would have nothing to find."""
    assert any("caution" in record for record in poor.results["dependence"])
    # The expert view withholds the number itself.
    assert any(
        r.get("mi_bits_ci95_covers") is False or r["mi_bits"] is None for r in poor.results["dependence"]
    )
    assert any("caution" in record for record in poor.results["map"])


def test_the_page_shows_no_number_without_its_caution(poor):
    blocks, found = Blocks(poor.html).blocks, 0
    for record in records(poor.results):
        keyed = record.get("parts_cautions", {}) | record.get("cautions", {})
        cautions = [] if "cautions" in record else [(record.get("caution"), numbers(record))]
        for key, caution in keyed.items():
            cautions.append((caution, numbers(record, re.compile(f"^{key}$"))))
        for caution, exact in cautions:
            if not caution:
                continue
            for tag, shown, titles, table in blocks:
                if exact & shown:
                    found += 1
                    assert any(caution in title for title in titles), (tag, table, caution, exact & shown)
    assert found > 2


def test_intervals_that_would_not_cover_are_shown_nowhere(poor, printed):
    shown = set().union(*(block[1] for block in Blocks(poor.html).blocks))
    uncovered = [r for r in records(poor.results) if r.get("mi_bits_ci95_covers") is False]
    assert uncovered or poor.results["states"] == "expert"
    for record in uncovered:
        assert record["mi_bits_ci95"] == [None, None]
        for key in ("mi_bits_ci95", "mi_bits_within_document_ci95"):
            limits = {limit for limit in record.get(key, ()) if limit is not None and limit != round(limit)}
            assert not limits & shown
            assert not any(f"{number(limit)} …" in printed for limit in limits)
    if uncovered:
        assert "no interval is given where the remaining bias would exceed it" in poor.page.text
        assert "no interval is given where the remaining bias would exceed it" in printed


def row_of(printed, label):
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{label} ")]
    return line


def test_the_terminal_shows_no_number_without_its_caution(poor, printed):
    said = " ".join(printed.split())
    for record in poor.results["dependence"]:
        line = row_of(printed, f"{record['source']} → {record['target']}")
        about = (
            {"mi_bits", "mi_bits_within_document", "mi_bits_beyond_token_type"}
            if "caution" in record
            else set()
        )
        for key in about | set(record["parts_cautions"]) - {"mi_bits_given_previous"}:
            if record[key] is not None:
                assert re.search(rf"(^| ){re.escape(number(record[key]))} [{MARKS}]", line), (key, line)
    for record in poor.results["memory"]["contexts_mean"]:
        if "caution" in record and record["log_loss_bits"] is not None:
            line = row_of(printed, record["given"])
            assert re.search(rf"{re.escape(number(record['log_loss_bits']))} [{MARKS}]", line), line
            # The sentences have the numbers too.
            share = record["caution"].split(" of the tokens")[0]
            assert f"{share} have the {record['given']}" in said
    printed_keys = ("mi_bits", "mi_bits_within_document", "mi_bits_beyond_token_type")
    printed_scores = [one for one in poor.results["prediction_mean"] if f"\n{one['predictor']} " in printed]
    for record in printed_scores:
        if "log_loss_bits" in record.get("cautions", {}) and record["log_loss_bits"] is not None:
            line = row_of(printed, record["predictor"])
            assert re.search(rf"{re.escape(number(record['log_loss_bits']))} [{MARKS}]", line), line
    texts = [
        r["caution"]
        for r in poor.results["dependence"]
        if "caution" in r and any(r[key] is not None for key in printed_keys)
    ]
    texts += [
        one
        for r in poor.results["dependence"]
        for k, one in r["parts_cautions"].items()
        if "previous" not in k
    ]
    for text in texts:
        # Numbers of cautions that say the same are joined to a range.
        words = [re.escape(word) for word in re.split(r"[\d.,]*\d", text)]
        assert re.search(f"[{MARKS}] " + r"[\d., to]*".join(words), said), text


def test_what_is_undefined_comes_with_its_reason(poor, printed):
    """Wherever a table of the page or the terminal shows –, the reason is there too."""
    results = poor.results
    memory = results["memory"]
    shown = [*results["dependence"], *memory["contexts_mean"], *results["prediction_mean"]]
    for record in (*shown, *results["order"], *results["coactivation"], *results["enough"]):
        missing = any(value is None or value == [None, None] for value in record.values())
        for reason in (record.get("reason"), *record.get("parts_reasons", ())):
            # What the expert view does not compute has no columns there.
            if reason and missing and not reason.startswith("expert view: too many subsets"):
                assert reason in poor.page.text, reason
    said = " ".join(printed.split())
    for record in shown:
        for reason in (record.get("reason"), *record.get("parts_reasons", ())):
            if reason and memory["contexts_mean"] is not None and any(v is None for v in record.values()):
                assert all(part in said for part in reason.split("; ")), reason


@pytest.mark.parametrize("poor", ["one token"], indirect=True)
def test_one_token_documents_have_nothing_within_documents(poor, printed):
    for record in poor.results["dependence"]:
        assert record["mi_bits_within_document"] is record["log10_p_within_document"] is None
        assert record["mi_bits_within_document_ci95"] == [None, None]
    for record in poor.results["coactivation"]:
        assert record["bits_within_document"] is record["log10_p_within_document"] is None
        assert record["bits"] is not None
        assert "all documents have one token" in record["reason"]
    assert "–: all documents have one token: there is nothing within a document" in printed
    (line,) = {line for line in printed.splitlines() if line.startswith("token before")}
    assert line.split()[2:] == ["–", "–", "–"]
    assert "–: no token has this context: token before" in printed


@pytest.mark.parametrize("poor", ["three tokens"], indirect=True)
def test_short_documents_say_that_too_little_shows_within_them(poor, printed):
    for record in poor.results["dependence"]:
        assert (
            "documents have 3 tokens on average: 33 %" in record["parts_cautions"]["mi_bits_within_document"]
        )
    assert "documents have 3 tokens on average: 33 %" in " ".join(printed.split())
