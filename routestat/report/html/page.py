"""What the pages share: templates, numbers, pictures, the style sheet and the script.

A page needs only its own folder. It is whole without its script, if it has one: the script belongs to the package,
holds nothing of a trace, and is the only one that the page's policy lets run.
"""

import base64
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemBytecodeCache, PackageLoader, StrictUndefined
from markupsafe import Markup

from routestat.progress import Tick
from routestat.report.cautions import Cautions
from routestat.report.families import scheme
from routestat.report.numbers import NONE, number
from routestat.report.records.plain import Record
from routestat.traces.metadata import Router
from routestat.traces.number_ranges import span

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing


@dataclass(frozen=True)
class Picture:
    """A PNG of the report and its size in CSS pixels, or the reason why there is none."""

    file: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""


def draw_all(jobs: "Mapping[str, Callable[[], Drawing]]", folder: Path, tick: Tick) -> dict[str, Picture]:
    """Draw and save every picture of a page, one at a time; where there is nothing to draw, an earlier one goes."""
    # matplotlib takes half a second to import, and only this draws.
    from routestat.report.figures.style import save  # noqa: PLC0415

    folder.mkdir(exist_ok=True)
    pictures = {}
    for done, (name, job) in enumerate(jobs.items()):
        tick("drawing figures", done, len(jobs))
        drawn = job()
        if isinstance(drawn, str):
            pictures[name] = Picture(reason=drawn)
            (folder / f"{name}.png").unlink(missing_ok=True)
        else:
            width, height = save(drawn, folder / f"{name}.png")
            pictures[name] = Picture(f"figures/{name}.png", width, height)
    tick("drawing figures", len(jobs), len(jobs))
    return pictures


def page_environment() -> Environment:
    """Return the templates, with the filters that format numbers; text is escaped."""
    environment = Environment(
        loader=PackageLoader("routestat.report.html", "templates"),
        bytecode_cache=_compiled_templates(),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    environment.globals["Cautions"] = Cautions
    environment.filters |= {"number": number, "num": _data, "span": span, "reasons": _reasons}
    return environment


def _compiled_templates() -> FileSystemBytecodeCache | None:
    """Return the compiled templates, beside the compiled modules; None where those are not kept.

    Compiling takes longer than filling them. A changed template is compiled anew.
    """
    folder = Path(__file__).parent / "__pycache__"
    writable = folder.is_dir() and os.access(folder, os.W_OK) and not sys.dont_write_bytecode
    return FileSystemBytecodeCache(str(folder)) if writable else None


def render(template: str, script: str = "", **content: Any) -> str:
    """Fill a template, with the style sheet and the script, and their hashes for the content security policy.

    Parameters
    ----------
    template : str
    script : str
        The template of a script; none by default.
    **content
        What the template shows.
    """
    environment = page_environment()
    style = environment.get_template("style.css").render(light=scheme(dark=False), dark=scheme(dark=True))
    running = environment.get_template(script).render() if script else ""
    # Style sheet and script are part of the package: nothing of a trace is in them.
    return environment.get_template(template).render(
        style=Markup(style),
        style_hash=_digest(style),
        script=Markup(running),
        script_hash=_digest(running),
        **content,
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def noun_of(routers: Sequence[Router]) -> str:
    """Return the word for a choice: pair if k = 2 everywhere, expert if k = 1, otherwise subset."""
    sizes = {router.top_k for router in routers}
    return "pair" if sizes == {2} else "expert" if sizes == {1} else "subset"


def _data(value: float | int | None, digits: int = 3) -> Markup:
    """Format a number, with the exact value of results.json in the markup."""
    if value is None:
        return Markup(f'<span class="none">{NONE}</span>')
    # Numbers hold nothing to escape.
    return Markup(f'<data value="{value!r}">{number(value, digits)}</data>')


def _reasons(rows: Iterable[Record]) -> list[str]:
    """Return why values of these rows are undefined, each reason once."""
    return list(dict.fromkeys(row["reason"] for row in rows if row.get("reason")))
