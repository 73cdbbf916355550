"""compare as a user runs it, in this process: good input, bad input, and figures recomputed from the rows."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from routestat import Alphabet, TraceMeta, TraceWriter, jensen_shannon
from routestat.cli.runner import run
from routestat.compare import app
from routestat.counting import common_windows
from routestat.report.numbers import number
from routestat.study.comparison_inputs import model_of
from routestat.traces.metadata import Router, routers_like
from routestat.traces.pairing.layer_matching import common_routers

ROOT = Path(__file__).parents[2]
DOCUMENTS, TOKENS, LAYERS = 24, 60, 3
LENGTHS = TOKENS + np.arange(DOCUMENTS)


def rows_of(seed, experts=8, k=2):
    """Experts `[token, layer, k]`: documents have a taste, tokens follow the layer before."""
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(DOCUMENTS), LENGTHS)
    taste = rng.normal(0, 0.5, (DOCUMENTS, LAYERS, experts))[document]
    chosen = np.argsort(-(taste + rng.gumbel(size=taste.shape)), axis=2)[..., :k]
    follows = rng.random(len(document)) < 0.3
    chosen[follows, 1] = chosen[follows, 0]
    return np.sort(chosen, axis=2)


def write(folder, chosen, *, names=None, token=None, domains=None, experts=8, layers=LAYERS, **meta):
    document = np.repeat(np.arange(DOCUMENTS), LENGTHS)[: len(chosen)]
    k = chosen.shape[2]
    states = Alphabet(experts, k).rank(chosen)
    about = TraceMeta(routers_like(tuple(range(layers)), experts, k), name=folder.name, **meta)
    with TraceWriter(folder, about) as writer:
        table = {"document": list(range(document.max() + 1))}
        table |= {"name": names} if names else {}
        table |= {"domain": domains} if domains else {}
        writer.add_documents(table)
        writer.write(document, states=states, **({} if token is None else {"token": token}))
    return folder


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """one: 24 documents; fp32, bf16: the same texts, 10 % of layer 1 flipped; wide: 6 of 24 experts."""
    folder = tmp_path_factory.mktemp("traces")
    rng = np.random.default_rng(9)
    first, domains = rows_of(0), ["law", "code"] * (DOCUMENTS // 2)
    token = rng.integers(0, 500, len(first))
    second, flipped = first.copy(), rng.random(len(first)) < 0.1
    second[flipped, 1] = np.sort(np.argsort(rng.random((flipped.sum(), 8)), axis=1)[:, :2], axis=1)
    wide = np.sort(np.argsort(rng.random((2, len(first), LAYERS, 24)), axis=3)[..., :6], axis=3)
    return {
        "fp32": write(folder / "fp32", first, token=token, domains=domains, model="m-fp32", precision="fp32"),
        "bf16": write(
            folder / "bf16", second, token=token, domains=domains, model="M BF16", precision="bf16"
        ),
        "other": write(folder / "other", rows_of(1), token=rng.integers(0, 500, len(first)), model="m"),
        "wide": write(folder / "wide", wide[0], experts=24, token=token, model="w"),
        "wide2": write(folder / "wide2", wide[1], experts=24, token=token, model="w"),
        "single": write(folder / "single", first[: LENGTHS[0]], token=token[: LENGTHS[0]], model="m"),
        "rows": (first, second, flipped),
    }


def compare(out, *arguments):
    assert run(app, "routestat compare", [*map(str, arguments), "--out", str(out)]) == 0
    return json.loads((out / "results.json").read_text())


def complaint(capsys, *arguments):
    """The one line of a refusal."""
    assert run(app, "routestat compare", [*map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def test_other_documents_are_compared_as_two_samples(traces, tmp_path, capsys):
    record = compare(tmp_path / "r", traces["fp32"], traces["other"])
    said = capsys.readouterr().out
    assert "Differences of the loads, largest first" in said
    assert str(tmp_path / "r" / "index.html") in said.replace("\n", "")
    assert (record["paired"], record["n_common_documents"], record["states"]) == (False, 0, "subset")
    alphabet = Alphabet(8, 2)
    states = [alphabet.rank(rows) for rows in (traces["rows"][0], rows_of(1))]
    for layer, row in enumerate(record["layers"]):
        p, q = (np.bincount(s[:, layer], minlength=28) for s in states)
        assert row["jsd_bits_plugin"] == pytest.approx(jensen_shannon(p, q))
        assert row["total_variation"] == pytest.approx(np.abs(p / p.sum() - q / q.sum()).sum() / 2)
        top = row["moved"][0]
        assert top["difference"] == pytest.approx((p / p.sum() - q / q.sum())[top["state"]])
        assert alphabet.unrank(top["state"]).tolist() == [int(e) for e in top["experts"].split()]
        load = np.stack(
            [np.bincount(rows[:, layer].ravel(), minlength=8) for rows in (traces["rows"][0], rows_of(1))]
        )
        share = load / load.sum(axis=1, keepdims=True)
        entropy = -(share * np.log2(share)).sum(axis=1)
        assert [row["load_entropy_bits_a"], row["load_entropy_bits_b"]] == pytest.approx(entropy)
        ordered = np.sort(share, axis=1)
        assert row["profile_distance"] == pytest.approx(np.abs(ordered[0] - ordered[1]).sum() / 2)
        assert "flip_rate" not in row
    assert [(t["source"], t["target"]) for t in record["transitions"]] == [(0, 1), (1, 2)]
    joints = [np.bincount(s[:, 0].astype(int) * 28 + s[:, 1], minlength=784) for s in states]
    assert record["transitions"][0]["jsd_bits_plugin"] == pytest.approx(jensen_shannon(*joints))


def test_the_same_texts_are_paired_and_flips_are_counted(traces, tmp_path):
    record = compare(tmp_path / "r", traces["fp32"], traces["bf16"])
    first, second, _ = traces["rows"]
    assert (record["paired"], record["n_common_documents"]) == (True, DOCUMENTS)
    assert not any("different names" in note for note in record["notes"])
    differ = (first != second).any(axis=2).mean(axis=0)
    assert [row["flip_rate"] for row in record["layers"]] == pytest.approx(differ)
    common = (first[:, :, :, None] == second[:, :, None, :]).sum(axis=(2, 3)).mean(axis=0)
    assert [row["kept_experts"] for row in record["layers"]] == pytest.approx(common)
    assert record["layers"][0]["p_clustered"] == 1
    assert record["layers"][1]["flip_rate_ci95"][0] < differ[1] < record["layers"][1]["flip_rate_ci95"][1]
    apart = compare(tmp_path / "s", traces["fp32"], traces["bf16"], "--paired", "no")
    assert (apart["paired"], "flip_rate" in apart["layers"][0]) == (False, False)
    assert apart["layers"][1]["p_clustered"] > record["layers"][1]["p_clustered"]


def test_one_trace_by_domain(traces, tmp_path):
    arguments = [traces["fp32"], traces["fp32"], "--domain-a", "law", "--domain-b", "code"]
    record = compare(tmp_path / "r", *arguments, "--layers", "0,2")
    document = np.repeat(np.arange(DOCUMENTS), LENGTHS)
    states = Alphabet(8, 2).rank(traces["rows"][0])
    p, q = (np.bincount(states[document % 2 == d, 2], minlength=28) for d in (0, 1))
    assert [layer["layer"] for layer in record["layers"]] == [0, 2]
    assert record["layers"][1]["jsd_bits_plugin"] == pytest.approx(jensen_shannon(p, q))
    assert (record["a"]["n_documents"], record["b"]["n_documents"]) == (12, 12)
    assert record["a"]["n_tokens"] == (document % 2 == 0).sum()
    assert not record["paired"]


def test_a_trace_and_itself_is_identical_and_says_so(traces, tmp_path, capsys):
    record = compare(tmp_path / "r", traces["fp32"], traces["fp32"])
    assert "the same documents of the same trace" in capsys.readouterr().out.replace("\n", " ")
    assert all(row["p_clustered"] == 1 and row["flip_rate"] == 0 for row in record["layers"])
    assert all(row["n_moved"] == 0 for row in record["layers"] + record["transitions"])


def test_experts_where_subsets_are_too_many(traces, tmp_path):
    record = compare(tmp_path / "r", traces["wide"], traces["wide2"], "--layers", "0-1")
    assert record["states"] == "expert"
    assert any("expert view" in note for note in record["notes"])
    row = record["layers"][0]
    assert row["p_clustered"] > 0.001
    assert not {"chi2", "log10_p_iid", "cramers_v"} & set(row)
    assert {"expert", "share_a"} <= set(row["moved"][0])
    assert row["flip_rate"] > 0.99
    assert row["kept_experts"] == pytest.approx(6 * 6 / 24, abs=0.1)


def test_one_document_gets_differences_without_a_test(traces, tmp_path, capsys):
    record = compare(tmp_path / "r", traces["single"], traces["other"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "A has 1 independent unit: no test or interval below 6: differences are shown, but cannot be tested"
        in said
    )
    row = record["layers"][0]
    assert (row["p_clustered"], row["jsd_bits"]) == (None, None)
    assert row["jsd_bits_plugin"] > 0
    assert "1 independent unit in one of the two: no test or interval below 6" in row["reason"]
    page = (tmp_path / "r" / "index.html").read_text()
    assert "1 independent unit in one of the two: no test or interval below 6" in page


def test_other_routers_are_compared_without_labels(traces, tmp_path):
    record = compare(tmp_path / "r", traces["fp32"], traces["wide"], "--layers", "0-1")
    notes = " ".join(record["notes"])
    assert "different numbers of experts" in notes
    assert "different names" in notes
    row = record["layers"][0]
    assert "jsd_bits" not in row
    assert row["load_entropy_bits_difference_ci95"][1] < 0
    assert "labels" in row["reason"]
    assert "Statistics that need no labels" in (tmp_path / "r" / "index.html").read_text()


@pytest.mark.parametrize("layers", ["all", "1"])
def test_a_layer_without_any_choice_is_no_end(tmp_path, layers):
    states = np.random.default_rng(2).integers(0, 28, (2, 600, 3)).astype(np.uint8)
    states[0, :, 1] = 255
    for name, rows in zip("ab", states, strict=True):
        with TraceWriter(tmp_path / name, TraceMeta(routers_like((0, 1, 2), 8, 2))) as writer:
            writer.write(np.repeat(np.arange(30), 20), states=rows)
    record = compare(tmp_path / "r", tmp_path / "a", tmp_path / "b", "--layers", layers)
    row = next(row for row in record["layers"] if row["layer"] == 1)
    assert (row["jsd_bits_plugin"], row["p_clustered"]) == (None, None)
    assert "no tokens" in row["reason"]


def test_layers_that_only_one_has_are_left_out_with_a_note(traces, tmp_path):
    few = write(tmp_path / "few", rows_of(3)[:, :2], layers=2)
    record = compare(tmp_path / "r", traces["fp32"], few)
    assert [row["layer"] for row in record["layers"]] == [0, 1]
    assert any("layers 2 are not in both" in note for note in record["notes"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "7-9"], "no layer of 7-9 is in both traces: A has 0-2, B has 0-2"),
        (["--layers", "x"], "--layers wants all, or numbers"),
        (["--paired", "perhaps"], "--paired is auto, yes, no, got 'perhaps'"),
        (["--paired", "yes"], "no document in common"),
        (["--domain-a", "poetry"], "--domain-a poetry: no document of that domain; there are code, law"),
        (["--domain-b", "law"], "--domain-b law: no document of that domain; its documents name none"),
        (["--groups", "0"], "groups"),
    ],
)
def test_bad_input_gets_one_line(traces, tmp_path, capsys, arguments, message):
    other = write(tmp_path / "o", rows_of(1)[: LENGTHS[:5].sum()], token=np.arange(LENGTHS[:5].sum()))
    out = ["--out", str(tmp_path / "r")]
    assert message in complaint(capsys, traces["fp32"], other, *arguments, *out)
    assert not (tmp_path / "r").exists()


def test_folders_that_are_no_traces_or_no_place_for_a_report(traces, tmp_path, capsys):
    assert "no such folder" in complaint(capsys, traces["fp32"], tmp_path / "none")
    held = complaint(capsys, traces["fp32"], traces["other"], "--out", traces["other"])
    assert "holds a trace" in held
    assert "Missing argument" in complaint(capsys, traces["fp32"])


def test_text_of_the_traces_is_escaped(tmp_path):
    evil = "<script>document.title = 'broken'</script>"
    for name in "ab":
        write(tmp_path / name, rows_of(ord(name)), model=evil, dataset="<img src=x onerror=alert(1)>")
    compare(tmp_path / "r", tmp_path / "a", tmp_path / "b")
    page = (tmp_path / "r" / "index.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page
    assert {path.name for path in (tmp_path / "r" / "figures").iterdir()} == set(
        re.findall(r'src="figures/(.+?)"', page)
    )


def test_tables_hold_every_cell(traces, tmp_path):
    compare(tmp_path / "r", traces["fp32"], traces["other"])
    with (tmp_path / "r" / "tables" / "moved-L00-L01.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    states = [Alphabet(8, 2).rank(rows)[:, :2].astype(int) for rows in (traces["rows"][0], rows_of(1))]
    assert len(rows) == len(np.unique(np.concatenate([s[:, 0] * 28 + s[:, 1] for s in states])))
    size = [abs(float(row["difference"])) for row in rows]
    assert size == sorted(size, reverse=True)


def test_the_documentation_knows_every_key(traces, tmp_path):
    table = (ROOT / "docs" / "results.md").read_text().split("\n## compare")[1]
    words = set(re.findall(r"[a-z0-9_]+", table))
    record = compare(tmp_path / "r", traces["fp32"], traces["bf16"])
    for part, value in record.items():
        assert part in words, part
        for item in value if isinstance(value, list) else [value]:
            for key in item if isinstance(item, dict) else ():
                bare = key.removesuffix("_ci95").removeprefix("conditional_")
                figure = re.sub("_(a|b|difference)$", "", bare)
                names = {key, bare, figure}
                assert names & words, f"{part}: {key}"


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("Mixtral-8x7B bf16", "mixtral8x7b"),
        ("mixtral-8x7b-FP8", "mixtral8x7b"),
        ("OLMoE-1B-7B.Q4_K_M.gguf", "olmoe1b7b"),
    ],
)
def test_precision_is_no_part_of_a_model_s_name(name, rest):
    assert model_of(TraceMeta((Router(0, 8, 2),), model=name)) == rest


def test_two_routers_of_one_layer_go_by_name():
    a = TraceMeta((Router(0, 6, 2, "L00a"), Router(0, 6, 2, "L00b"), Router(1, 6, 2)))
    b = TraceMeta((Router(0, 6, 2), Router(1, 6, 2)))
    assert [x.name for x, _ in common_routers(a, a, None)[0]] == ["L00a", "L00b", "L01"]
    pairs, notes = common_routers(a, b, None)
    assert [x.name for x, _ in pairs] == ["L01"]
    assert "layers 0 are not in both" in notes[0]


def test_bits_of_too_few_tokens_are_marked_in_terminal_and_page(traces, tmp_path, capsys):
    """1,700 tokens in 784 cells: the bits of transitions are biased, and say so wherever they stand."""
    record = compare(tmp_path / "r", traces["fp32"], traces["other"])
    said = capsys.readouterr().out
    page = (tmp_path / "r" / "index.html").read_text()
    assert all("caution" in row for row in record["transitions"])
    for row in record["transitions"]:
        (line,) = [
            line for line in said.splitlines() if line.startswith(f"{row['source']} → {row['target']} ")
        ]
        for key in ("conditional_jsd_bits", "jsd_bits"):
            assert f" {number(row[key])} *" in line
            pattern = rf'<data value="{re.escape(repr(row[key]))}">[^<]*</data> <abbr class="caution" title="([^"]*)">'
            titles = re.findall(pattern, page.split('id="transitions-title"')[1])
            assert titles == [row["caution"]]
    assert re.search(
        r"\* only [\d. to]+ counts per cell in the smaller trace: below 30", " ".join(said.split())
    )
    (strongest,) = re.findall(r"<li><strong>Transitions\.</strong>.*", page)
    assert strongest.count('<abbr class="caution"') == 2


def test_blocks_and_routes_in_the_results_on_the_page_and_in_the_terminal(
    traces, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(common_windows, "LEAST_TOKENS", 4)
    monkeypatch.setattr(common_windows, "ONE_IN", 10_000)
    record = compare(tmp_path / "r", traces["fp32"], traces["other"])
    said = " ".join(capsys.readouterr().out.split())
    page = (tmp_path / "r" / "index.html").read_text()
    blocks, routes = record["structure_reading"]
    for sentence in (blocks, routes):
        assert " ".join(sentence.split()) in said
    assert 'id="structure"' in page
    assert [row["source"] for row in record["blocks"]] == [0, 1]
    for row in record["blocks"]:
        assert row["n_row_blocks"] == max(row["row_labels"]) + 1
    with (tmp_path / "r" / "tables" / "routes.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == record["routes_compared"]["n_tested"] >= 2
    # Shares of one window, from the rows themselves.
    states = [Alphabet(8, 2).rank(chosen) for chosen in (traces["rows"][0], rows_of(1))]
    for row in rows[:5]:
        window = [
            Alphabet(8, 2).rank(np.array([list(map(int, one.split(",")))]))[0]
            for one in row["choices"].split(" ")
        ]
        for name, own in zip("ab", states, strict=True):
            taken = (own[:, [int(layer) for layer in row["layers"].split(" ")]] == window).all(axis=1)
            assert int(row[f"count_{name}"]) == taken.sum()
            assert float(row[f"share_{name}"]) == pytest.approx(taken.mean())


def test_blocks_and_routes_of_other_routers_are_not_compared(traces, tmp_path):
    record = compare(tmp_path / "r", traces["fp32"], traces["wide"])
    assert record["blocks"] == record["routes"] == []
    assert "different numbers of experts" in record["routes_compared"]["reason"]
    wide = compare(tmp_path / "w", traces["wide"], traces["wide2"])
    assert [len(row["row_labels"]) for row in wide["blocks"]] == [24, 24]
    single = compare(tmp_path / "s", traces["fp32"], traces["single"])
    assert not single["routes_compared"]["n_differ"]
