"""Tables as tools print them: quotes and number signs that are tokens, numbers as text, files beside and by layer."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces.importers.known import refused, stored, subsets
from tests.traces.importers.tables.written import known, read, rows_of, same, write

TRACE = known(5, lengths=(4, 3), layers=(0, 2))


def printed(path, rows, text, place):
    """Rows with a column of token text at a place, as ``printf`` writes it: nothing is quoted."""
    lines = [[*map(str, row.values())] for row in rows]
    for number, line in enumerate(lines):
        line.insert(place, text(number))
    header = list(rows[0])
    header.insert(place, "text")
    path.write_text("\n".join(map(",".join, [header, *lines])) + "\n")
    return path


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("every", [3, 4, 100])
@pytest.mark.parametrize("word", ['"', '"Hi', 'a"b'])
def test_a_quote_that_is_a_token_swallows_no_rows(tmp_path, place, every, word):
    path = tmp_path / "x.csv"
    _, parts = read(printed(path, rows_of(TRACE, "columns"), lambda row: "x" if row % every else word, place))
    same(parts, TRACE)


@pytest.mark.parametrize("place", [0, 3, 5])
def test_line_breaks_inside_quotes_belong_to_the_value(tmp_path, place):
    words = ['"\n"', '"a, b\n1, 2\n# c"', '""""', "x"]
    path = tmp_path / "x.csv"
    _, parts = read(printed(path, rows_of(TRACE, "columns"), lambda row: words[row % 4], place))
    same(parts, TRACE)


def test_rows_inside_quotes_are_refused_where_other_quotes_part_values(capsys, tmp_path):
    words = ["x", '"', "x", '","']
    path = printed(tmp_path / "x.csv", rows_of(TRACE, "columns"), lambda row: words[row % 4], 3)
    line = refused(capsys, path, tmp_path)
    assert "x.csv, line 4: a row inside quotes that open above it" in line


def test_a_number_sign_that_is_a_token_is_no_comment(tmp_path):
    path = tmp_path / "x.csv"
    printed(path, rows_of(TRACE, "columns"), lambda row: "x" if row % 3 else "#", 0)
    path.write_text(path.read_text() + "# the end, after so many, rows, as, these\n")
    _, parts = read(path)
    same(parts, TRACE)


def test_a_row_that_was_commented_out_stays_out(capsys, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("request,step,layer,e0,e1\nr,0,0,1,2\n#r,1,0,3,2\nr,2,0,0,2\n")
    trace, _, _ = stored(capsys, path, tmp_path)
    assert trace.n_tokens == 2


@pytest.mark.parametrize(
    "names",
    [
        ("top1_expert", "top2_expert"),
        ("top_1_expert_id", "top_2_expert_id"),
        ("expert_0_id", "expert_1_id"),
        ("topk_ids[0]", "topk_ids[1]"),
        ("selected_expert_0", "selected_expert_1"),
        ("slot0_expert", "slot1_expert"),
    ],
)
def test_numbered_columns_of_many_names(tmp_path, names):
    weights = [name.replace("expert_id", "weight").replace("expert", "weight") for name in names]
    rows = [
        {**{{"e0": names[0], "e1": names[1]}.get(key, key): value for key, value in row.items()}}
        for row in rows_of(TRACE, "columns")
    ]
    if weights[0] != names[0] and "weight" in weights[0] and "_id" not in names[0]:
        rows = [{**row, weights[0]: 0.6, weights[1]: 0.4} for row in rows]
    _, parts = read(write(tmp_path / "x.csv", rows))
    same(parts, TRACE)


@pytest.mark.parametrize("name", ["{}", "{}.0", "layer_{}", "model.layers.{}.mlp.gate"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_layers_as_text_and_by_their_modules(tmp_path, name, kind):
    rows = [{**row, "layer": name.format(row["layer"])} for row in rows_of(TRACE, "columns")]
    _, parts = read(write(tmp_path / f"x.{kind}", rows))
    same(parts, TRACE)


@pytest.mark.parametrize("layer", ["model.layers.3.experts.7", "-1", "router", "1.5"])
def test_layers_that_no_name_identifies(capsys, tmp_path, layer):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"req_id": 0, "token_idx": 0, "layer": layer, "topk_ids": [1, 2]}))
    assert "line 1" in refused(capsys, path, tmp_path)


def test_json_with_lists_in_words_and_documents_as_fractions(tmp_path):
    rows = [
        {
            **row,
            "topk_ids": str(row["topk_ids"]) if place % 2 else row["topk_ids"],
            "request": float(row["request"][1:]),
        }
        for place, row in enumerate(rows_of(TRACE, "list"))
    ]
    _, parts = read(write(tmp_path / "x.jsonl", rows))
    same(parts, TRACE, names=str)


def test_decimals_are_numbers(tmp_path):
    table = pa.Table.from_pylist(rows_of(TRACE, "columns"))
    place = table.column_names.index("layer")
    table = table.set_column(place, "layer", table.column("layer").cast(pa.decimal128(20, 0)))
    pq.write_table(table, tmp_path / "x.parquet")
    same(read(tmp_path / "x.parquet")[1], TRACE)


@pytest.mark.parametrize("form", ["columns", "expert"])
@pytest.mark.parametrize("position", [True, False])
def test_files_that_hold_a_layer_each_are_parts_of_one_document(tmp_path, form, position):
    trace = known(9, lengths=(6,), layers=(1, 4, 5))
    trace.position[:] = range(6)
    drop = {"request"} if position else {"request", "step"}
    rows = [{k: v for k, v in row.items() if k not in drop} for row in rows_of(trace, form, ("slot",))]
    for layer in (1, 4, 5):
        write(tmp_path / f"layer_{layer}.csv", [row for row in rows if row["layer"] == layer])
    table, parts = read(tmp_path)
    same(parts, trace, names=lambda _: "layer_1")
    assert any("no layer is in two of the 3 files" in note for note in table.notes)


def test_several_documents_in_files_that_hold_a_layer_each(tmp_path):
    trace = known(9, lengths=(6, 4), layers=(1, 4))
    trace.position[:] = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    rows = [{k: v for k, v in row.items() if k != "request"} for row in rows_of(trace, "columns")]
    for layer in (1, 4):
        write(tmp_path / f"layer_{layer}.csv", [row for row in rows if row["layer"] == layer])
    same(read(tmp_path)[1], trace, names=lambda number: f"layer_1 part {number + 1}")


def test_files_of_documents_with_unlike_layers_are_noted(tmp_path):
    for name, layers in (("a", (0, 1)), ("b", (1, 2))):
        trace = known(1, lengths=(3,), layers=layers)
        rows = [{k: v for k, v in row.items() if k != "request"} for row in rows_of(trace, "columns")]
        write(tmp_path / f"{name}.csv", rows)
    table, _ = read(tmp_path)
    assert any("2 of 2 lack layers that others have (0, 2)" in note for note in table.notes)


def test_a_folder_with_other_files_beside_the_table(capsys, tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    write(folder / "x.csv", rows_of(TRACE, "columns"))
    (folder / "README.md").write_text("# what this is\n")
    (folder / "a_note.txt").write_text("nothing, to\nsee\n")
    (folder / "about.json").write_text('{"seed": 3}')
    trace, got, err = stored(capsys, folder, tmp_path)
    assert trace.n_tokens == len(TRACE.document)
    assert subsets(got.experts).tolist() == subsets(TRACE.experts).tolist()
    assert "2 files of" in err
    assert "a_note.txt" in err


def test_a_folder_of_other_files_only(capsys, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/a_note.txt").write_text("nothing, to\nsee\n")
    assert "of no known format" in refused(capsys, tmp_path / "runs", tmp_path)


def test_a_row_that_stands_twice_is_named_with_the_one_of_its_slot(capsys, tmp_path):
    path = write(tmp_path / "x.csv", rows_of(TRACE, "expert", ("slot",)))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[2]]))
    assert f"line 3 and {path}, line {len(lines) + 1}: document r0" in refused(capsys, path, tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("request,step,L0_e0,L0_e1,L1_e0,L1_e1\nr,0,1,2,3,4\n", "layers seem to be columns (L0_e0)"),
        ('request,step,experts\nr,0,"[[1, 2], [3, 4]]"\n', "experts seems to hold all layers of a token"),
        ("request,step,e0,e1\nr,0,1,2\n", "if a file holds one layer, write its number into a column"),
        ("request,step,layer,e0\rr,0,1,2\r", "lines end with carriage returns alone"),
    ],
)
def test_tables_of_other_forms_say_what_is_wanted(capsys, tmp_path, text, words):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    assert words in refused(capsys, path, tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"BZh91AY", "packed by bzip2"),
        (b"\xfd7zXZ\0", "packed by xz"),
        ("request,step,layer,e0\nr,0,1,2\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
    ],
)
def test_files_that_must_be_saved_otherwise(capsys, tmp_path, data, words):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    assert words in refused(capsys, path, tmp_path)
