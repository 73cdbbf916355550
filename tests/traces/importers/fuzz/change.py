"""What a mutation did to a file, and what may have become of the documents in it."""

from pathlib import Path
from typing import NamedTuple

#: The content is what it was, and so must the trace be.
SAME = "same"
#: The same documents, perhaps in another order.
ORDER = "order"
#: One record of the file was changed: the documents of the others must be as they were.
RECORD = "record"
#: One name was misspelt: what is not read any more must be reported, or refused.
NAMED = "named"
#: A file of several, or the end of a table, is not there: layers may be fewer.
GONE = "gone"
#: A part is not there, or there twice. As `RECORD` where records hold documents of their own; elsewhere the file may
#: be a valid one of other layers.
PART = "part"
#: Anything may have become of it.
ANY = "any"


class Change(NamedTuple):
    """What was done: its effect, in words, and where the file lies now if it was renamed."""

    effect: str
    words: str
    moved_to: Path | None = None
