"""Prose, docstrings, comments and messages use the terms of the field; names of variables are not read."""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("routestat", "capture", "analyses", "docs", "README.md", "CONTRIBUTING.md")

#: What is not written, and what is written instead.
AVOIDED = {
    r"laws?": "distribution, probabilities",
    r"fore(?:see\w*|saw|sight|tell\w*|told)": "predict",
    r"tell(?:s|ing)?|told|untold": "share with, predict, report, distinguish",
    r"ladders?": "nested contexts",
    r"desks?": "command",
    r"rooms?": "package, memory, space",
    r"dealt": "assigned, permuted, exchanged",
    r"untraded|trad(?:es?|ed|ing)": "exchange",
    r"ask(?:s|ed|ing)?(?: for| of)?": "test, need, request",
    r"put into words": "describe",
    r"says? of": "report, state",
    r"stands? in": "is in, replaces",
    r"what comes": "what follows",
    r"nothing is known": "no data",
    r"nothing to find": "no effect",
    r"framed|dress(?:ed)?|manners|lessons?|exams?": "the plain word",
    r"wanted(?=[^;]*(?:, |; )got\b)": "expected X, got Y; do Z",
}

#: Where one of them is right: the file and the word.
ALLOWED = {
    ("routestat/__init__.py", "foresee"): "an earlier public name that still works",
    ("routestat/traces/synthetic/stores.py", "law"): "a key in the metadata of stored traces",
    ("routestat/inference/smoothing/held_out.py", "ladders"): "an earlier name of a parameter that still works",
}

_PATTERNS = {re.compile(rf"\b(?:{words})\b", re.IGNORECASE): instead for words, instead in AVOIDED.items()}
_FIELD = re.compile(r"\{[^{}]*\}")
_F_STRING = getattr(tokenize, "FSTRING_MIDDLE", -1)  # Python 3.12 splits f-strings


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines of text: of a Python file those of its strings and comments."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(content.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT, _F_STRING):
            text = token.string
            if text[:1] in "fF":
                text = _FIELD.sub("", text)
            yield from enumerate(text.split("\n"), token.start[0])


def old_words(path: Path, name: str) -> list[str]:
    """List the lines of a file that use a word to be avoided."""
    return [
        f"{name}:{number}: {found.group()!r}; write {instead}"
        for number, line in prose_of(path)
        for pattern, instead in _PATTERNS.items()
        for found in pattern.finditer(line)
        if (name, found.group().lower()) not in ALLOWED
    ]


def names_of_files() -> list[str]:
    """Name the files that git tracks; without a repository, those that are there."""
    if not (ROOT / ".git").exists():
        found = [
            path
            for place in PLACES
            for path in ((ROOT / place).rglob("*") if "." not in place else [ROOT / place])
        ]
        return [path.relative_to(ROOT).as_posix() for path in found if path.is_file()]
    listed = subprocess.run(
        ["git", "ls-files", "-z", *PLACES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def test_prose_uses_the_terms_of_the_field() -> None:
    names = [name for name in names_of_files() if name.endswith((".py", ".md", ".html"))]
    assert len(names) > 300
    found = [line for name in names for line in old_words(ROOT / name, name)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.md", "The distribution\nand its laws\n", [2]),
        ("a.py", '"""The law of a row."""\nlaw = 1  # foretold\n', [1, 2]),
        ("a.py", 'text = f"{law} of it"\nby_law, lawful = 1, "lawful"\n', []),
        ("a.py", 'raise ValueError(f"x: wanted {n} rows, got {m}")\n"""The wanted rows."""\n', [1]),
        ("a.html", "<p>what it TELLS</p>", [1]),
    ],
)
def test_words_are_found_in_prose_alone(tmp_path: Path, name: str, content: str, lines: list[int]) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert [int(line.split(":")[1]) for line in old_words(tmp_path / name, name)] == lines
