"""What cannot be a table ends in one line that names the file and the line."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.importers.known import convert, refused, stored
from tests.traces.importers.tables.written import known, rows_of, write

HEADER = "# made=today\nrequest,step,layer,e0,e1\n"
GOOD = "r,0,0,1,2\nr,0,1,3,4\n"


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ("r,1,0,3.5,2\n", 5, "column e0: 3.5 is no whole number"),
        ("r,1,0,a,2\n", 5, "column e0: 'a' is no number"),
        ("r,1,0,,2\n", 5, "column e0 is empty"),
        ("\nr,1,0,5,2\n\nr,1,1,99999999999,2\n", 8, "expert 99999999999: at most 2147483647"),
        ("r,1,0,1\n", 5, "4 values where there are 5 columns"),
        ("r,1,0,1,2,3\n", 5, "6 values where there are 5 columns"),
        ("r,1,-1,1,2\n", 5, "layer -1: a layer's number is 0 or more"),
        ("r,-1,0,1,2\n", 5, "position -1: positions are 0 or more"),
        ("r,1,40000,1,2\n", 5, "layer 40000: at most 10000"),
        (",1,0,1,2\n", 5, "column request is empty: of which document?"),
        ("r,x,0,1,2\n", 5, "column step: 'x' is no number"),
        ("r,,0,1,2\n", 5, "column step is empty"),
        ("r,1,0,nan,2\n", 5, "column e0"),
    ],
)
def test_a_wrong_value_is_named_by_its_line(capsys, tmp_path, rows, line, words):
    (tmp_path / "x.csv").write_text(HEADER + GOOD + rows)
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert f"x.csv, line {line}: " in said
    assert words in said


def test_two_rows_of_one_place_are_named_both(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(HEADER + GOOD + "r,1,0,1,2\n\nr,0,1,5,6\n")
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert "x.csv, line 4 and" in said
    assert "line 7: document r, position 0, layer 1: occurs twice" in said


def test_a_row_twice_without_a_header_is_named_by_its_lines_too(capsys, tmp_path):
    lines = ["-3,0,1", "-2,0,2", "-1,0,3", "-5,0,4", "-4,0,5", "0,0,6", "1,0,7"]
    for again, first in (("-4,0,1", 5), ("1,0,1", 7), ("-3,0,9", 1)):
        (tmp_path / "x.csv").write_text("\n".join([*lines, again]))
        said = refused(capsys, tmp_path / "x.csv", tmp_path)
        assert f"x.csv, line {first} and" in said
        assert "x.csv, line 8: document x, position" in said


def test_rows_of_different_k_are_named_both(capsys, tmp_path):
    (tmp_path / "x.csv").write_text('pos,layer,experts\n0,0,"[1, 2]"\n1,0,"[1, 2, 3]"\n')
    assert "x.csv, line 3: 3 values in experts ('[1, 2, 3]') where the row before has 2" in refused(
        capsys, tmp_path / "x.csv", tmp_path
    )
    rows = [{"pos": 0, "layer": 0, "topk_ids": [1, 2]}, {"pos": 1, "layer": 0, "topk_ids": [1]}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said = refused(capsys, tmp_path / "x.jsonl", tmp_path)
    assert "x.jsonl, line 2: 1 experts where" in said
    assert "x.jsonl, line 1 has 2" in said
    (tmp_path / "x.csv").write_text("pos,layer,expert\n0,0,1\n0,0,2\n1,0,3\n")
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert "x.csv, line 4: document x, position 1, layer 0: 1 of 2 experts" in said


def test_k_that_is_said_otherwise(capsys, tmp_path):
    (tmp_path / "x.csv").write_text(HEADER + GOOD)
    assert "2 experts per token where --top-k says 3" in refused(
        capsys, tmp_path / "x.csv", tmp_path, "--top-k", 3
    )
    # In a file it may be that of sampling.
    (tmp_path / "x.csv").write_text("# temperature=0.7 top_k=50\n" + HEADER + GOOD)
    code, _, err = convert(capsys, tmp_path / "x.csv", tmp_path / "t")
    assert (code, "the file says top_k 50, its rows hold 2 experts per token" in err) == (0, True)


def test_columns_twice_absent_or_unknown(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("step,step,layer,e0\n0,0,0,1\n")
    assert "x.csv, line 1: column 'step' is named twice" in refused(capsys, tmp_path / "x.csv", tmp_path)
    (tmp_path / "x.csv").write_text("when,where,what\n0,0,1\n")
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert "it has when, where, what; name them: --columns layer=NAME,experts=NAME" in said
    said = refused(capsys, tmp_path / "x.csv", tmp_path, "--columns", "layer=where,experts=which")
    assert "no column which for experts (--columns); it has when, where, what" in said
    said = refused(capsys, tmp_path / "x.csv", tmp_path, "--columns", "depth=where")
    assert "no such role" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no known format|empty|in no format"),
        (b"request,step,layer,e0\n", "a header, but no rows of a table"),
        (b"# only=comments\n", "only comments|of no known format"),
        (b"\x00\x01\x02" * 50, "not text|in no format"),
        ("request,step,layer,e0\nr,0,0,1\n".encode("utf-16"), "UTF-16|in no format"),
        (b"request,step,layer,e0\n\xff\xfe,0,0,1\n", "line 2: not UTF-8"),
        (b'request,step,layer,e0\n"r,0,0,1\n', "line 2"),
    ],
)
def test_files_that_hold_no_table(capsys, tmp_path, content, words):
    (tmp_path / "x.csv").write_bytes(content)
    said = refused(capsys, tmp_path / "x.csv", tmp_path, "--format", "table")
    assert "x.csv" in said
    assert any(word in said for word in words.split("|")), said


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_compressed_file_that_was_cut_off(capsys, tmp_path, packed):
    path = write(tmp_path / f"x.csv{packed}", rows_of(known(1, lengths=(300,)), "columns"))
    path.write_bytes(path.read_bytes()[:-20])
    assert "cannot be read to its end" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_compressed_file_may_lack_the_last_line_end(capsys, tmp_path, packed):
    text = (HEADER + GOOD).rstrip("\n").encode()
    data = gzip.compress(text) if packed == ".gz" else pa.compress(text, codec="zstd", asbytes=True)
    (tmp_path / f"x.csv{packed}").write_bytes(data)
    code, out, err = convert(capsys, tmp_path / f"x.csv{packed}", tmp_path / "t")
    assert (code, "1 tokens" in out) == (0, True), err


def test_several_gzip_members_are_one_file(capsys, tmp_path):
    text = HEADER + GOOD
    (tmp_path / "x.csv.gz").write_bytes(
        gzip.compress(text.encode()) + gzip.compress(b"r,1,0,5,6\nr,1,1,6,5\n")
    )
    code, out, err = convert(capsys, tmp_path / "x.csv.gz", tmp_path / "t")
    assert (code, "2 tokens" in out) == (0, True), err


def test_json_lines_name_their_line(capsys, tmp_path):
    good = '{"pos": 0, "layer": 0, "topk_ids": [1, 2]}\n'
    for bad, words in (
        ('{"pos": 1, "layer": 0, "topk_ids": [1, 2', "not valid JSON"),
        ('{"pos": 1, "layer": 0, "topk_ids": [1, 2.5]}', "topk_ids: 2.5 is no whole number"),
        ('{"pos": 1, "layer": 0, "topk_ids": 3}', "topk_ids must be a list, got 3"),
        ('{"pos": 1, "layer": "a", "topk_ids": [1, 2]}', "layer: 'a' is no number"),
        ('{"pos": 1, "topk_ids": [1, 2]}', "column layer is empty"),
        ('{"pos": null, "layer": 0, "topk_ids": [1, 2]}', "column pos is empty"),
        ("[1, 2]", "expected an object, got list"),
        ('{"pos": 1, "layer": 0, "topk_ids": [[1, 2], [3, 4]]}', "a row is of one token"),
        ('{"pos": 1, "layer": 0, "topk_ids": []}', "values in topk_ids where"),
        ('{"pos": 1, "layer": 0, "topk_ids": [1, true]}', "topk_ids: True is no number"),
    ):
        (tmp_path / "x.jsonl").write_text(good + "\n" + bad + "\n")
        said = refused(capsys, tmp_path / "x.jsonl", tmp_path)
        assert "x.jsonl, line 3: " in said
        assert words in said, said


def test_parquet_names_its_row(capsys, tmp_path):
    columns = {"pos": [0, 1, 2], "layer": [0, 0, 0], "topk_ids": [[1, 2], [2, 3], [3, 4]]}
    for change, words in (
        ({"topk_ids": [[1, 2], [2], [3, 4]]}, "row 2: 1 values in topk_ids where the row before has 2"),
        ({"topk_ids": [[1, 2], None, [3, 4]]}, "row 2: column topk_ids is empty"),
        ({"layer": [0.0, float("nan"), 0.0]}, "row 2: column layer: nan is no whole number"),
        ({"pos": [0, None, 1]}, "row 2: column pos is empty"),
        ({"pos": ["a", "b", "c"]}, "row 1: column pos: 'a' is no whole number"),
        ({"pos": [0, 1, 1]}, "row 2 and"),
    ):
        pq.write_table(pa.table({**columns, **change}), tmp_path / "x.parquet")
        assert words in refused(capsys, tmp_path / "x.parquet", tmp_path)
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    data = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(data[: len(data) // 2])
    assert "not a readable Parquet file" in refused(capsys, tmp_path / "x.parquet", tmp_path)


def test_rows_of_one_token_that_contradict_each_other(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("pos,layer,e0,token_id\n0,0,1,7\n0,1,1,8\n")
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert "rows of one token have different token ids" in said
    (tmp_path / "x.csv").write_text("pos,layer,e0,phase\n0,0,1,prefill\n0,1,1,decode\n")
    assert "rows of one token have different phases" in refused(capsys, tmp_path / "x.csv", tmp_path)
    (tmp_path / "x.csv").write_text(
        "pos,layer,e0,phase\n0,0,1,prefill\n0,1,1,warmup\n" + "1,0,1,prefill\n" * 600
    )
    (tmp_path / "x.csv").write_text(
        "pos,layer,e0,phase\n" + "".join(f"{p},0,1,prefill\n" for p in range(600)) + "600,0,1,warmup\n"
    )
    assert "x.csv, line 602: column phase is a phase (prefill, decode), got 'warmup'" in refused(
        capsys, tmp_path / "x.csv", tmp_path
    )


def test_documents_that_are_mixed(capsys, tmp_path):
    """A domain that changes within a document, where it was named; files with other columns."""
    (tmp_path / "x.csv").write_text("doc,pos,layer,e0,kind\na,0,0,1,law\na,1,0,2,code\n")
    option = "document=doc,position=pos,layer=layer,experts=e0,domain=kind"
    assert "x.csv, line 3: column kind changes within a document: 'code' and 'law'" in refused(
        capsys, tmp_path / "x.csv", tmp_path, "--columns", option
    ).replace("'law' and 'code'", "'code' and 'law'").replace("line 2", "line 3")
    (tmp_path / "y.csv").write_text("pos,layer,e0\n0,0,1\n")
    assert "convert them separately" in refused(capsys, tmp_path / "[xy].csv", tmp_path)


def test_joined_rows_that_cannot_be_distinguished(capsys, tmp_path):
    """Twice the same positions, shuffled: which row belongs to which document nothing says."""
    rows = [f"{position},{layer},{(position + layer) % 7}" for position in range(40) for layer in (0, 1)] * 2
    np.random.default_rng(2).shuffle(rows)
    (tmp_path / "x.csv").write_text("pos,layer,e0\n" + "\n".join(rows))
    said = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert "occurs twice; if the file holds several documents, name their column" in said
    assert said.count("x.csv, line ") == 2


def test_sources_that_are_not_there(capsys, tmp_path):
    assert "no such file" in refused(capsys, tmp_path / "x.csv", tmp_path, "--format", "table")
    assert "no file matches this pattern" in refused(
        capsys, tmp_path / "*.csv", tmp_path, "--format", "table"
    )
    (tmp_path / "x.csv").write_text(HEADER + GOOD)
    code, _, err = convert(capsys, tmp_path / "x.csv", tmp_path / "t", tmp_path / "x.csv")
    assert (code, "named twice" in err) == (2, True)
    assert "--stride is not used for a table" in refused(capsys, tmp_path / "x.csv", tmp_path, "--stride", 4)
    assert "--layers 7 not in it; it holds 0-1" in refused(
        capsys, tmp_path / "x.csv", tmp_path, "--layers", 7
    )


@pytest.mark.parametrize(
    ("ids", "words"), [("3,3", "[3, 3] repeats an expert"), ("-3,4", "[-3, 4] is outside 0 … 5")]
)
def test_a_choice_that_cannot_be_names_its_line(capsys, tmp_path, ids, words):
    rows = "r0,0,0,1,5\nr0,1,0,0,2\n"
    (tmp_path / "x.csv").write_text(f"# a\nrequest,step,layer,e0,e1\n{rows}r1,7,0,{ids}\n")
    line = refused(capsys, tmp_path / "x.csv", tmp_path)
    assert line.endswith(f"x.csv, line 5: document r1, position 7, layer 0: {words}")


def test_positions_that_begin_anew_behind_a_prompt(capsys, tmp_path):
    """Rows of the answer are numbered from 0 again: they follow the prompt, and the file is one document."""
    rows = [f"{p},0,{p % 4},prefill\n{p},1,{p % 3},prefill\n" for p in range(5)]
    rows += [f"{p},0,{p % 2},decode\n{p},1,{p % 4},decode\n" for p in range(4)]
    (tmp_path / "x.csv").write_text("pos,layer,e0,phase\n" + "".join(rows))
    _, got, err = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert "positions restart with the generated rows of 1 documents: these follow their prompts" in err
    assert got.position.tolist() == list(range(9))
    assert got.experts[:, 0, 0].tolist() == [0, 1, 2, 3, 0, 0, 1, 0, 1]
    assert got.decode.tolist() == [False] * 5 + [True] * 4


def test_a_conversation_is_a_document_where_nothing_smaller_is_named(capsys, tmp_path):
    rows = "".join(f"c{c},{p},0,{(c + p) % 5}\n" for c in range(3) for p in range(4))
    (tmp_path / "x.csv").write_text("conversation_id,pos,layer,e0\n" + rows)
    trace, got, _ = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert trace.documents.column("name").to_pylist() == ["c0", "c1", "c2"]
    assert got.experts[:, 0, 0].tolist() == [(c + p) % 5 for c in range(3) for p in range(4)]


def test_columns_that_are_not_read_but_may_be_meant_are_noted(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("request,stepp,layer,e1,\n0,0,0,1,2\n0,1,0,2,3\n")
    _, _, err = stored(capsys, tmp_path / "x.csv", tmp_path)
    assert "column stepp is not read; did you mean step?" in err
    assert "experts are read from e1 (k = 1), and not from stepp, Unnamed: 4" in err
    (tmp_path / "y.csv").write_text("request,step,layer,e0,e1\n0,0,0,1,2\n0,1,0,2,3\n0,0,3,2,3\n")
    (tmp_path / "b").mkdir()
    _, _, err = stored(capsys, tmp_path / "y.csv", tmp_path / "b")
    assert "layers have unequal numbers of rows, 2 at most and 1 in layer 3" in err


@pytest.mark.parametrize(
    "kind",
    ["wide", "expert", "steps"],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_of_counts_are_refused_as_such(capsys, tmp_path, kind, ending):
    """Counts that may be ids by their size, under names that records per token have, too."""
    counts = np.random.default_rng(3).permutation(900)[: 3 * 16].reshape(3, 16)
    at = [(layer, expert) for layer in range(3) for expert in range(16)]
    rows = {
        "wide": [
            {"layer": layer, **{f"expert_{e}": int(n) for e, n in enumerate(row)}}
            for layer, row in enumerate(counts)
        ],
        "expert": [{"layer": i, "expert": e, "tokens": int(counts[i, e])} for i, e in at],
        "steps": [{"step": i, "layer": 0, "expert": e, "tokens": int(counts[i, e])} for i, e in at],
    }[kind]
    path = write(tmp_path / f"x.{ending}", rows)
    assert "counts per expert only" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize("number", ["1" * 30, "1" * 400, "-" + "9" * 30, "1e400", "1e30", "NaN", "1.5"])
@pytest.mark.parametrize("field", ["req_id", "token_idx", "layer", "topk_ids", "topk_weights", "token_id"])
@pytest.mark.parametrize("quoted", [False, True])
def test_numbers_beyond_all_bounds_are_one_line(capsys, tmp_path, number, field, quoted):
    """In any field, as a number or as text: one line, or a value that can be."""
    good = {
        "req_id": "1",
        "token_idx": "0",
        "layer": "0",
        "topk_ids": "2",
        "topk_weights": "0.5",
        "token_id": "7",
    }

    def line(record):
        lists = ("topk_ids", "topk_weights")
        return (
            "{" + ", ".join(f'"{k}": [{v}]' if k in lists else f'"{k}": {v}' for k, v in record.items()) + "}"
        )

    odd = {**good, "token_idx": "1", field: f'"{number}"' if quoted else number}
    (tmp_path / "x.jsonl").write_text(line(good) + "\n" + line(odd) + "\n")
    code, _, err = convert(capsys, tmp_path / "x.jsonl", tmp_path / "t")
    assert code in (0, 2)
    assert "Traceback" not in err
    if code:
        assert err.splitlines()[-1].startswith("error: ")
        assert "x.jsonl, line 2" in err
    else:
        assert field in ("req_id", "topk_weights")
