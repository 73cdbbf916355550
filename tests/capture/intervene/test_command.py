"""The intervene command: what it forces and records, resuming, and its error messages."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import typer

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.command import app as capture_app
from capture.command_line import spread_values
from capture.forward import Runner
from capture.intervene.command import app
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT, TINY
from tests.capture.families import DBRX
from tests.capture.intervene.harness import columns, command, effects, lines


def test_every_recorded_token_was_forced_and_nothing_before_it_moved(done):
    out, _ = done
    layers = [f"L{layer:02d}" for layer in range(7)]
    natural, forced = columns(out / "observed", *layers), columns(out / "do-12", *layers)
    assert (forced["L05"] == 12).all()
    assert (natural["L05"] == 12).mean() < 0.2
    for name in ("document", "token", *layers[:5]):
        np.testing.assert_array_equal(natural[name], forced[name])
    assert (natural["L06"] != forced["L06"]).any()
    drawn = columns(out / "do-random", "L05")["L05"]
    assert len(np.unique(drawn)) == 28


def test_the_natural_choice_forced_changes_nothing_at_all(done):
    out, _ = done
    names = [f"L{layer:02d}" for layer in range(32)]
    natural, forced = columns(out / "observed", *names), columns(out / "do-natural", *names)
    for name, values in natural.items():
        np.testing.assert_array_equal(values, forced[name])
    (found,) = effects(out, "natural")
    assert (found["changed_share"], found["recall_at_k"], found["js_bits"]) == (0, 1, 0)
    assert all(row["difference"] == 0 and row["difference_ci95"] == [0, 0] for row in found["next"])


def test_the_traces_state_what_was_forced(done):
    out, _ = done
    said = Trace.open(out / "do-12").meta.extra["intervention"]
    assert said == {"layer": 5, "do": "12", "state": 12, "experts": [1, 7], "weights_of": "renorm"}
    assert Trace.open(out / "do-random").meta.extra["intervention"]["seed"] == 3
    assert "intervention" not in Trace.open(out / "observed").meta.extra
    assert Trace.open(out / "observed").meta.window == 50


def test_resuming_adds_what_is_missing_and_refuses_other_treatments(done, capsys):
    out, options = done
    kept = (out / "do-12" / "manifest.json").stat().st_mtime_ns
    capsys.readouterr()
    assert command(*options, "--do", "3", "--resume") == 0
    assert "do(3): experts 0, 4 at layer 5 → layer 6" in capsys.readouterr().out
    assert (columns(out / "do-3", "L05")["L05"] == 3).all()
    # What was forced before stays in the results.
    found = json.loads((out / "intervene.json").read_text())["effects"]
    assert {one["do"] for one in found} == {"12", "natural", "random", "3"}
    assert kept <= (out / "do-12" / "manifest.json").stat().st_mtime_ns
    assert command(*options) == 2
    assert "already holds a trace; continue with --resume" in capsys.readouterr().err
    assert command(*options, "--resume", "--weights-of", "uniform") == 2
    assert "was made with intervention weights_of 'renorm', not 'uniform'" in capsys.readouterr().err
    # A capture that forces nothing must not go on in a store that was forced.
    again = ("--text", options[1], "--window", 50, "--dtype", "float32", "--out", out / "do-12", "--resume")
    assert run(capture_app, "capture", [str(TINY), *map(str, again)]) == 2
    assert "was made with intervention layer 5, not None" in capsys.readouterr().err


def test_an_interrupted_run_continues(tmp_path, capsys, monkeypatch):
    file = lines(tmp_path, 6)
    options = ("--text", file, "--batch-size", 2, "--layer", 30, "--do", 3, "--out")
    assert command(*options, tmp_path / "whole") == 0
    prefill, calls = Runner.prefill, []

    def interrupted(self, segments):
        calls.append(self.forcing)
        if sum(call is not None for call in calls) == 2:
            raise KeyboardInterrupt
        return prefill(self, segments)

    monkeypatch.setattr(Runner, "prefill", interrupted)
    capsys.readouterr()
    assert command(*options, tmp_path / "cut") == 130
    error = capsys.readouterr().err
    assert "2 documents are kept" in error
    assert error.strip().splitlines()[-1] == "error: interrupted"
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut" / "do-3").documents.num_rows == 2
    assert command(*options, tmp_path / "cut", "--resume") == 0
    for name in ("intervene.json", "intervene.csv"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()


BAD = {
    "nothing to do": ([], "name what to force: --do 12"),
    "no words": (["--do", "often"], "--do wants a state such as 12"),
    "no such state": (["--do", "28"], "--do 28: layer 5 has states 0 … 27"),
    "no such expert": (["--do", "1+8"], "chooses 2 different experts of 0 … 7"),
    "one expert twice": (["--do", "1+1"], "2 different experts"),
    "too many experts": (["--do", "1+2+3"], "2 different experts"),
    "no such layer": (["--do", "1", "--layer", "32"], "--layer 32 has no router: the MoE layers are 0-31"),
    "the last layer": (
        ["--do", "1", "--layer", "31"],
        "--layer 31 is the last MoE layer: no choice follows it",
    ),
    "too far": (["--do", "1", "--layer", "29", "--horizon", "3"], "only 2 MoE layers follow layer 29"),
    "no such weights": (["--do", "1", "--weights-of", "even"], "--weights-of is renorm, uniform, slot"),
    "nothing to run": (["--do", "1", "--text", ""], "no such file"),
    "unknown type": (["--do", "1", "--dtype", "float8"], "--dtype is auto"),
    "unknown option": (["--do", "1", "--max-new-tokens", "3"], "No such option"),
    "empty": (["--do", "1", "--text", "{empty}", "--window", "9"], "hold no tokens"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(tmp_path, capsys, case):
    (tmp_path / "text.txt").write_text("a few words")
    (tmp_path / "empty.jsonl").write_text('{"text": ""}')
    arguments, wanted = BAD[case]
    given = [part.format(empty=tmp_path / "empty.jsonl") for part in arguments]
    if "--text" not in given:
        given += ["--text", tmp_path / "text.txt"]
    if "--layer" not in given:
        given += ["--layer", 5]
    assert command(*given, "--out", tmp_path / "out") == 2
    error = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("run ")]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert wanted in error[0]


def test_a_trace_is_no_folder_for_other_stores(done, tmp_path, capsys):
    out, _ = done
    given = ("--text", lines(tmp_path, 1), "--layer", 5, "--do", 1, "--out", out / "observed")
    assert command(*given) == 2
    assert "holds a trace; name another folder" in capsys.readouterr().err
    assert not (out / "observed" / "observed").exists()


def test_a_dense_layer_names_the_moe_layers(tmp_path, wide, capsys):
    assert (
        command("--text", lines(tmp_path, 1), "--layer", 0, "--do", 1, "--out", tmp_path / "o", model=wide)
        == 2
    )
    assert "--layer 0 has no router: the MoE layers are 1-2" in capsys.readouterr().err


def test_a_family_that_cannot_be_forced_gets_one_line(tmp_path, capsys):
    folder = tmp_path / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    tokenizer.save_pretrained(folder)
    config = transformers.DbrxConfig(**{**DBRX, "vocab_size": len(tokenizer)})
    transformers.DbrxForCausalLM(config).save_pretrained(folder)
    options = ("--text", lines(tmp_path, 1), "--layer", 0, "--do", 1, "--out", tmp_path / "o", "--window", 30)
    assert command(*options, model=folder) == 2
    error = capsys.readouterr().err.strip()
    assert "transformer.blocks.0.ffn.router (DbrxRouter): its choice cannot be forced" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o" / "observed").exists()


def test_every_option_is_in_the_docs():
    page = (ROOT / "docs" / "capture.md").read_text()
    command_line = typer.main.get_command(app)
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 20
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


@pytest.mark.slow
def test_the_example_of_the_docs_runs_as_it_is_shown(tmp_path):
    page = (ROOT / "docs" / "capture.md").read_text()
    (line,) = re.findall(r"^python -m capture\.intervene .*$", page, re.MULTILINE)
    for name in ("data", "README.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    # As it is shown, on the beginning of each document.
    words = [sys.executable, *shlex.split(line)[1:], "--max-length", "200"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=one_thread)
    assert result.returncode == 0, result.stderr
    assert "do(12): experts 1, 7 at layer 5 → layer 6" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    assert (tmp_path / "traces" / "do" / "intervene.json").is_file()


@pytest.mark.slow
def test_the_example_of_the_help_is_a_command_that_parses():
    shown = subprocess.run(
        [sys.executable, "-m", "capture.intervene", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert shown.returncode == 0
    words = " ".join(shown.stdout.replace("│", " ").split())
    example = re.search(r"Example: python -m capture\.intervene (.*?--out \S+)", words).group(1)
    parser = typer.main.get_command(app)
    given = parser.make_context("capture.intervene", spread_values(shlex.split(example))).params
    assert (given["layer"], given["do"], str(given["out"])) == (5, ["12"], "do")
