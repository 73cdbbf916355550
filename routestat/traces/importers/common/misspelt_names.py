"""Names in a file that are not read but resemble one that is: ``prompt_token_id`` for ``prompt_token_ids``.

An optional field under another name would be ignored silently, and its content lost. Engines
write many fields that are not needed here; only those that resemble a known one are noted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from routestat.traces.validation import shown

# Names this similar differ by a letter or an ending; ``completion_tokens_details`` is not ``completion_tokens``.
ALIKE = 0.85
# Response, choice, holder and payload; deeper fields have other meanings.
DEPTH = 5


def closest_name(name: object, known: Iterable[str]) -> str | None:
    """Return the known name that an unknown one resembles; None if it is known, or resembles none."""
    known = tuple(sorted(known))
    if not isinstance(name, str) or name in known:
        return None
    plain = _plain(name)
    for one in known:
        if _plain(one) == plain or (len(one) > 3 and sorted(one) == sorted(name)):
            return one
    return next(iter(get_close_matches(name.lower(), known, 1, ALIKE)), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


class MisspeltNames:
    """The names of a source's records that resemble a known one, counted.

    Parameters
    ----------
    known : iterable of str
        The names that are read.
    cluster : str, optional
        The field of --cluster, which is read as well.
    """

    def __init__(self, known: Iterable[str], cluster: str | None = None) -> None:
        self._known = frozenset((*known, *(() if cluster is None else (cluster,))))
        self._told: dict[str, str | None] = {}
        self._found: Counter[str] = Counter()

    def look(self, record: Any, depth: int = DEPTH) -> None:
        """Check the names of a record, and of the objects in it."""
        if isinstance(record, Mapping) and depth:
            for name, value in record.items():
                if name not in self._known and isinstance(name, str):
                    self._count(name)
                self.look(value, depth - 1)
        elif isinstance(record, list) and record and isinstance(record[0], Mapping):
            for one in record:
                self.look(one, depth)

    def _count(self, name: str) -> None:
        if name not in self._told:
            self._told[name] = closest_name(name, self._known)
        if self._told[name] is not None:
            self._found[name] += 1

    def notes(self) -> list[str]:
        """Return one sentence for each name."""
        return [
            f"{shown(name)} is not read ({times} times in the file); did you mean {self._told[name]}?"
            for name, times in self._found.items()
        ]
