"""Desks asked in this process, of which there are too many calls to start one each, and what they refuse."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

import typer

from routestat.cli import runner as desk


def ask(app: typer.Typer, name: str, *arguments: object, text: str = "") -> subprocess.CompletedProcess:
    """Run a desk as the command `name` would, with `text` on its standard input."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        mock.patch.object(sys, "stdin", io.StringIO(text)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = desk.run(app, name, [str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def complaint(result: subprocess.CompletedProcess) -> str:
    """The one line of a refusal."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stdout + result.stderr
    return lines[0]
