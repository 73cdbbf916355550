"""Parts of the terminal summaries: tables, titles and lines; text of a trace is never read as markup."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


def new_console() -> Console:
    """Return a console on stdout; 80 columns when piped."""
    return Console(highlight=False)


def one_line(text: str) -> str:
    """Return text of a trace without line breaks and control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def why_undefined(reasons: Iterable[str | None]) -> list[str]:
    """Return the lines that say why values are undefined, each reason once."""
    return [f"–: {reason}" for reason in dict.fromkeys(reasons) if reason]


def new_table(first: str, *numbers: str) -> Table:
    """Return a table with a column of names and columns of numbers."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def print_titled(console: Console, title: str, body: Table | Text, below: Sequence[str] = ()) -> None:
    """Print a title, a table or text, and lines below it."""
    # rich would fold a table's own title to the width of the table.
    console.print()
    console.print(Text(title, style="bold"))
    console.print(body)
    for line in below:
        console.print(Text(line, style="dim"))


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print the notes on a trace."""
    for note in notes:
        console.print(Text("note: " + one_line(note), style="yellow"))


def print_report_path(console: Console, page: Path) -> None:
    """Print where the report is."""
    console.print()
    # A path on two lines could not be copied.
    console.print(Text.assemble(("Report ", "bold"), str(page)), soft_wrap=True)
