"""The files of `reports/benchmarks`, written again after every table so that nothing measured is lost."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.machine import ROOT, describe_machine


def describe_run(command: str) -> list[str]:
    """When and how a run began, and on what."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    revision = f", revision {done.stdout.strip()}" if done.returncode == 0 else ""
    began = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"Run of {began}{revision}: `{command}`.", "", *describe_machine(), ""]


class Report:
    """One section's file.

    Parameters
    ----------
    path : path
    title : str
    about : list of str
        The lines of `describe_run`: the same for all sections of a run.
    """

    def __init__(self, path: Path, title: str, about: list[str]) -> None:
        self._path = path
        self._lines = [f"# {title}", "", *about]

    def add(self, heading: str, words: str, lines: list[str]) -> None:
        """Append a table under its heading, print it, and write the file."""
        new = [f"## {heading}", "", *wrapped(words), "", *lines]
        print("\n" + "\n".join(new), flush=True)
        self._lines += new
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join(self._lines).rstrip() + "\n")


def wrapped(words: str, width: int = 100) -> list[str]:
    """Lines of at most `width` characters."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
