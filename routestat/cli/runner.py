"""Running a command: exit codes, one line per error, and layers and orders given in words."""

import gc
import io
import sys
from collections.abc import Sequence
from typing import Any

import typer

from routestat.errors import RoutestatError
from routestat.traces.store import Trace

#: Characters of an error message: some quote the content of a file, which may be long.
LONGEST = 600
# Objects until the collection of garbage begins, and collections of each generation until one of the next.
_COLLECTIONS = 10_000, 20, 20
OK, BAD_INPUT, INTERRUPTED = 0, 2, 130
# The base of typer's usage errors: click's own class in older versions of typer, a vendored one in newer.
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def new_app() -> typer.Typer:
    """Return the application of one command; its help joins the lines of a paragraph to the terminal's width."""
    return typer.Typer(add_completion=False, rich_markup_mode="markdown")


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Errors that the user can correct are printed as one line on stderr, with exit code 2.
    """
    if arguments is None:
        # The process is the command's own: what was imported is never garbage, and looking for cycles less often
        # saves a twentieth of a short run.
        gc.freeze()
        gc.set_threshold(*_COLLECTIONS)
    # A terminal that cannot show a character must not end the command.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        result = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False
        )
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except _USAGE_ERROR as error:
        return complain(f"{error.format_message()} (see {name} --help)")
    except (RoutestatError, OSError, MemoryError) as error:
        return complain(str(error) or type(error).__name__)
    # Ctrl-C inside a command comes back from typer as its exit code.
    return complain("interrupted", INTERRUPTED) if result == INTERRUPTED else result or OK


def complain(message: str, code: int = BAD_INPUT) -> int:
    """Print an error as one line on stderr and return the exit code.

    Characters that are not printable, such as control characters in names from a file, are escaped.
    """
    line = " ".join(message.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 103]} … {line[-100:]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"error: {shown}", file=sys.stderr)
    return code


def parse_layers(text: str) -> list[int] | None:
    """Read layer numbers from ``0-31``, ``0,4,8`` or ``0-3,7``; ``all`` gives None.

    Raises
    ------
    RoutestatError
        If the text is none of these.
    """
    if text.strip().lower() == "all":
        return None
    return parse_numbers(text, "--layers", "0-31 or 0,4,8", "all, or ")


def parse_numbers(text: str, option: str, example: str, also: str = "") -> list[int]:
    """Read numbers from ``0-31``, ``0,4,8`` or ``0-3,7``, in ascending order.

    Parameters
    ----------
    text : str
    option, example, also : str
        For the message: the option's name, what it may look like, and what else it may be.

    Raises
    ------
    RoutestatError
        If the text is none of these.
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise RoutestatError(f"{option} wants {also}numbers such as {example}, got {text!r}")
        low, high = int(first), int(last or first)
        if high < low:
            raise RoutestatError(f"{option} {part.strip()} runs backwards; write {high}-{low}")
        if high - low > 100_000:
            raise RoutestatError(f"{option} {part.strip()} is no range of layers of any model")
        found |= set(range(low, high + 1))
    return sorted(found)


def parse_order(text: str) -> int | None:
    """Read the order of a chain from ``0``, ``1`` or ``2``; ``auto`` gives None.

    Raises
    ------
    RoutestatError
        If the text is none of these.
    """
    if text not in ("auto", "0", "1", "2"):
        raise RoutestatError(f"--order is 0, 1, 2 or auto, got {text!r}")
    return None if text == "auto" else int(text)


def parse_names(text: str) -> tuple[str, ...]:
    """Read names separated by commas; none from an empty text."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _is_number(text: str) -> bool:
    # isdigit alone would let ² through, which int() then refuses.
    return text.isascii() and text.isdigit()


def require_tokens(trace: Trace, layers: list[int] | None) -> None:
    """Refuse a trace without tokens or without the wanted layers, before anything is written."""
    trace.routers(layers)
    if not trace.n_counted:
        if trace.n_tokens:
            raise RoutestatError(
                "every token belongs to the template: drop nothing, use --template once or keep"
            )
        raise RoutestatError("the trace holds no tokens: there is nothing to analyse")
