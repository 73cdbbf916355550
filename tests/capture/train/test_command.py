"""The training command: its error messages, its options, and a model that can be captured."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
import typer

import capture.command
from capture.train import command as train_command
from capture.train import data
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT
from tests.capture.train.harness import command


def test_what_was_trained_can_be_captured(trained, tmp_path):
    (tmp_path / "text.txt").write_text("the captain returned to the sea 12 times — überall")
    arguments = [trained, "--text", tmp_path / "text.txt", "--window", 31, "--out", tmp_path / "trace"]
    assert run(capture.command.app, "capture", list(map(str, arguments))) == 0
    trace = Trace.open(tmp_path / "trace")
    assert [(router.n_experts, router.top_k) for router in trace.meta.routers] == [(8, 2)] * 2
    assert trace.meta.precision == "bfloat16"
    tokens = np.concatenate([batch.columns["token"] for batch in trace.batches(["token"])])
    tokenizer = data.PreTrainedTokenizerFast.from_pretrained(trained)
    assert tokenizer.decode(tokens) == (tmp_path / "text.txt").read_text()
    assert data.token_bytes(tokenizer)[tokens].sum() == (tmp_path / "text.txt").stat().st_size


BAD = {
    "how long": ([], "--minutes 30, or --steps 500"),
    "both": (["--minutes", "1", "--steps", "2"], "(not both)"),
    "endless": (["--minutes", "inf"], "--minutes 30, or --steps 500"),
    "no such text": (["--steps", "2", "--text", "{folder}/absent.txt"], "absent.txt: no such file"),
    "one document": (["--steps", "2", "--text", "{one}"], "at least 2 documents with text are needed"),
    "little text": (["--steps", "2", "--text", "{few}"], "to train on where a step takes 256"),
    "short text": (["--steps", "2", "--text", "{short}"], "shorter than --context 32"),
    "taken": (
        ["--steps", "2", "--text", "{text}", "--out", "{taken}"],
        "holds files that are not a training",
    ),
    "not a folder": (["--steps", "2", "--text", "{text}", "--out", "{one}"], "is a file; name a folder"),
    "more than there are": (["--steps", "2", "--text", "{text}", "--top-k", "9"], "--top-k 9 of --experts 8"),
    "a width the kernel cannot take": (["--steps", "2", "--text", "{text}", "--hidden", "36"], "--hidden 36"),
    "another": (["--steps", "2", "--text", "{text}", "--intermediate", "20"], "takes multiples of 8"),
    "a seed beyond all": (["--steps", "2", "--text", "{text}", "--seed", str(2**64)], "Invalid value"),
    "half a character": (["--steps", "2", "--text", "{half}"], "half.jsonl, line 1: 'text' holds half of a"),
    "small vocabulary": (["--steps", "2", "--text", "{text}", "--vocab", "99"], "bytes and specials alone"),
    "uneven rows": (
        ["--steps", "2", "--text", "{text}", "--batch-tokens", "100"],
        "no multiple of --context",
    ),
    "uneven processes": (
        ["--steps", "2", "--text", "{text}", "--processes", "3"],
        "do not divide the 8 rows",
    ),
    "not text": (["--steps", "2", "--text", "{binary}"], "not UTF-8 text"),
    "no text": (["--steps", "2"], "Missing option '--text'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(tmp_path, text, capsys, case):
    files = {name: tmp_path / f"{name}.jsonl" for name in ("one", "few", "short", "binary", "half")}
    files["one"].write_text(json.dumps({"text": "words " * 900}))
    files["few"].write_text("\n".join([json.dumps({"text": "a few words " * 9})] * 3))
    files["short"].write_text("\n".join([json.dumps({"text": f"{i} little words"}) for i in range(400)]))
    files["binary"].write_bytes(b"\xff\xfe\x00\x81")
    files["half"].write_text('{"text": "\\ud800"}')
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    names = {**files, "folder": tmp_path, "taken": tmp_path / "taken", "text": text}
    arguments, wanted = BAD[case]
    given = [part.format(**names) for part in arguments]
    given += [] if "--text" in given or case == "no text" else ["--text", str(text)]
    given += [] if "--out" in given else ["--out", str(tmp_path / "out")]
    assert command(*given) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert wanted in error[0]
    assert (tmp_path / "taken" / "notes.txt").read_text() == "mine"
    assert not any((tmp_path / "out").glob("*"))


def test_every_option_is_in_the_docs():
    page = (ROOT / "docs" / "train.md").read_text()
    command_line = typer.main.get_command(train_command.app)
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 15
    assert [option for option in sorted(options) if f"`{option}" not in page] == []
