"""--show says what a file would be taken for, and changes nothing."""

import shlex

import numpy as np
import pytest

from routestat.cli.runner import run
from routestat.convert import app
from tests.traces.importers.known import chosen
from tests.traces.importers.tables.written import known, rows_of, write


def shown(capsys, *arguments):
    code = run(app, "routestat convert", [str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_is_shown_and_nothing_changed(capsys, tmp_path):
    path = write(tmp_path / "x.csv", rows_of(known(1), "columns", ("phase",)))
    before = path.read_bytes()
    code, out, err = shown(capsys, path, "--show")
    assert (code, err) == (0, "")
    assert [file.name for file in tmp_path.iterdir()] == ["x.csv"]
    assert path.read_bytes() == before
    for words in (
        "table: CSV, separated by comma, with a header",
        "document    request",
        "experts     e0, e1",
        "tokens 15 × layers 3 × k 2",
        "documents 3, positions",
        "layers 0-1, 3",
        "decode",
        "L00",
        "largest id + 1",
        f"convert it: python -m routestat.convert {path} --out TRACE --columns document=request,position=step",
    ):
        assert words in out, words


def test_what_is_printed_converts(capsys, tmp_path):
    path = write(tmp_path / "x.jsonl", rows_of(known(2), "list"))
    _, out, _ = shown(capsys, path, "--show")
    option = out.strip().splitlines()[-1].split("--columns ")[1]
    assert shown(capsys, path, "--columns", option, "--out", tmp_path / "t")[0] == 0


def test_columns_that_are_not_recognised_are_listed(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("when,where,what\n0,0,1\n")
    code, _, err = shown(capsys, tmp_path / "x.csv", "--show")
    assert (code, err.count("\n")) == (2, 1)
    assert "it has when, where, what" in err


def test_a_table_that_would_be_refused_shows_its_columns_and_why(capsys, tmp_path):
    (tmp_path / "x.csv").write_text("pos,layer,e0\n0,0,1\n0,0,2\n")
    code, out, _ = shown(capsys, tmp_path / "x.csv", "--show")
    assert code == 0
    assert "position    pos" in out
    assert "note: it would be refused" in out
    assert "line 2" in out


def test_only_the_first_part_of_a_large_table_is_read(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("routestat.traces.importers.tables.preview.SHOWN_ROWS", 10)
    path = write(tmp_path / "x.csv", rows_of(known(1), "expert"))
    monkeypatch.setattr("routestat.traces.importers.tables.sources.BLOCK_BYTES", 200)
    code, out, _ = shown(capsys, path, "--show")
    assert code == 0
    assert "shown is its first part" in out
    assert "× k 2" in out


def test_other_formats_are_shown_too(capsys, tmp_path):
    np.savez(tmp_path / "x.npz", experts=chosen(np.random.default_rng(0), 9, 3, 8, 2))
    code, out, _ = shown(capsys, tmp_path / "x.npz", "--show")
    assert code == 0
    assert "plain arrays (--format arrays)" in out
    assert "tokens 9 × layers 3 × k 2" in out
    assert "note: the file does not number its layers" in out


def test_a_folder_is_needed_without_it(capsys, tmp_path):
    path = write(tmp_path / "x.csv", rows_of(known(1), "columns"))
    code, _, err = shown(capsys, path)
    assert (code, "--out: name the folder" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.bin", ("--shape", "12,3,2", "--dtype", "uint8")),
        ("logits.npy", ("--logits", "--top-k", "2")),
        ("swapped.npy", ("--axes", "layers,tokens,k", "--layers", "1,2,5")),
        ("x.csv", ("--cluster", "talk", "--n-experts", "9", "--layers", "0,3")),
    ],
)
def test_what_is_printed_says_all_that_was_said(capsys, tmp_path, name, options):
    rng = np.random.default_rng(4)
    ids = chosen(rng, 12, 3, 8, 2)
    (tmp_path / "x.bin").write_bytes(ids.astype(np.uint8).tobytes())
    np.save(tmp_path / "logits.npy", rng.random((12, 3, 8), np.float32))
    np.save(tmp_path / "swapped.npy", ids.transpose(1, 0, 2))
    write(tmp_path / "x.csv", [{**row, "talk": "a"} for row in rows_of(known(1), "columns")])
    _, out, _ = shown(capsys, tmp_path / name, "--show", *options)
    command = shlex.split(out.strip().splitlines()[-1].split("routestat.convert ")[1])
    command[command.index("TRACE")] = str(tmp_path / "t")
    code, _, err = shown(capsys, *command)
    assert code == 0, err
