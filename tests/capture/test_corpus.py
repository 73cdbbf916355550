"""Documents from data sets and fields, and their tokens."""

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="capture needs torch")
transformers = pytest.importorskip("transformers", minversion="5.0", reason="capture needs transformers 5")
pytest.importorskip("datasets", reason="capture needs datasets")
from capture.command import app
from routestat import Trace
from routestat.cli.runner import run
from tests.capture.conftest import TINY
from tests.capture.harness import TEXTS, command, read


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


def test_null_in_a_field_is_an_empty_document(tmp_path):
    """Not the word "None"."""
    (tmp_path / "some.jsonl").write_text('{"text": null}\n{"text": "a few words"}\n')
    assert command("--text", tmp_path / "some.jsonl", "--window", 50, "--out", tmp_path / "t") == 0
    assert Trace.open(tmp_path / "t").documents.column("prompt_tokens").to_pylist()[0] == 0
    assert set(read(tmp_path / "t")["document"]) == {1}


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
