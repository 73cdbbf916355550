"""What the commands have in common: options from settings, several values of an option, and missing packages."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from capture.command_line import spread_values, with_settings
from routestat.cli.runner import run
from tests.capture.conftest import ROOT


@dataclass(frozen=True)
class Settings:
    model: Annotated[str, typer.Argument()]
    size: Annotated[int, typer.Option(min=1, help="How large.")] = 3
    folder: Annotated[Path | None, typer.Option()] = None
    text: Annotated[list[Path] | None, typer.Option()] = None


@pytest.fixture
def called():
    """A command with settings and an option of its own, and what it was called with."""
    app, calls = typer.Typer(add_completion=False), []

    @app.command()
    @with_settings
    def command(settings: Settings, layer: Annotated[int, typer.Option(help="Which.")], top: int = 5) -> None:
        """Do it."""
        calls.append((settings, layer, top))

    return lambda *arguments: run(app, "command", arguments), calls


def test_options_become_settings(called):
    command, calls = called
    assert command("m", "--layer", "2") == 0
    assert command("m", "--layer", "2", "--size", "9", "--folder", "f", "--text", "a", "--text", "b") == 0
    assert calls == [
        (Settings("m"), 2, 5),
        (Settings("m", 9, Path("f"), [Path("a"), Path("b")]), 2, 5),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m"], "Missing option '--layer'"),
        (["--layer", "2"], "Missing argument"),
        (["m", "--layer", "2", "--size", "0"], "'--size'"),
        (["m", "--layer", "2", "--speed", "1"], "No such option"),
    ],
)
def test_what_typer_refuses_is_refused(called, capsys, arguments, words):
    command, calls = called
    assert command(*arguments) == 2
    assert words in capsys.readouterr().err
    assert calls == []


def test_help_lists_the_fields_and_the_docstring(called, capsys):
    command, _ = called
    assert command("--help") == 0
    shown = capsys.readouterr().out
    for words in ("Do it.", "--size", "How large.", "--layer", "Which.", "--top"):
        assert words in shown


def test_two_settings_of_one_command():
    @dataclass(frozen=True)
    class More:
        flag: Annotated[bool, typer.Option("--flag")] = False
        names: Annotated[str, typer.Option()] = "all"

    calls = []

    def command(settings: Settings, more: More) -> None:
        calls.append((settings, more))

    # A local class cannot be found by name from a string annotation; the decorator takes the classes themselves.
    command.__annotations__ = {"settings": Settings, "more": More}
    with_settings(command)(model="m", size=1, folder=None, text=None, flag=True, names="x")
    assert calls == [(Settings("m", 1), More(True, "x"))]


def test_several_files_follow_one_text_option():
    given = ["model", "--text", "a", "b.jsonl", "--out", "t", "--text", "c", "--top1"]
    spread = ["model", "--text", "a", "--text", "b.jsonl", "--out", "t", "--text", "c", "--top1"]
    assert spread_values(given) == spread
    assert spread_values(spread) == spread


WITHOUT_TORCH = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "torch" else found(name, *more)
import {module} as module
sys.argv = {arguments}
module.main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("capture.__main__", ["capture", "--help"]),
        ("capture.intervene.__main__", ["capture.intervene", "--help"]),
        ("capture.train.__main__", ["capture.train", "--help"]),
        ("routestat.__main__", ["routestat", "capture", "--help"]),
    ],
)
def test_one_line_where_torch_is_missing(module, arguments):
    code = WITHOUT_TORCH.format(module=module, arguments=arguments)
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: capture needs torch: pip install 'routestat[capture]'")
    assert len(shown.stderr.splitlines()) == 1
