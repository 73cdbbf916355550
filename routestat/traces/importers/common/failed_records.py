"""Records without routing: failed requests, which --skip-failed leaves out and counts.

A client that writes every response also writes those that failed: null, an object with `error`, an empty list
of choices, a choice that was aborted, ``routed_experts`` null. Such a record is not a measurement. It stops
the reading with its file and line; ``--skip-failed`` leaves it out, and a note counts what was left out.

Sources: vllm-project/vllm and the OpenAI API (`error`, ``"object": "error"``); sgl-project/sglang
(``meta_info.finish_reason {"type": "abort"}``); THUDM/slime (``Sample.status``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routestat.errors import FormatError
from routestat.traces.importers.common.json_files import json_object, json_values
from routestat.traces.importers.common.messages import reason

#: Words of engines for a request that did not finish.
ENDED_BADLY = frozenset({"abort", "aborted", "error", "failed", "cancelled", "canceled"})
SHOWN = 3


@dataclass
class FailedRecords:
    """The records left out of `path`; `skip` is whether any may be."""

    path: Path
    skip: bool
    places: list[str] = field(default_factory=list)

    def leave_out(self, where: str, why: str, advice: str = "") -> None:
        """Count a record that holds no routing.

        Raises
        ------
        FormatError
            If nothing may be left out; `advice` gives an alternative.
        """
        if not self.skip:
            also = f"{advice}; " if advice else ""
            raise FormatError(f"{where}: {why}; {also}--skip-failed leaves such records out")
        self.places.append(f"{where.removeprefix(f'{self.path.parent}/')}: {why}")

    def keep(
        self,
        where: str,
        record: Mapping[str, Any],
        choice: Mapping[str, Any] | None,
        lacks: str | None,
        advice: str = "",
    ) -> bool:
        """Return whether a response, or one choice of it, is to be read; otherwise leave it out.

        `lacks` describes the missing routing (None: it is present). What an aborted request routed until then is a
        measurement: it is left out only with --skip-failed.
        """
        why = failure_of(record, choice)
        if lacks is None and not (why and self.skip):
            return True
        self.leave_out(where, why or lacks or "", "" if why else advice)
        return False

    def notes(self, n_read: int) -> list[str]:
        """Return a note on how many records were left out, and the first of them.

        Raises
        ------
        FormatError
            If the file holds nothing else.
        """
        if not self.places:
            return []
        first = "; ".join(self.places[:SHOWN]) + ("; …" if len(self.places) > SHOWN else "")
        if not n_read:
            raise FormatError(f"{self.path}: all {len(self.places)} records are without routing: {first}")
        total = n_read + len(self.places)
        return [f"left out {len(self.places)} of {total} records without routing (--skip-failed): {first}"]


def responses(file: Path, failed: FailedRecords) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a JSON or JSON Lines file with their places; null is a response that never came."""
    for where, value in json_values(file):
        if value is None:
            failed.leave_out(where, "null")
        else:
            yield where, json_object(where, value)


def failure_of(record: Mapping[str, Any], choice: Mapping[str, Any] | None = None) -> str | None:
    """Return why a response, or one choice of it, failed; None if nothing shows that."""
    for one in (record,) if choice is None else (choice, record):
        error, kind = one.get("error"), one.get("object")
        if isinstance(error, str | Mapping) and error:
            text = error.get("message", error) if isinstance(error, Mapping) else error
            return f"the request failed (error: {reason(text)})"
        if isinstance(kind, str) and kind == "error":
            return f"the request failed (error: {reason(one.get('message', ''))})"
        ended = _ending(one)
        if ended in ENDED_BADLY:
            return f"the request did not end ({ended})"
    answers = record.get("choices", record.get("outputs"))
    if choice is None and isinstance(answers, list) and not answers:
        return "no choices"
    return None


def _ending(one: Mapping[str, Any]) -> str | None:
    """Return the word by which a record says how it ended."""
    meta = one.get("meta_info")
    holders = (one, meta) if isinstance(meta, Mapping) else (one,)
    for holder in holders:
        for name in ("finish_reason", "status"):
            said = holder.get(name)
            said = said.get("type") if isinstance(said, Mapping) else said
            if isinstance(said, str):
                return said.lower()
    return None
