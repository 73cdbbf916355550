"""Pages that are written from the code at build time, so that they cannot disagree with it.

`generated/commands.md` holds the `--help` of every command, `generated/reference/` the public names with the
results they return, `generated/analyses/` the committed results of the analyses.
"""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import routestat

if typing.TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

ROOT = Path(__file__).parents[1]
DOCS = Path(__file__).parent
GENERATED = DOCS / "generated"
# Files of the repository that a page includes.
INCLUDED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "data.md",
    "analyses/README.md": "analyses.md",
}
# Folders of reports whose files have pages.
COMMITTED = ("analyses", "benchmarks")
NUMPY_TYPES = (
    (r"_Buffer \| _SupportsArray\[.*?_NestedSequence\[complex \| bytes \| str\]", "ArrayLike"),
    (r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]", r"NDArray[\1]"),
)
COMMANDS = {
    "routestat.analyze": "report on one trace",
    "routestat.predict": "the most probable next choices",
    "routestat.compare": "compare two traces",
    "routestat.simulate": "caches and prefetching, replayed",
    "routestat.place": "experts on devices, as files that engines load",
    "routestat.draw": "draw a trace from a fitted chain",
    "routestat.convert": "read what another tool recorded",
    "routestat.count": "count a trace, or a part of it, into a file",
    "routestat.merge": "add the counts of parts",
    "routestat.prepare": "compile the loops, once per installation",
    "capture": "run a model and record its routing",
    "capture.intervene": "force a choice and measure what follows",
    "capture.train": "train a small model to record",
}
PACKAGES = {
    "routestat.traces": "Traces: what was observed",
    "routestat.counting": "Counting: one pass over a trace",
    "routestat.inference.base": "Estimates and multiple testing",
    "routestat.inference.smoothing": "Dirichlet posteriors and back-off",
    "routestat.inference.information": "Entropy and information",
    "routestat.inference.association": "Dependence of two layers",
    "routestat.inference.markov": "Markov chains and their order",
    "routestat.inference.two_sample": "Comparing two traces",
    "routestat.inference.sample_size": "Sample size and unseen experts",
    "routestat.structure": "Structure: loads, blocks, paths",
    "routestat.study": "Saved chains",
    "routestat": "Errors and other names",
}


def help_text(module: str) -> str:
    """Return what `python -m MODULE --help` prints, 88 columns wide and without colours."""
    plain = {"COLUMNS": "88", "NO_COLOR": "1", "TERM": "dumb", "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    shown = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        env={**os.environ, **plain, "PYTHONPATH": str(ROOT)},
    )
    return "\n".join(line.rstrip() for line in shown.stdout.strip().splitlines())


def commands_page() -> str:
    """Write every command's help, one section each."""
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(help_text, COMMANDS))
    parts = [
        "# Commands\n\nThe text that `--help` prints. Every command ends with exit code 0 when it is done, 2 on bad "
        "input (one line on standard error) and 130 when it is interrupted. `routestat analyze` is the same as "
        "`python -m routestat.analyze`.\n"
    ]
    for (module, words), text in zip(COMMANDS.items(), texts, strict=True):
        parts.append(f"## `python -m {module}`: {words}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def package_of(value: object) -> str:
    """Find the package under which a public object is listed: the longest one that holds its module."""
    return max((p for p in PACKAGES if f"{value.__module__}.".startswith(f"{p}.")), key=len)


def result_class(function: object) -> type | None:
    """Return the class of this project that a function returns, or None."""
    if not inspect.isfunction(function):
        return None
    kind = typing.get_type_hints(function).get("return")
    return kind if inspect.isclass(kind) and kind.__module__.startswith("routestat.") else None


def reference_pages() -> dict[str, str]:
    """Write one page for each package that holds public names, and their index."""
    public = {name: getattr(routestat, name) for name in routestat.__all__ if name != "__version__"}
    shown = set(public.values())
    pages: dict[str, list[str]] = {}
    for name in sorted(public, key=str.lower):
        value = public[name]
        lines = pages.setdefault(package_of(value), [])
        if value.__name__ != name:  # an older name of the same thing
            lines.append(f"`{name}` is an older name of {{py:obj}}`routestat.{value.__name__}`.\n")
            continue
        lines.append(directive("class" if inspect.isclass(value) else "function", f"routestat.{name}"))
        result = result_class(value)
        if result is not None and result not in shown:
            shown.add(result)
            lines.append(directive("class", f"{result.__module__}.{result.__qualname__}"))
    order = [package for package in PACKAGES if package in pages]
    files = {f"{package}.md": f"# {PACKAGES[package]}\n\n" + "\n".join(pages[package]) for package in order}
    toctree = "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(order) + "\n```\n"
    files["index.md"] = (
        "# Python reference\n\nAll public names of `import routestat as rs`. Functions take plain arrays "
        "(rows = source, columns = target) and return frozen results, which are listed behind the function that "
        "returns them.\n\n" + toctree
    )
    return files


def directive(kind: str, path: str) -> str:
    """Write a numpydoc entry for one object."""
    importlib.import_module(path.rpartition(".")[0])
    members = "\n:members:\n:exclude-members: __new__, __init__" if kind == "class" else ""
    body = "\n   ".join(members.strip().splitlines())
    return f"```{{eval-rst}}\n.. auto{kind}:: {path}\n   {body}\n```\n"


def write(folder: Path, pages: dict[str, str]) -> None:
    """Write pages that changed, so that an unchanged one is not built again; remove what is left over."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text() != text:
            file.write_text(text)
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name not in pages:
            file.unlink()


def committed_pages(kind: str) -> dict[str, str]:
    """Write a page for every committed result of a kind, which is the name of its folder in reports."""
    results = sorted((ROOT / "reports" / kind).glob("*.md"))
    return {
        file.name: f"```{{include}} ../../../reports/{kind}/{file.name}\n:relative-images:\n```\n"
        for file in results
    }


def page_of(path: Path) -> str | None:
    """Return the page that shows a Markdown file of the repository, as a path from the folder of the documentation."""
    inside = path.relative_to(ROOT)
    if str(inside) in INCLUDED:
        return f"/{INCLUDED[str(inside)]}"
    if inside.parts[:1] == ("reports",) and inside.parts[1] in COMMITTED:
        return f"/generated/{inside.parts[1]}/{path.name}"
    return f"/{path.relative_to(DOCS)}" if path.is_relative_to(DOCS) else None


def linked(text: str, folder: Path) -> str:
    """Replace links to Markdown files, which are relative to `folder`, by links to pages."""

    def link(found: re.Match[str]) -> str:
        target = (folder / found["file"]).resolve()
        page = page_of(target) if target.is_relative_to(ROOT) else None
        return f"]({page}{found['anchor'] or ''})" if page else found[0]

    return re.sub(r"\]\((?P<file>[^)#:\s]+\.md)(?P<anchor>#[^)]*)?\)", link, text)


def rewrite_page(app: "Sphinx", docname: str, content: list[str]) -> None:
    """Turn links of a page that lead out of the documentation into links to pages."""
    content[0] = linked(content[0], (DOCS / docname).parent)


def rewrite_included(app: "Sphinx", path: Path, parent: str, content: list[str]) -> None:
    """Do the same for a file from elsewhere in the repository that a page includes."""
    content[0] = linked(content[0], (DOCS / path).resolve().parent)


def generate(app: "Sphinx", config: "Config") -> None:
    """Write all pages before Sphinx looks for its sources."""
    GENERATED.mkdir(exist_ok=True)
    write(GENERATED / "commands", {"index.md": commands_page()})
    write(GENERATED / "reference", reference_pages())
    for kind in COMMITTED:
        write(GENERATED / kind, committed_pages(kind))


def shorten_types(
    app: "Sphinx",
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write NumPy's types in a signature by their usual names; results show no constructor, which nobody calls."""
    if what == "class" and name.count(".") > 1:
        return "", None

    def short(text: str | None) -> str | None:
        if text is None:
            return None
        for pattern, words in NUMPY_TYPES:
            text = re.sub(pattern, words, text)
        return text

    return short(signature), short(returns)


def setup(app: "Sphinx") -> dict[str, bool]:
    """Connect the generation to the events of Sphinx."""
    app.connect("config-inited", generate)
    app.connect("source-read", rewrite_page)
    app.connect("include-read", rewrite_included)
    app.connect("autodoc-process-signature", shorten_types)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
