"""Every package: its docstring is the catalogue of its files, files are short, private names stay in their file."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("routestat", "capture", "analyses")
FILES = sorted(path for name in PRODUCT for path in (ROOT / name).rglob("*.py"))
PACKAGES = sorted(path.parent for path in FILES if path.name == "__init__.py")
# Names of files, alone on a line, and what they hold on the indented lines below.
ENTRY = re.compile(r"^([a-z][a-z0-9_]*(?:, [a-z][a-z0-9_]*)*)\n {4}\S", re.MULTILINE)
MOST_LINES = 400


def named(docstring):
    """The files that the catalogue in a docstring names, in its order."""
    return [name for entry in ENTRY.findall(docstring) for name in entry.split(", ")]


def held(package):
    """The files and folders of a package, without those that Python itself gives a meaning."""
    files = [path.stem for path in package.glob("*.py") if not path.stem.startswith("__")]
    return files + [path.name for path in package.iterdir() if path.is_dir() and path.name != "__pycache__"]


def relative(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES, ids=relative)
def test_the_docstring_of_a_package_names_each_of_its_files_once(package):
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert sorted(named(docstring or "")) == sorted(held(package))


def test_a_catalogue_is_read_entry_by_entry():
    text = "Title.\n\nfirst, second\n    Words, and more\n    on a second line.\nthird\n    Words.\n"
    text += "\nn : int\n    A number.\n"
    assert named(text) == ["first", "second", "third"]


def test_no_private_name_is_imported_from_another_file():
    found = [
        f"{relative(path)}:{node.lineno} {alias.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if re.match(r"_[^_]", alias.name)
    ]
    assert not found


def test_files_are_short():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name for name, length in lengths.items() if length > MOST_LINES}
