"""The command: one code path from a folder with a model to a store, and what it says when something is wrong."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import typer

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")

import routestat.traces.writer
from capture.command import app
from capture.command_line import spread_values
from capture.forward import Runner, Segment
from capture.routers import discover
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import ROOT, TINY
from tests.capture.families import BASE

TRACE = ROOT / "data" / "traces" / "tiny-mixtral"
TEXTS = (
    "It was the best of times, it was the worst of times, it was the age of wisdom.",
    "def add(a, b):\n    return a + b\n",
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May.",
)


@pytest.fixture
def texts(tmp_path):
    files = []
    for i, text in enumerate(TEXTS):
        files.append(tmp_path / f"text{i}.txt")
        files[-1].write_text(text)
    return [part for file in files for part in ("--text", str(file))]


def command(*arguments):
    return run(app, "capture", [str(TINY), "--dtype", "float32", *map(str, arguments)])


def read(folder, columns=None):
    """All rows of a store as columns."""
    batches = list(Trace.open(folder).batches(columns))
    names = batches[0].columns
    whole = {name: np.concatenate([batch.columns[name] for batch in batches]) for name in names}
    return {
        "document": np.concatenate([batch.document for batch in batches]),
        "position": np.concatenate([batch.position for batch in batches]),
        **whole,
    }


def require_same(first, second, rows=slice(None)):
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values[rows], second[name], name)


def phases(folder):
    return np.concatenate(
        [b.column("phase").to_numpy(zero_copy_only=False) for b in Trace.open(folder).record_batches()]
    )


def test_prefill_and_generation_give_equal_results(tmp_path, texts, tiny, capsys):
    assert command(*texts, "--out", tmp_path / "prefill") == 0
    assert command(*texts, "--out", tmp_path / "generation", "--max-new-tokens", 12) == 0
    assert command(*texts, "--out", tmp_path / "alone", "--max-new-tokens", 12, "--batch-size", 1) == 0
    generated = read(tmp_path / "generation")
    decode = phases(tmp_path / "generation") == "decode"
    require_same(generated, read(tmp_path / "prefill"), ~decode)
    require_same(generated, read(tmp_path / "alone"))
    assert decode.sum() == 3 * 11
    # The decoded tokens too: a prefill of the final tokens chooses what was executed one by one.
    runner = Runner(tiny, discover(tiny), pad=0)
    meta = Trace.open(tmp_path / "generation").meta
    for number in range(3):
        of_document = generated["document"] == number
        rows = runner.run([Segment(number, generated["token"][of_document].tolist())])
        for router in meta.routers:
            np.testing.assert_array_equal(
                generated[router.name][of_document], router.alphabet.rank(rows.experts[router.name])
            )
    assert "expert shares" in capsys.readouterr().out


def test_the_trace_says_where_it_came_from(tmp_path, texts, tokenizer, capsys):
    out = tmp_path / "trace"
    options = ("--top1", "--weights", "--lookahead", "1,4", "--max-new-tokens", 4)
    assert command(*texts, "--out", out, *options) == 0
    trace = Trace.open(out)
    assert trace.complete
    assert (trace.meta.precision, trace.meta.model) == ("float32", str(TINY))
    assert f"transformers {transformers.__version__}" in trace.meta.engine
    assert "experts grouped_mm" in trace.meta.engine
    assert trace.meta.extra["routers"]["L31"] == "model.layers.31.mlp.gate"
    assert trace.meta.extra["phases"] == ["prefill", "decode"]
    assert trace.meta.extra["lookahead"] == {"variant": "residual", "distances": [1, 4]}
    assert trace.columns[:4] == ("L00.top1", "L00.weights", "L00.ahead1", "L00.ahead4")
    assert "L28.ahead4" not in trace.columns
    rows = read(out)
    first = rows["document"] == 0
    prompt = tokenizer(TEXTS[0])["input_ids"]
    assert rows["token"][first][: len(prompt)].tolist() == prompt
    # The heavier weight belongs to the expert that top1 names.
    experts = trace.meta.routers[5].alphabet.unrank(rows["L05"])
    heavier = rows["L05.weights"].astype(float).argmax(axis=1)
    clear = np.ptp(rows["L05.weights"].astype(float), axis=1) > 1e-3
    assert (experts[np.arange(len(heavier)), heavier] == rows["L05.top1"])[clear].all()
    run_file = json.loads((out / "capture.json").read_text())
    assert run_file["complete"]
    assert run_file["run"]["tokens"] == trace.n_tokens
    assert run_file["run"]["seconds"] > 0
    printed = capsys.readouterr().out
    assert "energy:" in printed
    assert "text1.txt" in printed


def test_beams_are_replayed_and_the_flip_rate_is_printed(tmp_path, texts, capsys):
    assert command(*texts, "--out", tmp_path / "t", "--max-new-tokens", 5, "--num-beams", 2) == 0
    n = Trace.open(tmp_path / "t").n_tokens
    assert f"replay: 0 of {n * 32:,} selections differ" in capsys.readouterr().out
    assert Trace.open(tmp_path / "t").meta.extra["replay"] == {"selections": n * 32, "changed": 0}


def trace_documents(numbers=None):
    """Tokens of the documents of the trace that ships, and all its columns."""
    rows = read(TRACE)
    wanted = np.unique(rows["document"]) if numbers is None else numbers
    return rows, {int(n): rows["token"][rows["document"] == n] for n in wanted}


def reproduction(tmp_path, tokenizer, numbers):
    """Selections and heavier experts of the trace that differ when its texts are captured again, and all of them."""
    rows, documents = trace_documents(numbers)
    lines = [json.dumps({"text": tokenizer.decode(tokens)}) for tokens in documents.values()]
    (tmp_path / "documents.jsonl").write_text("\n".join(lines))
    out = tmp_path / "again"
    arguments = (
        "--text",
        tmp_path / "documents.jsonl",
        "--window",
        255,
        "--top1",
        "--out",
        out,
        "--batch-size",
        16,
    )
    assert command(*arguments) == 0
    again = read(out)
    kept = np.isin(rows["document"], list(documents))
    assert Trace.open(out).meta.window == 255
    for name in ("token", "position"):
        np.testing.assert_array_equal(again[name], rows[name][kept], name)
    names = [f"L{layer:02d}" for layer in range(32)]
    flips = sum(int((again[name] != rows[name][kept]).sum()) for name in names)
    heavier = sum(int((again[f"{name}.top1"] != rows[f"{name}.top1"][kept]).sum()) for name in names)
    return flips, heavier, 32 * int(kept.sum())


def test_the_trace_that_ships_is_reproduced_exactly(tmp_path, tokenizer):
    """Some documents of each kind: fp32 capture of the same tokens gives the same states and heavier experts."""
    rows, _ = trace_documents([])
    numbers, sizes = np.unique(rows["document"], return_counts=True)
    short = numbers[sizes < 1200]
    flips, heavier, compared = reproduction(tmp_path, tokenizer, short[:: len(short) // 12])
    assert (flips, heavier) == (0, 0)
    assert compared > 32 * 1000


@pytest.mark.slow
def test_the_whole_trace_that_ships_is_reproduced_but_for_ties(tmp_path, tokenizer):
    """All 13.4 million selections; 7 differ: three ties at the last bit, and four that follow."""
    flips, heavier, compared = reproduction(tmp_path, tokenizer, None)
    assert compared == 418_517 * 32
    assert flips <= 2e-6 * compared
    assert heavier <= 4e-6 * compared


def broken_model(folder, config):
    transformers.AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    config.save_pretrained(folder)
    return folder


BAD = {
    "nothing to run": ([], "name what to run"),
    "two sources": (["--text", "{text}", "--dataset", "x"], "name what to run"),
    "no such text": (["--text", "{folder}/absent.txt"], "absent.txt: no such file"),
    "not text": (["--text", "{binary}"], "binary.txt: not UTF-8 text"),
    "no text in lines": (["--text", "{binary_lines}"], "binary.jsonl: not UTF-8 text (byte 0)"),
    "not JSON": (["--text", "{lines}"], "lines.jsonl, line 2: not a JSON object with a field 'text'"),
    "longer than the context": (["--text", "{long}"], "long.txt: 801 tokens, the model takes 256"),
    "longer with what is generated": (
        ["--text", "{text}", "--max-new-tokens", "250"],
        "with 250 to be generated, the model takes 256; cut the documents with --max-length 6",
    ),
    "no chat template": (["--text", "{text}", "--chat-template"], "no chat template"),
    "unknown type": (["--text", "{text}", "--dtype", "float8"], "--dtype is auto"),
    "unknown lookahead": (["--text", "{text}", "--lookahead", "soon"], "--lookahead wants numbers"),
    "windows and generation": (["--text", "{text}", "--window", "9", "--max-new-tokens", "2"], "--window"),
    "beams without tokens": (["--text", "{text}", "--num-beams", "2"], "--max-new-tokens"),
    "sampling without tokens": (["--text", "{text}", "--sample"], "--sample is a way to generate"),
    "a seed below all": (
        ["--text", "{text}", "--max-new-tokens", "2", "--sample", "--seed", "-1"],
        "'--seed'",
    ),
    "half a character": (["--text", "{half}"], "half.jsonl, line 1: 'text' holds half of a surrogate pair"),
    "a conversation": (["--text", "{turns}"], "turns.jsonl, line 1: 'text' holds a list, not text"),
    "a column of lists": (["--dataset", "{data}", "--column", "turns"], "'turns' holds a list, not text"),
    "no such data set": (["--dataset", "{folder}/none", "--column", "c"], "cannot be read"),
    "no such column": (["--dataset", "{data}", "--column", "answer"], "no column 'answer'; it has question"),
    "unknown option": (["--text", "{text}", "--fast"], "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(tmp_path, capsys, case):
    (tmp_path / "text.txt").write_text("a few words")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00\x81")
    (tmp_path / "lines.jsonl").write_text('{"text": "fine"}\n{"txt": "wrong"}\n')
    (tmp_path / "long.txt").write_text("1 " * 400)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text('{"question": "why?", "turns": ["why?"]}\n')
    (tmp_path / "half.jsonl").write_text('{"text": "\\ud800 and more"}\n')
    (tmp_path / "turns.jsonl").write_text('{"text": [{"role": "user", "content": "why?"}]}\n')
    names = {name: tmp_path / f"{name}.txt" for name in ("text", "binary", "long")}
    names |= {"binary_lines": tmp_path / "binary.jsonl"}
    names |= {name: tmp_path / f"{name}.jsonl" for name in ("half", "turns")}
    names |= {"lines": tmp_path / "lines.jsonl", "folder": tmp_path, "data": tmp_path / "data"}
    arguments, wanted = BAD[case]
    assert command(*(part.format(**names) for part in arguments), "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert wanted in error[0]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("dense", "LlamaForCausalLM has no router: it is a dense model"),
        ("doge", "doge cannot be recorded: its routing mixes"),
        ("nllb-moe", "nllb-moe cannot be recorded"),
        ("switch_transformers", "is an encoder-decoder"),
        ("absent", "absent cannot be loaded"),
    ],
)
def test_models_that_cannot_be_recorded_get_one_line(tmp_path, capsys, kind, wanted):
    """None of them has weights: they are refused before any would be read."""
    folder = tmp_path / kind
    if kind == "dense":
        broken_model(folder, transformers.LlamaConfig(**BASE))
    elif kind != "absent":
        broken_model(folder, transformers.AutoConfig.for_model(kind))
    (tmp_path / "text.txt").write_text("words")
    assert (
        run(app, "capture", [str(folder), "--text", str(tmp_path / "text.txt"), "--out", str(tmp_path / "o")])
        == 2
    )
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert wanted in error[0]


def test_a_data_set_is_streamed(tmp_path):
    (tmp_path / "data").mkdir()
    rows = "\n".join(json.dumps({"question": f"what is {i} and {i}?"}) for i in range(9))
    (tmp_path / "data" / "rows.jsonl").write_text(rows)
    arguments = (
        "--dataset",
        tmp_path / "data",
        "--column",
        "question",
        "--limit",
        5,
        "--out",
        tmp_path / "t",
    )
    assert command(*arguments) == 0
    trace = Trace.open(tmp_path / "t")
    assert trace.documents.num_rows == 5
    assert trace.documents.column("name").to_pylist()[3].endswith("data[3]")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Sixty-four documents of different lengths, and the store of a run that nothing stopped."""
    tmp_path = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    words = ["time", "captain", "return", "x", "sea", "clips", "and", "the", "of"]
    lines = [json.dumps({"text": " ".join(rng.choice(words, rng.integers(5, 60)))}) for _ in range(64)]
    file = tmp_path / "many.jsonl"
    file.write_text("\n".join(lines))
    assert command("--text", file, "--out", tmp_path / "whole", "--batch-size", 4) == 0
    return file, tmp_path / "whole"


@pytest.mark.parametrize(
    ("stop", "code"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow)],
    ids=["kill", "interrupt", "terminate"],
)
def test_a_stopped_run_keeps_what_it_had_and_goes_on(tmp_path, capsys, many, stop, code):
    file, whole = many
    out = tmp_path / "stopped"
    arguments = ["--text", file, "--out", out, "--max-new-tokens", 0, "--save-every", 0, "--batch-size", 1]
    process = subprocess.Popen(
        [sys.executable, "-m", "capture", TINY, "--dtype", "float32", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out / "shard-00002.arrow").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    if stop != signal.SIGKILL:
        assert error.strip().splitlines()[-1] == "error: interrupted"
        assert "continue with --resume" in error
    kept = Trace.open(out)
    assert not kept.complete
    assert 2 <= kept.documents.num_rows < 64
    capsys.readouterr()
    assert command(*arguments) == 2
    assert "continue with --resume" in capsys.readouterr().err
    assert command(*arguments, "--resume", "--save-every", 60) == 0
    assert Trace.open(out).complete
    require_same(read(out), read(whole))


def test_a_full_disk_keeps_what_was_saved(tmp_path, capsys, many, monkeypatch):
    file, whole = many
    out = tmp_path / "full"
    arguments = ("--text", file, "--out", out, "--save-every", 0, "--batch-size", 4)
    real = routestat.traces.writer.write_arrow

    def full(path, table):
        if path.name == "shard-00003.arrow":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, table)

    monkeypatch.setattr(routestat.traces.writer, "write_arrow", full)
    capsys.readouterr()
    assert command(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "No space left on device" in error
    assert "12 documents are kept: make room and continue with --resume" in error
    assert len(error.splitlines()) == 1
    monkeypatch.undo()
    assert Trace.open(out).documents.num_rows == 12
    assert command(*arguments, "--resume") == 0
    require_same(read(out), read(whole))


def test_windows_of_a_long_document_are_saved_only_whole(tmp_path, capsys, monkeypatch):
    """Interrupted in the middle of the second document: only the first is kept, and the rest follows."""
    file = tmp_path / "two.jsonl"
    file.write_text("\n".join(json.dumps({"text": f"{word} " * 60}) for word in ("sea", "time")))
    arguments = ("--text", file, "--window", 16, "--batch-size", 2, "--save-every", 0, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    run_batch, calls = Runner.run, []

    def interrupted(self, segments):
        calls.append(segments)
        if segments[0].document == 1 and segments[0].first >= 32:
            raise KeyboardInterrupt
        return run_batch(self, segments)

    monkeypatch.setattr(Runner, "run", interrupted)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut").documents.num_rows == 1
    assert len(calls) > 2
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    require_same(read(tmp_path / "cut"), read(tmp_path / "whole"))


@pytest.mark.parametrize("replayed", [(), ("--num-beams", 2)], ids=["plain", "beams"])
def test_a_resumed_sampled_run_draws_what_an_unstopped_one_would(
    tmp_path, capsys, many, monkeypatch, replayed
):
    file, _ = many
    sampled = ("--text", file, "--limit", 12, "--max-new-tokens", 6, "--sample", "--save-every", 0, *replayed)
    arguments = (*sampled, "--batch-size", 4, "--out")
    assert command(*arguments, tmp_path / "whole") == 0
    run_batch = Runner.run

    def interrupted(self, segments):
        if segments[0].document == 8:
            raise KeyboardInterrupt
        return run_batch(self, segments)

    monkeypatch.setattr(Runner, "run", interrupted)
    assert command(*arguments, tmp_path / "cut") == 130
    monkeypatch.undo()
    assert Trace.open(tmp_path / "cut").documents.num_rows == 8
    capsys.readouterr()
    assert command(*sampled, "--batch-size", 3, "--out", tmp_path / "cut", "--resume") == 2
    assert "was made with batch_size 4, not 3" in capsys.readouterr().err
    assert command(*arguments, tmp_path / "cut", "--resume") == 0
    require_same(read(tmp_path / "cut"), read(tmp_path / "whole"))
    assert command(*arguments, tmp_path / "other", "--seed", 1) == 0
    tokens, others = (read(tmp_path / name)["token"] for name in ("whole", "other"))
    assert len(tokens) != len(others) or (tokens != others).any()


def test_a_chat_template_is_filled_in(tmp_path, texts, tokenizer):
    folder = tmp_path / "chatty"
    shutil.copytree(TINY, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = (
        "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %} answer:{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    out = tmp_path / "t"
    assert run(app, "capture", [str(folder), *texts, "--chat-template", "--out", str(out)]) == 0
    rows = read(out)
    said = tokenizer.decode(rows["token"][rows["document"] == 0])
    # The template's own start token and no second one.
    assert said == f"<s>user: {TEXTS[0]} answer:"


def test_resuming_with_other_options_is_refused(tmp_path, texts, capsys):
    assert command(*texts, "--out", tmp_path / "t") == 0
    capsys.readouterr()
    assert command(*texts, "--out", tmp_path / "t", "--resume", "--max-length", 3) == 2
    assert "was made with max_length 0, not 3" in capsys.readouterr().err
    assert command(*texts, "--out", tmp_path / "t", "--resume") == 0


def test_nothing_in_a_field_is_an_empty_document(tmp_path):
    """Not the word "None"."""
    (tmp_path / "some.jsonl").write_text('{"text": null}\n{"text": "a few words"}\n')
    assert command("--text", tmp_path / "some.jsonl", "--window", 50, "--out", tmp_path / "t") == 0
    assert Trace.open(tmp_path / "t").documents.column("prompt_tokens").to_pylist()[0] == 0
    assert set(read(tmp_path / "t")["document"]) == {1}


@pytest.mark.parametrize("record", ["{", "{}", '{"options": 3, "run": {}}'])
def test_a_damaged_record_gets_one_line(tmp_path, texts, capsys, record):
    assert command(*texts, "--out", tmp_path / "t") == 0
    (tmp_path / "t" / "capture.json").write_text(record)
    capsys.readouterr()
    assert command(*texts, "--out", tmp_path / "t", "--resume") == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "capture.json: damaged" in error[0]


def small_model(folder, **changed):
    """Two layers with the tokenizer that ships, whose configuration is then changed."""
    config = transformers.AutoConfig.from_pretrained(TINY)
    config.num_hidden_layers, config.intermediate_size = 2, changed.pop("intermediate_size", 16)
    transformers.MixtralForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY / name, folder / name)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | changed))
    return folder


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"num_hidden_layers": 3}, "lack 9 of the weights"),
        ({"num_local_experts": 4}, "such as model.layers.0.mlp.experts"),
        ({"intermediate_size": 18}, "--experts eager runs without it"),
        ("cut", "cannot be loaded"),
    ],
)
def test_a_model_that_would_be_drawn_at_random_or_cannot_run_gets_one_line(
    tmp_path, texts, capsys, changed, wanted
):
    """transformers draws what the files lack and goes on: routers of nobody's would be recorded."""
    model = small_model(tmp_path / "model", **({} if changed == "cut" else changed))
    if changed == "cut":
        os.truncate(model / "model.safetensors", 999)
    capsys.readouterr()
    assert run(app, "capture", [str(model), *texts, "--out", str(tmp_path / "t")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert wanted in error[0]


def test_a_model_of_odd_sizes_runs_without_the_kernel(tmp_path, texts):
    model = small_model(tmp_path / "model", intermediate_size=18)
    assert run(app, "capture", [str(model), *texts, "--experts", "eager", "--out", str(tmp_path / "t")]) == 0


def test_every_option_is_in_the_docs():
    page = (ROOT / "docs" / "capture.md").read_text()
    command_line = typer.main.get_command(app)
    options = {name for parameter in command_line.params for name in parameter.opts if name.startswith("--")}
    assert len(options) > 25
    assert [option for option in sorted(options) if f"`{option}" not in page] == []


def test_several_files_follow_one_text_option():
    given = ["model", "--text", "a", "b.jsonl", "--out", "t", "--text", "c", "--top1"]
    spread = ["model", "--text", "a", "--text", "b.jsonl", "--out", "t", "--text", "c", "--top1"]
    assert spread_values(given) == spread
    assert spread_values(spread) == spread
