"""Requests of serving engines: one document each, without a row for the last token."""

from collections.abc import Sequence
from pathlib import Path

from routestat.traces.importers.common.assembly import ImportedTrace
from routestat.traces.importers.common.documents import SourceDocument, join_documents
from routestat.traces.importers.common.failed_records import FailedRecords
from routestat.traces.importers.common.misspelt_names import MisspeltNames
from routestat.traces.importers.common.options import ImportOptions
from routestat.traces.importers.common.source_files import note_unread_files

LAST_TOKEN = "never forwarded by the engine: it has no row; see unrouted_tokens of the documents"


def join_requests(
    path: Path,
    found: Sequence[SourceDocument],
    options: ImportOptions,
    engine: str,
    failed: FailedRecords,
    misspelt: MisspeltNames,
    files: Sequence[Path],
) -> ImportedTrace:
    """Join the requests of a serving engine, with notes on failed records, misspelt names and unread files.

    Parameters
    ----------
    path : path
        The file or folder.
    found : sequence of SourceDocument
    options : ImportOptions
    engine : str
    failed : FailedRecords
    misspelt : MisspeltNames
    files : sequence of path
        The files that were read.

    Raises
    ------
    FormatError
        As `join_documents`.
    """
    return join_documents(
        path,
        found,
        options,
        notes=[*failed.notes(len(found)), *misspelt.notes(), *note_unread_files(path, files)],
        engine=engine,
        extra={"last_token": LAST_TOKEN},
    )
