"""Commands run in this process, which is faster than starting one for each, and the errors they report."""

import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

import typer

from routestat.cli.runner import run


def ask(app: typer.Typer, name: str, *arguments: object, text: str = "") -> subprocess.CompletedProcess:
    """Run the command `name` in this process, with `text` on its standard input."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        mock.patch.object(sys, "stdin", io.StringIO(text)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run(app, name, [str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def complaint(result: subprocess.CompletedProcess) -> str:
    """Return the one line of an error message."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.stdout + result.stderr
    return lines[0]
