"""The files of a table in folders with other files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from routestat.errors import FormatError
from routestat.traces.importers.common.source_files import note_unread_files
from routestat.traces.importers.tables.file_plans import Plan
from routestat.traces.importers.tables.probing import probe
from routestat.traces.importers.tables.sources import expand, suffix_of

# Other files beside tables: notes, settings, summaries.
BESIDE = (".txt", ".json")


def plans_of(sources: Sequence[Path], said: str | None) -> Iterator[Plan]:
    """Yield how to read each file of a table; texts and JSON of a folder that are not tables are skipped.

    Raises
    ------
    FormatError
        For a file that is not a table.
    """
    folders = {source for source in sources if source.is_dir()}
    wrong: FormatError | None = None
    found = False
    for file in expand(sources):
        try:
            plan = probe(file, said)
        except FormatError as error:
            if file.parent not in folders or suffix_of(file) not in BESIDE:
                raise
            wrong = wrong or error
            continue
        found = True
        yield plan
    if wrong is not None and not found:
        raise wrong


def passed_over(sources: Sequence[Path], plans: Sequence[Plan]) -> list[str]:
    """Return a note for each folder on the files that were not read."""
    read = [plan.path for plan in plans]
    return [note for source in sources if source.is_dir() for note in note_unread_files(source, read)]
