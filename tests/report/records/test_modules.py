"""Experts over the depth, documents and the model's facts in results.json, tables and page, and as pictures."""

import csv
import json

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.report.figures import documents as document_figures
from routestat.report.figures import modules as module_figures
from routestat.report.html.study import write_report
from routestat.report.records.modules import reading
from routestat.structure.model_facts import model_facts
from routestat.study.modules import measure_modules
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.token_texts import TokenTexts
from tests.report.conftest import Page
from tests.study.module_traces import HOSTILE, shared_trace

CONFIG = {
    "model_type": "mixtral",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_local_experts": 6,
    "num_experts_per_tok": 2,
    "vocab_size": 30,
    "dtype": "bfloat16",
}
PLAN = StructurePlan(
    documents=("3", f"{HOSTILE}/4"),
    token_texts=TokenTexts({n: "$x_1$<i>" if n == 3 else f" t{n}" for n in range(30)}),
    model_facts=model_facts(CONFIG),
    shared_modules=True,
)


def studied(trace, plan, parts=("modules", "chain")):
    return study(trace, count(trace), None, np.random.default_rng(0), parts=parts, order=1, structure=plan)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    found = studied(shared_trace(identity_experts={"L01": [5], "L03": [5]}), PLAN)
    html = write_report(found, folder).read_text()
    return found, folder, Page(html), html, json.loads((folder / "results.json").read_text())


def rows_of(folder, name):
    with (folder / "tables" / f"{name}.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_numbers_are_those_of_the_findings(written):
    found, folder, page, _, record = written
    modules = found.modules
    assert [row["busiest_share"] for row in record["expert_use"]] == [
        one.share.value for one in modules.busiest
    ]
    assert record["modules"]["reading"] == reading(modules)
    assert [row["module"] for row in record["module_order"]] == modules.shared.deployment.order
    assert record["modules"]["repeat_share"] == modules.shared.repeats.share.value
    strongest = record["module_successions"][0]
    assert (strongest["first"], strongest["second"]) == (0, 1)
    assert len(rows_of(folder, "module_successions")) == 30
    assert len(rows_of(folder, "module_joint")) == 15
    assert [row["identity_share"] for row in record["identity_experts"]] == [
        use.share.value for use in modules.identity.layers
    ]
    assert len(page.table("module_order")) == 6
    assert len(page.table("identity_experts")) == 2


def test_table_of_expert_use_has_the_busiest_first(written):
    found, folder, *_ = written
    rows = rows_of(folder, "expert_use")
    assert len(rows) == 30
    own = [row for row in rows if row["layer"] == "2"]
    loads = [float(row["load"]) for row in own]
    assert loads == sorted(loads, reverse=True)
    load = found.loads[2].balance
    assert [float(row["load"]) for row in own] == pytest.approx(
        [load.load[int(row["expert"])] for row in own]
    )


def test_documents_have_a_table_and_pictures(written):
    found, folder, page, html, record = written
    view = found.modules.documents[0]
    assert [row["document"] for row in record["document_views"]] == [3, 4]
    rows = rows_of(folder, "document-3")
    assert len(rows) == len(view)
    np.testing.assert_array_equal([int(row["position"]) for row in rows], view.position)
    assert rows[0]["L02"] == " ".join(map(str, view.experts["L02"][0].tolist()))
    assert float(rows[0]["L02_bits"]) == pytest.approx(view.surprise_bits[0, 2], abs=1e-4)
    assert rows[0]["text"] == view.texts[0]
    sources = [tag["src"] for tag in page.all("img")]
    assert {"figures/document-3-0.png", "figures/document-4-0.png"} <= set(sources)
    assert all((folder / source).exists() for source in sources)
    # Neither names of documents nor texts of tokens are markup.
    assert HOSTILE not in html
    assert "<i>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;/4" in html


def test_other_documents_of_an_earlier_report_are_removed(written, tmp_path):
    found, *_ = written
    (tmp_path / "tables").mkdir()
    (tmp_path / "figures").mkdir()
    for stale in ("tables/document-9.csv", "figures/document-9-0.png"):
        (tmp_path / stale).write_text("")
    write_report(found, tmp_path)
    assert not (tmp_path / "tables/document-9.csv").exists()
    assert not (tmp_path / "figures/document-9-0.png").exists()
    assert (tmp_path / "tables/document-3.csv").exists()


def test_the_facts_of_the_model_are_beside_its_load(written):
    _found, _, page, _, record = written
    facts = record["model_facts"]
    assert facts["parameters"] == PLAN.model_facts.parameters
    assert facts["expert_bytes"] == 2 * 3 * 8 * 16
    ginis = [row["load_gini"] for row in record["layers"]]
    assert facts["load_gini"] == {"median": np.median(ginis), "min": min(ginis), "max": max(ginis)}
    assert facts["n_expert_places"] == facts["experts_seen"] == 30
    assert sum(row["parameters"] for row in record["model_parts"]) == facts["parameters"]
    assert len(page.table("model_parts")) == 7


def test_an_unknown_family_says_what_is_not_known(tmp_path):
    plan = StructurePlan(model_facts=model_facts({**CONFIG, "model_type": HOSTILE}))
    html = write_report(studied(shared_trace(), plan, ("modules",)), tmp_path).read_text()
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["model_facts"]["parameters"] is None
    assert "is not known here" in record["model_facts"]["reason"]
    assert HOSTILE not in html
    assert "is not known here" in Page(html).text


def test_ordinary_models_are_not_followed_by_id(tmp_path):
    html = write_report(studied(shared_trace(), StructurePlan(), ("modules",)), tmp_path).read_text()
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["modules"]["shared"] is False
    assert not {"module_order", "module_successions", "identity_experts", "document_views"} & set(record)
    assert "does not follow one expert through the layers" in Page(html).text


def test_few_documents_have_a_reading_without_an_interval():
    trace = shared_trace(documents=3)
    found = measure_modules(trace, count(trace), StructurePlan(), lambda: None)
    assert "has no interval: 3 independent units" in reading(found)


def test_the_busiest_first_and_dead_experts_crossed(reports):
    loads = reports("dead experts").study.loads
    figure = module_figures.expert_use(loads)
    by_id, by_rank = figure.axes[:2]
    np.testing.assert_allclose(by_id.images[0].get_array()[:, 2], loads[2].relative)
    drawn = by_rank.images[0].get_array()[:, 2].compressed()
    assert (np.diff(drawn) <= 0).all()
    assert sorted(zip(by_id.lines[0].get_xdata(), by_id.lines[0].get_ydata(), strict=True)) == [
        (1, 2),
        (1, 5),
    ]


def test_lifts_are_drawn_where_they_belong(written):
    shared = written[0].modules.shared
    after, together = module_figures.module_pairs(shared).axes[::2]
    order = shared.deployment.order
    row, column = order.index(0), order.index(1)
    drawn = after.images[0].get_array()
    at = np.flatnonzero((shared.successions.first == 0) & (shared.successions.second == 1))[0]
    assert drawn[row, column] == pytest.approx(shared.successions.lift[at])
    assert np.ma.getmaskarray(drawn).diagonal().all()
    symmetric = together.images[0].get_array()
    np.testing.assert_allclose(symmetric.filled(0), symmetric.filled(0).T)


def test_mean_layers_are_drawn_with_their_intervals(written):
    shared, loads = written[0].modules.shared, written[0].loads
    means = module_figures.deployment(shared, loads).axes[2]
    assert means.lines[1].get_xdata().tolist() == [
        shared.deployment.mean_layer[module].value for module in shared.deployment.order
    ]
    figure = module_figures.identity(written[0].modules.identity)
    assert figure.axes[0].lines[0].get_ydata().tolist() == [
        use.share.value for use in written[0].modules.identity.layers
    ]


def test_cells_of_a_document_are_its_experts(written):
    view = written[0].modules.documents[0]
    figure = document_figures.document(view, 0)
    image = figure.axes[0].images[0].get_array()
    assert image.shape[:2] == (5, 2 * len(view))
    first = image[2, :2]
    same = np.flatnonzero((view.experts["L02"] == view.experts["L02"][0]).all(axis=1))
    for token in same:
        np.testing.assert_array_equal(image[2, 2 * token : 2 * token + 2], first)
    dots = figure.axes[0].lines[0]
    assert set(zip(dots.get_ydata().tolist(), dots.get_xdata().tolist(), strict=True)) == set(
        zip(*np.nonzero(view.marked.T), strict=True)
    )
    bars = figure.axes[1].patches
    np.testing.assert_allclose([bar.get_height() for bar in bars], view.surprise_bits.sum(axis=1))
    # Drawn once, so that texts with the signs of formulas are seen to be drawn as they are.
    figure.canvas.draw()


def test_wide_models_show_what_is_kept(tmp_path):
    trace = shared_trace(modules=24, top_k=3, documents=8)
    (view,) = measure_modules(
        trace, count(trace, states="expert"), StructurePlan(documents=("2",)), lambda: None
    ).documents
    assert not view.is_coloured
    drawn = document_figures.document(view, 0).axes[0].images[0].get_array()
    now, before = (set(view.experts["L01"][place].tolist()) for place in (5, 4))
    assert drawn[1, 5] == pytest.approx(len(now & before) / 3)


def test_what_cannot_be_drawn_is_a_sentence(written):
    view = written[0].modules.documents[0]
    assert "no token of it is counted" in document_figures.document(view, 7)
    assert "No tokens" in module_figures.expert_use([])
    assert "No tokens" in module_figures.deployment(written[0].modules.shared, [])
