"""Pages generated from the code: they hold all commands and all public names, and their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import routestat
from docs import generated_pages
from docs.generated_pages import COMMANDS, DOCS, ROOT, help_text, linked, package_of, reference_pages, write


def test_the_page_of_commands_names_every_command_and_option():
    names = ("analyze", "predict", "compare", "simulate", "place", "draw", "convert")
    every = {f"routestat.{name}" for name in names}
    assert every <= set(COMMANDS)
    assert {"capture", "capture.intervene", "capture.train"} <= set(COMMANDS)
    shown = subprocess.run(
        [sys.executable, "-m", "routestat.predict", "--help"], capture_output=True, text=True
    )
    options = set(re.findall(r"--[a-z-]+", shown.stdout))
    assert len(options) > 8
    text = help_text("routestat.predict")
    assert options == set(re.findall(r"--[a-z-]+", text))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 88


def test_a_command_that_fails_stops_the_build():
    with pytest.raises(subprocess.CalledProcessError):
        help_text("routestat.no_such_command")


def test_the_reference_holds_every_public_name_once():
    pages = reference_pages()
    text = "\n".join(pages.values())
    for name in routestat.__all__:
        if name != "__version__":
            own = len(re.findall(rf"^\.\. auto\w+:: routestat\.{name}$", text, re.MULTILINE))
            older = text.count(f"`{name}` is an older name of")
            assert own + older == 1, name
    assert text.count(":: routestat.inference.association.independence.Independence\n") == 1
    for page in set(pages) - {"index.md"}:
        assert page.removesuffix(".md") in pages["index.md"].splitlines()


def test_an_object_is_listed_under_its_package():
    assert package_of(routestat.Trace) == "routestat.traces"
    assert package_of(routestat.independence) == "routestat.inference.association"
    assert package_of(routestat.RoutestatError) == "routestat"


@pytest.mark.parametrize(
    ("folder", "link", "page"),
    [
        (ROOT, "](docs/memory.md)", "](/memory.md)"),
        (ROOT, "](docs/importing.md#tables)", "](/importing.md#tables)"),
        (ROOT, "](CONTRIBUTING.md)", "](/contributing.md)"),
        (ROOT / "analyses", "](../reports/analyses/x.md)", "](/generated/analyses/x.md)"),
        (ROOT, "](reports/benchmarks/x.md)", "](/generated/benchmarks/x.md)"),
        (DOCS, "](memory.md)", "](/memory.md)"),
        (DOCS, "](https://example.org/x.md)", "](https://example.org/x.md)"),
        (DOCS, "](../tests/x.md)", "](../tests/x.md)"),
        (DOCS, "](#tables)", "](#tables)"),
    ],
)
def test_links_between_files_become_links_between_pages(folder, link, page):
    assert linked(f"a [b{link} c", folder) == f"a [b{page} c"


def test_types_of_numpy_have_their_usual_names():
    long = (
        "(table: _Buffer | _SupportsArray[dtype[Any]] | _NestedSequence[_SupportsArray[dtype[Any]]] | complex | bytes "
        "| str | _NestedSequence[complex | bytes | str], base: float = 2)"
    )
    signature, returns = generated_pages.shorten_types(
        None, "function", "f", None, None, long, "ndarray[tuple[Any, ...], dtype[float64]]"
    )
    assert signature == "(table: ArrayLike, base: float = 2)"
    assert returns == "NDArray[float64]"


@pytest.mark.parametrize(
    ("name", "signature"), [("routestat.Router", "(layer: int)"), ("routestat.counting.x.Result", "")]
)
def test_results_show_no_constructor(name, signature):
    assert (
        generated_pages.shorten_types(None, "class", name, None, None, "(layer: int)", None)[0] == signature
    )


def test_pages_that_are_left_over_are_removed_and_equal_ones_are_not_written_again(tmp_path):
    folder = tmp_path / "pages"
    write(folder, {"a.md": "1", "b.md": "2"})
    before = (folder / "a.md").stat().st_mtime_ns
    (folder / "old").mkdir()
    write(folder, {"a.md": "1"})
    assert [file.name for file in folder.iterdir()] == ["a.md"]
    assert (folder / "a.md").stat().st_mtime_ns == before


def test_the_build_treats_warnings_as_errors():
    makefile = (Path(ROOT) / "Makefile").read_text()
    assert re.search(r"sphinx -q -n -W", makefile)
    assert re.search(r"^lint:.* docs$", makefile, re.MULTILINE)
