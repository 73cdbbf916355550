"""The recipe: the same again from the same seed, bit for bit, also after a stop; and it learns."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
import typer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import capture.command
from capture.train import checkpoint, data, evaluation, recipe
from capture.train import command as train_command
from capture.train.batching import RowSampler
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT

SMALL = {"layers": 2, "hidden": 16, "intermediate": 16, "vocab": 300, "context": 32, "batch-tokens": 256}
SHAPE = [part for name, value in SMALL.items() for part in (f"--{name}", str(value))]
WORDS = [
    "the",
    "captain",
    "sold",
    "forty",
    "clips",
    "and",
    "returned",
    "to",
    "the",
    "sea",
    "in",
    "time",
    "for",
    "tea",
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Sixty documents of a toy language: each word is followed by one of the next two."""
    rng = np.random.default_rng(5)
    lines = []
    for _ in range(60):
        steps = np.cumsum(rng.integers(1, 3, 80)) % len(WORDS)
        lines.append(json.dumps({"text": " ".join(WORDS[i] for i in steps)}))
    file = tmp_path_factory.mktemp("text") / "toy.jsonl"
    file.write_text("\n".join(lines))
    return file


def command(*arguments):
    return run(train_command.app, "capture.train", [*SHAPE, *map(str, arguments)])


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def course(folder):
    """The loss of every step; seconds differ from run to run."""
    with (folder / "loss.csv").open() as lines:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(lines)]


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "toy"
    assert command("--text", text, "--out", out, "--steps", 120, "--processes", 1) == 0
    return out


def test_the_same_seed_gives_the_same_weights_and_another_does_not(text, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        options = ("--steps", 4, "--processes", 1, "--seed", seed)
        assert command("--text", text, "--out", tmp_path / name, *options) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert course(tmp_path / "a") == course(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def stop_after(monkeypatch, steps):
    """Ctrl-C, as the user would send it, while the training runs."""
    add = train_command.LossCurve.add

    def stopping(self, result):
        add(self, result)
        if result.step == steps:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(train_command.LossCurve, "add", stopping)


def test_a_stopped_training_goes_on_as_if_nothing_had_been(text, tmp_path, monkeypatch, capsys):
    arguments = ("--text", text, "--steps", 12, "--processes", 1, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    stop_after(monkeypatch, 5)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert "continue with --resume" in capsys.readouterr().err
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert len(course(tmp_path / "cut")) == 6
    assert command(*arguments, tmp_path / "cut") == 2
    assert "holds a training; continue with --resume" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume", "--seed", 9) == 2
    assert "was made with seed 0, not 9" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert course(tmp_path / "cut") == course(tmp_path / "whole")
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()
    assert command(*arguments, tmp_path / "cut", "--resume") == 2
    assert "this training is finished" in capsys.readouterr().err


def test_two_processes_are_reproducible_too_and_go_on_after_a_stop(text, tmp_path, monkeypatch):
    arguments = ("--text", text, "--steps", 8, "--processes", 2, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    stop_after(monkeypatch, 3)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert course(tmp_path / "cut") == course(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint(text, tmp_path):
    arguments = ["--text", text, "--steps", 400, "--save-every", 0, "--processes", 2]
    assert command(*arguments, "--out", tmp_path / "whole") == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "capture.train", *SHAPE, *map(str, arguments), "--out", out],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait(30)
    assert not (out / "model.safetensors").exists()
    assert command(*arguments, "--out", out, "--resume") == 0
    assert weights(out) == weights(tmp_path / "whole")
    assert course(out) == course(tmp_path / "whole")


def test_the_loss_falls_below_the_bigram_of_a_learnable_text(trained, capsys):
    rows = course(trained)
    assert len(rows) == 120
    assert float(rows[0]["loss"]) > 5
    assert float(rows[-1]["loss"]) < 3
    assert float(rows[-1]["held_out_loss"]) < 3
    # A warm-up of a fifth of so few steps, then down to nothing.
    assert max(range(120), key=lambda i: float(rows[i]["lr"])) == 24
    assert float(rows[-1]["lr"]) < 1e-4
    said = json.loads((trained / "training.json").read_text())["run"]
    assert 0 < said["held_out_bits_per_byte"] < 2
    assert said["tokens"] == 120 * 256
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_states_the_facts_of_the_run(trained):
    card = (trained / "README.md").read_text()
    said = json.loads((trained / "training.json").read_text())["run"]
    assert f"bits per byte | {said['held_out_bits_per_byte']:.3f}" in card
    assert "30,720 tokens in 120 steps of 256" in card
    assert "2 layers, 8 experts, top 2" in card
    # Three of sixty documents of alike length.
    assert 0.03 < said["held_out_share"] < 0.07
    assert f"{said['held_out_share']:.1%} of the tokens were held out" in card
    assert "`toy.jsonl" in card
    with (trained / "load.csv").open() as lines:
        load = np.array([[float(v) for k, v in row.items() if k != "layer"] for row in csv.DictReader(lines)])
    assert load.shape == (2, 8)
    np.testing.assert_allclose(load.sum(axis=1), 2, atol=1e-4)


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


def test_balance_loss_by_hand():
    """Two layers of two tokens, three experts, one chosen.

    Probabilities [.5 .3 .2] and [.1 .6 .3]: choices 0 and 1, shares ½ ½ 0, means .3 .45 .25:
    3 × (.15 + .225) = 1.125. The second layer sends both to expert 0 with .8: 3 × .8 = 2.4.
    """
    probability = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]], [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]])
    assert recipe.balance_losses(probability.log(), 1).tolist() == pytest.approx([1.125, 2.4])


def test_balance_loss_of_top_2_against_numpy_layer_by_layer():
    logits = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(2)) * 2
    wanted = []
    for layer in logits.numpy().astype(float):
        p = np.exp(layer) / np.exp(layer).sum(axis=1, keepdims=True)
        share = np.bincount(np.argsort(-p, axis=1)[:, :2].reshape(-1), minlength=8) / 100
        wanted.append(8 * (share * p.mean(axis=0)).sum())
    assert recipe.balance_losses(logits, 2).tolist() == pytest.approx(wanted, rel=1e-5)


def test_balance_loss_sees_layers_that_collapse_onto_different_experts():
    logits = torch.full((4, 30, 4), -20.0)
    for layer in range(4):
        logits[layer, :, layer] = 20.0
    assert recipe.balance_losses(logits, 1).tolist() == pytest.approx([4.0] * 4)


def test_the_model_s_own_routers_feed_the_balance_loss():
    shape = recipe.Recipe(layers=3, hidden=48, intermediate=16, context=16, batch_tokens=64)
    model = recipe.make_model(shape, 300)
    rows = torch.randint(3, 300, (4, 17), generator=torch.Generator().manual_seed(0))
    seen = []
    hooks = [
        layer.mlp.gate.register_forward_hook(lambda _, args, output: seen.append(output[0]))
        for layer in model.model.layers
    ]
    cross_entropy, balance = recipe.losses(model, rows)
    for hook in hooks:
        hook.remove()
    wanted = recipe.balance_losses(torch.stack(seen), 2).sum().item()
    assert balance.item() == pytest.approx(wanted)
    logits = model(input_ids=rows[:, :-1]).logits.detach().double()
    picked = logits.log_softmax(-1).gather(-1, rows[:, 1:, None])
    assert cross_entropy.item() == pytest.approx(-picked.mean().item(), rel=1e-5)


def test_first_weights_have_the_recipe_s_sizes():
    shape = recipe.Recipe(layers=8)
    model = recipe.make_model(shape, 1024)
    small = 16**-0.5
    wanted = {
        "model.embed_tokens.weight": 0.3,
        "lm_head.weight": 96**-0.5,
        "model.layers.3.self_attn.q_proj.weight": 96**-0.5,
        "model.layers.3.self_attn.o_proj.weight": 64**-0.5 * small,
        "model.layers.3.mlp.gate.weight": 96**-0.5,
        "model.layers.3.mlp.experts.gate_up_proj": 96**-0.5,
        "model.layers.3.mlp.experts.down_proj": 80**-0.5 * small,
    }
    parameters = dict(model.named_parameters())
    for name, sd in wanted.items():
        n = parameters[name].numel()
        # Six standard errors of a standard deviation.
        assert float(parameters[name].detach().std()) == pytest.approx(sd, rel=6 / (2 * n) ** 0.5), name
    assert bool((parameters["model.norm.weight"] == 1).all())
    assert parameters["model.embed_tokens.weight"].dtype == torch.float32
    again = recipe.make_model(shape, 1024)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_every_pass_shows_every_row_once_and_cuts_the_text_elsewhere():
    rows = RowSampler(np.arange(3, 1003, dtype=np.uint16), 10, 7, seed=1)
    # 99 rows in a pass: the first 14 steps and one row more.
    seen = np.concatenate([rows.of_step(step) for step in range(15)])
    assert (seen[:, 0] == recipe.START_ID).all()
    first, second = seen[:99, 1], seen[99:, 1]
    assert (np.diff(seen[:, 1:], axis=1) == 1).all()
    assert (np.diff(np.sort(first)) == 10).all()
    assert (np.diff(first) != 10).any()
    assert (first[0] - second[0]) % 10
    again = RowSampler(np.arange(3, 1003, dtype=np.uint16), 10, 7, seed=1)
    np.testing.assert_array_equal(again.of_step(14), rows.of_step(14))


def test_bigram_by_hand():
    """Stream a b a c a b over four tokens (a = 0 … and START = 1 never seen); after a: b twice, c once, T = 2, n = 3.

    P(b | a) = (2 + 2 × 3/10) / 5 where the unigram of b is (2 + 1) / (6 + 4); after the start token the unigram.
    """
    a, b, c = 0, 2, 3
    stream = np.array([a, b, a, c, a, b], np.uint16)
    nats = evaluation.bigram_nats(stream, [np.array([recipe.START_ID, b]), np.array([a, b])], 4)
    assert nats == pytest.approx(-np.log(3 / 10) - np.log((2 + 2 * 0.3) / 5))


def test_held_out_documents_are_whole_and_few():
    sizes = [1000] * 40
    kept, held = data.split_documents(sizes, 0)
    assert sorted(kept + held) == list(range(40))
    assert len(held) == 2
    # One document that is most of the text is never held out; where none is small enough, the smallest is.
    assert 0 not in data.split_documents([100_000, *[300] * 60], 1)[1]
    assert data.split_documents([500, 400], 0) == ([0], [1])


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


@pytest.mark.parametrize("damage", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"junk" * 30])
def test_a_damaged_checkpoint_gets_one_line(text, tmp_path, capsys, monkeypatch, damage):
    arguments = ("--text", text, "--steps", 4, "--processes", 1, "--out", tmp_path / "t")
    stop_after(monkeypatch, 1)
    assert command(*arguments) == 130
    monkeypatch.undo()
    capsys.readouterr()
    (tmp_path / "t" / "checkpoint.safetensors").write_bytes(damage)
    assert command(*arguments, "--resume") == 2
    assert "not a checkpoint of this model" in capsys.readouterr().err


def damaged(text, folder, monkeypatch):
    """A training that was stopped after a step, and what to type to go on."""
    arguments = ("--text", text, "--steps", 4, "--out", folder)
    stop_after(monkeypatch, 1)
    assert command(*arguments, "--processes", 1) == 130
    monkeypatch.undo()
    return (*arguments, "--resume")


def test_a_damaged_tokenizer_gets_one_line_and_is_made_again(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    file = tmp_path / "t" / "tokenizer.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:99])
    capsys.readouterr()
    assert command(*again) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "tokenizer.json: not a tokenizer" in error[0]
    file.unlink()
    assert command(*again) == 0
    assert file.read_bytes() == whole


def test_a_record_without_its_options_gets_one_line(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    (tmp_path / "t" / "training.json").write_text('{"options": {}, "run": null}')
    capsys.readouterr()
    assert command(*again) == 2
    assert "was made with layers None, not 2" in capsys.readouterr().err


def test_a_checkpoint_whose_progress_is_no_number_gets_one_line(text, tmp_path, capsys, monkeypatch):
    again = damaged(text, tmp_path / "t", monkeypatch)
    file = tmp_path / "t" / "checkpoint.safetensors"
    tensors = load_file(file)
    save_file(tensors, file, {"progress": '{"step": 1, "seconds": null, "fraction": 0.25}'})
    capsys.readouterr()
    assert command(*again) == 2
    assert "not a checkpoint of this model" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["checkpoint", "model"])
def test_a_full_disk_gets_one_line_and_the_training_goes_on(text, tmp_path, capsys, monkeypatch, written):
    """safetensors has an error of its own for what other writers call an OSError."""

    def full(*arguments, **options):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    if written == "checkpoint":
        monkeypatch.setattr(checkpoint, "save_file", full)
    else:
        monkeypatch.setattr(recipe.MixtralForCausalLM, "save_pretrained", full)
    arguments = ("--text", text, "--steps", 3, "--processes", 1, "--out", tmp_path / "t")
    assert command(*arguments) == 2
    error = [line for line in capsys.readouterr().err.strip().splitlines() if not line.startswith("step ")]
    assert len(error) == 1
    assert "No space left on device" in error[0]
    assert "continue with --resume" in error[0]
    monkeypatch.undo()
    assert command(*arguments, "--resume") == 0


def test_another_tokenizer_or_a_lost_record_is_no_training(text, tmp_path, capsys):
    shutil.copy(ROOT / "data" / "tiny-mixtral" / "config.json", tmp_path / "config.json")
    (tmp_path / "training.json").write_text("[]")
    assert command("--text", text, "--steps", 2, "--out", tmp_path, "--resume") == 2
    assert "not the record of a training" in capsys.readouterr().err


def test_every_option_is_in_the_docs():
    page = (ROOT / "docs" / "train.md").read_text()
    command_line = typer.main.get_command(train_command.app)
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 15
    assert [option for option in sorted(options) if f"`{option}" not in page] == []
