"""The command on tables of public layouts: one file, and a report needs nothing more."""

import itertools
import json
from functools import partial

import numpy as np
import pytest

from routestat import Trace
from routestat.traces.importers.tables.reader import read_tables
from tests.traces.importers.known import convert, stored, subsets
from tests.traces.importers.tables.written import known, rows_of, write

ROUTE_TRACE = """# route_trace v1
# model=/m/qwen.gguf arch=qwen3moe n_layer=2 n_expert=8 n_expert_used=2
# layer=0 expert_bytes=10 dense_bytes=5
# layer=1 expert_bytes=10 dense_bytes=6
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped
0,0,0,0,0,3,{w},0,10,0
0,0,0,0,1,1,{v},0,10,0
0,0,1,0,0,2,{w},0,10,0
0,0,1,0,1,7,{v},0,10,0
0,0,1,1,0,5,{w},0,10,0
0,0,1,1,1,2,{v},0,10,0
0,1,2,0,0,6,{w},0,10,0
0,1,2,0,1,1,{v},0,10,0
0,1,2,1,0,0,{w},0,10,0
0,1,2,1,1,2,{v},0,10,0
"""


@pytest.mark.parametrize(("w", "v"), [("0.7", "0.3"), ("nan", "nan")])
def test_route_trace(capsys, tmp_path, w, v):
    path = tmp_path / "x.csv"
    path.write_text(ROUTE_TRACE.format(w=w, v=v))
    trace, got, err = stored(capsys, path, tmp_path)
    assert "recognised as a table" in err
    assert got.experts.tolist() == [[[3, 1], [-1, -1]], [[2, 7], [5, 2]], [[6, 1], [0, 2]]]
    assert got.decode.tolist() == [False, False, True]
    assert trace.meta.model == "/m/qwen.gguf"
    assert trace.meta.slot_order == "weight"
    assert trace.meta.routers[0].n_experts == 8
    assert trace.meta.extra["source_facts"]["arch"] == "qwen3moe"
    assert "layer" not in trace.meta.extra["source_facts"]
    assert ("L00.weights" in trace.columns) == (w != "nan")
    assert ("weights are not all finite" in err) == (w == "nan")
    if w != "nan":
        batch = next(trace.batches(["L00.weights"]))
        # By ascending id: 3 was the heaviest of {1, 3}.
        assert np.allclose(batch.columns["L00.weights"][0], [0.3, 0.7], atol=1e-3)


def test_a_request_a_step_and_a_column_a_slot(capsys, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("request,step,layer,e0,e1\nb,0,4,1,2\nb,1,4,3,2\na,0,4,0,3\na,0,7,1,0\n")
    trace, got, err = stored(capsys, path, tmp_path)
    assert trace.meta.layers == (4, 7)
    assert trace.documents.column("name").to_pylist() == ["b", "a"]
    assert subsets(got.experts).tolist() == [[[1, 2], [-1, -1]], [[2, 3], [-1, -1]], [[0, 3], [0, 1]]]
    assert "a dead last expert would be missed" in err


def test_json_lines_with_other_lines(capsys, tmp_path):
    rows = [
        {"type": "meta", "model": "m", "num_experts": 16, "top_k": 3},
        {"req_id": 7, "token_idx": 0, "layer": 3, "topk_ids": [4, 1, 2]},
        {"req_id": 7, "token_idx": 1, "layer": 3, "topk_ids": [5, 1, 2], "note": "other keys do not matter"},
        {"type": "end", "seconds": 3.5},
    ]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    trace, got, err = stored(capsys, path, tmp_path)
    assert "2 lines of another type (without layer and experts) are skipped" in err
    assert (trace.meta.model, trace.meta.routers[0].n_experts) == ("m", 16)
    assert subsets(got.experts).tolist() == [[[1, 2, 4]], [[1, 2, 5]]]


def test_rows_of_a_layer_in_the_order_of_tokens(capsys, tmp_path):
    """One file for each prompt, with one batch in it, numbered 0."""
    header = "Layer ID,Batch Number,Token,Activated Expert IDs\n"
    one = header + '1,0,I,"[8, 2]"\n1,0,",","[8, 1]"\n2,0,I,"[1, 2]"\n2,0,",","[0, 2]"\n'
    other = header + '1,0,"a\nb","[3, 2]"\n2,0,"a\nb","[4, 2]"\n'
    (tmp_path / "p").mkdir()
    (tmp_path / "p/prompt_10_data.csv").write_text(one)
    (tmp_path / "p/prompt_9_data.csv").write_text(other)
    trace, got, err = stored(capsys, tmp_path / "p", tmp_path)
    assert trace.documents.column("name").to_pylist() == ["prompt_9_data 0", "prompt_10_data 0"]
    assert "column Token is not read: its values are not token ids" in err
    assert "1 values of Batch Number are in several files at the same positions" in err
    assert "the order of the rows of a document and layer is the position" in err
    assert subsets(got.experts).tolist() == [[[2, 3], [2, 4]], [[2, 8], [1, 2]], [[1, 8], [0, 2]]]
    assert trace.meta.layers == (1, 2)


def test_positions_below_zero_are_prompts_in_the_order_of_their_batches(capsys, tmp_path):
    """A prompt of five in batches of three and two; the last layer routes the last token of each batch alone."""
    lines = ["-3,0,1,2", "-2,0,1,3", "-1,0,1,4", "-1,1,5,6", "-5,0,2,3", "-4,0,2,4", "-4,1,6,7"]
    lines += ["0,0,3,4", "0,1,7,8", "1,0,3,5", "1,1,0,8"]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n")
    _, got, err = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert got.position.tolist() == list(range(7))
    assert got.decode.tolist() == [False] * 5 + [True] * 2
    assert subsets(got.experts[:, 0]).tolist() == [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4], [3, 5]]
    assert subsets(got.experts[:, 1]).tolist()[2:5] == [[5, 6], [-1, -1], [6, 7]]
    assert "5 tokens of prompts, taken as prefill" in err
    # In another order the positions alone say which row is which.
    shuffled = ["-1,0,1,4", "-3,0,1,2", "0,0,3,4", "-2,0,1,3"]
    (tmp_path / "y.csv").write_text("\n".join(shuffled) + "\n")
    (tmp_path / "b").mkdir()
    _, got, _ = stored(capsys, tmp_path / "y.csv", tmp_path / "b")
    assert subsets(got.experts[:, 0]).tolist() == [[1, 2], [1, 3], [1, 4], [3, 4]]


@pytest.mark.parametrize("order", ["token", "layer"])
def test_a_joined_file_is_cut_where_positions_fall_back(capsys, tmp_path, order):
    trace = known(6, lengths=(5, 3, 6), layers=(0, 1))
    trace.position = np.concatenate([np.arange(n) for n in (5, 3, 6)])
    rows = [{key: row[key] for key in row if key != "request"} for row in rows_of(trace, "columns")]
    starts = [0, 10, 16, 28]
    parts = [rows[low:high] for low, high in itertools.pairwise(starts)]
    if order == "layer":
        parts = [sorted(part, key=lambda row: row["layer"]) for part in parts]
    path = write(tmp_path / "x.csv", [row for part in parts for row in part])
    stored_, got, err = stored(capsys, path, tmp_path, "--n-experts", 9)
    assert "positions restart inside 1 of the files, in every layer: cut there, into 3 documents" in err
    assert np.array_equal(got.document, trace.document)
    assert np.array_equal(subsets(got.experts), subsets(trace.experts))
    assert stored_.documents.column("name").to_pylist() == ["x part 1", "x part 2", "x part 3"]


def test_a_header_inside_a_file_begins_other_documents(capsys, tmp_path):
    text = "id,request,step,layer,e0,e1\n,r,0,0,1,2\n,r,1,0,3,2\n"
    (tmp_path / "x.csv").write_text(text + text)
    trace, got, err = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert trace.documents.column("name").to_pylist() == ["x r", "x part 2 r"]
    assert len(got.experts) == 4
    assert "are in several files at the same positions" in err


def test_a_document_goes_on_in_another_file(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("request,step,layer,e0\nr,0,0,1\nr,1,0,3\n")
    (tmp_path / "b.csv").write_text("request,step,layer,e0\nr,2,0,1\nr,3,0,0\n")
    trace, got, err = stored(capsys, tmp_path / "*.csv", tmp_path)
    assert got.position.tolist() == [0, 1, 2, 3]
    assert "1 documents continue in another file" in err
    assert trace.documents.num_rows == 1


def test_what_is_said_of_documents_is_said_in_each_file(capsys, tmp_path):
    """Document 0 of two files is two documents, of different domains; a column that changes inside one is no domain."""
    for name, domain in (("a", "law"), ("b", "code")):
        rows = f"0,0,0,1,{domain},u\n0,1,0,2,{domain},v\n"
        (tmp_path / f"{name}.csv").write_text("doc,pos,layer,e0,domain,conversation_id\n" + rows)
    trace, _, err = stored(capsys, tmp_path / "*.csv", tmp_path)
    assert trace.documents.column("domain").to_pylist() == ["law", "code"]
    assert "column conversation_id is not read: it changes within documents" in err


def test_documents_without_a_row_left_do_not_move_the_names_of_others(capsys, tmp_path):
    text = "doc,pos,layer,e0,e1\na,0,0,-1,-1\nb,0,0,1,2\nc,0,1,3,4\nd,0,0,5,6\n"
    (tmp_path / "x.csv").write_text(text)
    trace, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path, "--layers", 0)
    assert trace.documents.column("name").to_pylist() == ["b", "d"]
    assert subsets(got.experts).tolist() == [[[1, 2]], [[5, 6]]]


def test_files_without_a_column_of_documents_are_one_each(capsys, tmp_path):
    for name in ("a10", "a9"):
        (tmp_path / f"{name}.csv").write_text("step,layer,e0\n0,0,1\n1,0,2\n")
    code, _, err = convert(capsys, tmp_path / "a10.csv", tmp_path / "t", str(tmp_path / "a9.csv"))
    assert (code, "each file is one document" in err) == (0, True)
    assert Trace.open(tmp_path / "t").documents.column("name").to_pylist() == ["a10", "a9"]


@pytest.mark.parametrize("text", ["\ufeff{}", "{}\n\n\n", "# a note\n\n{}", "{crlf}"])
def test_marks_of_order_line_ends_and_empty_lines(capsys, tmp_path, text):
    table = "request,step,layer,e0,e1\nr,0,0,1,2\nr,0,1,3,2"
    filled = text.replace("{crlf}", "{}").format(table.replace("\n", "\r\n") if "crlf" in text else table)
    (tmp_path / "x.csv").write_bytes(filled.encode())
    _, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert subsets(got.experts).tolist() == [[[1, 2], [2, 3]]]


def test_an_index_that_pandas_wrote_and_floats_that_are_whole(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(",request,step,layer,e0,e1\n0,r,0.0,0,1.0,2\n1,r,1.0,0,3.0,2\n")
    _, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert subsets(got.experts).tolist() == [[[1, 2]], [[2, 3]]]


def test_columns_layers_domain_and_cluster_by_option(capsys, tmp_path):
    text = "who,when,where,what,talk,kind\n"
    for document, talk, kind in (("a", "x", "law"), ("b", "x", "code"), ("c", "y", "law")):
        for step, layer in itertools.product((0, 1), (2, 5)):
            text += f"{document},{step},{layer},{step + layer};{layer + 3},{talk},{kind}\n"
    (tmp_path / "x.csv").write_text(text)
    option = "document=who,position=when,layer=where,experts=what,domain=kind"
    said = ("--columns", option, "--cluster", "talk", "--layers", 5, "--n-experts", 9)
    trace, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path, *said)
    assert trace.meta.layers == (5,)
    assert trace.documents.column("domain").to_pylist() == ["law", "code", "law"]
    assert trace.units.n_clusters == 2
    assert subsets(got.experts)[:2, 0].tolist() == [[5, 8], [6, 8]]


def test_a_json_array_of_objects(capsys, tmp_path):
    rows = rows_of(known(7), "list")
    (tmp_path / "x.json").write_text(json.dumps(rows, indent=1))
    trace, got, _ = stored(capsys, tmp_path / "x.json", tmp_path, "--n-experts", 9)
    assert np.array_equal(subsets(got.experts), subsets(known(7).experts))
    assert trace.documents.num_rows == 3


def test_one_expert_a_row_without_position_or_slot_needs_k(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(
        "document,layer,expert\n" + "".join(f"0,0,{e}\n" for e in (1, 2, 3, 4, 0, 2))
    )
    code, _, err = convert(capsys, tmp_path / "x.csv", tmp_path / "t")
    assert (code, "give the number per token with --top-k" in err) == (2, True)
    _, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path, "--top-k", 2)
    assert subsets(got.experts).tolist() == [[[1, 2]], [[3, 4]], [[0, 2]]]


def test_slots_may_be_counted_from_one(capsys, tmp_path):
    text = "pos,layer,slot,expert\n" + "".join(f"{p},0,{s},{(p + s) % 5}\n" for p in range(3) for s in (2, 1))
    (tmp_path / "x.csv").write_text(text)
    _, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert subsets(got.experts).tolist() == [[[1, 2]], [[2, 3]], [[3, 4]]]


@pytest.mark.parametrize(
    ("column", "values", "decode"),
    [
        ("phase", ("extend", "Decode"), [False, True]),
        ("stage", ("prompt", "generation"), [False, True]),
        ("is_prefill", ("true", "false"), [False, True]),
        ("forward_mode", ("1", "2"), [False, True]),
        ("mode", ("eager", "graph"), None),
    ],
)
def test_words_for_phases(capsys, tmp_path, column, values, decode):
    (tmp_path / "x.csv").write_text(f"pos,layer,e0,{column}\n0,0,1,{values[0]}\n1,0,2,{values[1]}\n")
    _, got, err = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert (None if got.decode is None else got.decode.tolist()) == decode
    assert ("column mode is not read: its values are not phases" in err) == (decode is None)


def test_leading_dummies_of_tables_are_found_as_in_every_format(capsys, tmp_path):
    rows = "".join(f"{p},0,{1 if p < 20 else p % 7}\n" for p in range(60))
    (tmp_path / "x.csv").write_text("pos,layer,e0\n" + rows)
    _, got, err = stored(capsys, tmp_path / "x.csv", tmp_path, "--n-experts", 8, "--drop-dummy-rows")
    assert "left out, as they are not measurements" in err
    assert got.position[0] >= 20


def test_a_conversion_that_is_interrupted_leaves_nothing(capsys, tmp_path, monkeypatch):
    path = write(tmp_path / "x.csv", rows_of(known(8, lengths=(60,)), "columns"))

    def stop(*_, **__):
        assert list(tmp_path.glob(".t-*/rows-*"))
        raise KeyboardInterrupt

    monkeypatch.setattr("routestat.traces.writer.TraceWriter.write", stop)
    monkeypatch.setattr("routestat.convert.read_tables", partial(read_tables, budget=1))
    code, _, err = convert(capsys, path, tmp_path / "t")
    assert (code, "interrupted" in err) == (130, True)
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]


def test_a_store_from_parts_is_the_store_from_one(capsys, tmp_path, monkeypatch):
    trace = known(9, lengths=(50, 3, 80, 20), missing=0.2, top_k=3)
    rows = rows_of(trace, "expert", ("weight", "token", "phase"))
    np.random.default_rng(3).shuffle(rows)
    path = write(tmp_path / "x.jsonl.gz", rows)
    assert convert(capsys, path, tmp_path / "a", "--n-experts", 9)[0] == 0
    monkeypatch.setattr("routestat.convert.read_tables", partial(read_tables, budget=3000))
    assert convert(capsys, path, tmp_path / "b", "--n-experts", 9)[0] == 0
    a, b = (Trace.open(tmp_path / name) for name in "ab")
    for one, other in zip(a.record_batches(), b.record_batches(), strict=True):
        assert one.equals(other)
    assert a.documents.equals(b.documents)
    assert a.columns == b.columns
    assert "L00.weights" in a.columns
    assert [file.name for file in (tmp_path / "b").iterdir() if file.is_dir()] == []


def test_dummy_rows_of_a_table_beyond_memory_are_found_over_all_of_it(capsys, tmp_path, monkeypatch):
    """A part that holds nothing else has nothing for them to stand out from; the result is that of one part."""
    rng = np.random.default_rng(4)
    ids = [np.zeros((400, 2), int), *(rng.integers(1, 8, (60, 2)) for _ in range(6))]
    lines = [
        f"{d},{p},{layer},{row[layer]},{d * p}"
        for d, one in enumerate(ids)
        for p, row in enumerate(one)
        for layer in (0, 1)
    ]
    (tmp_path / "x.csv").write_text("doc,pos,layer,e0,token_id\n" + "\n".join(lines) + "\n")
    held = []
    for budget in (1 << 30, 1600):
        (tmp_path / str(budget)).mkdir()
        monkeypatch.setattr("routestat.convert.read_tables", partial(read_tables, budget=budget))
        trace, got, err = stored(
            capsys, tmp_path / "x.csv", tmp_path / str(budget), "--n-experts", 8, "--drop-dummy-rows"
        )
        assert "left out" in err
        assert "but counted" not in err
        assert not list((tmp_path / str(budget) / "t").glob("parts*"))
        assert trace.documents.column("name").to_pylist() == ["1", "2", "3", "4", "5", "6"]
        held.append(got)
    assert len(held[0].experts) == 360
    assert np.array_equal(held[0].experts, held[1].experts)
    assert np.array_equal(held[0].token, held[1].token)
