"""Predictions line by line: ``LAYER HISTORY`` on standard input, a line of JSON for each on standard output."""

import json
import os
import sys
from collections.abc import Callable
from functools import lru_cache

from routestat.cli.choices import Given, Record
from routestat.errors import RoutestatError

#: Predictions that a stream keeps for repeated queries.
KEPT = 1 << 14
#: Answers one query: the layer, the history, and what else is known.
Answer = Callable[[int, str, Given], tuple[Record, str]]


def answer_stream(answer: Answer) -> None:
    """Write one JSON line for each line of standard input, as soon as it is read.

    Raises
    ------
    RoutestatError
        At the end, if lines had no answer.
    """
    kept = lru_cache(KEPT)(lambda query: _line(answer, query))
    bad = number = 0
    try:
        for number, text in enumerate(sys.stdin, 1):
            query = text.strip()
            if not query or query.startswith("#"):
                continue
            try:
                said = kept(query)
            except RoutestatError as error:
                bad += 1
                said = json.dumps({"line": number, "error": " ".join(str(error).split())})
            print(said, flush=True)
    except BrokenPipeError:
        # The reader has closed the pipe; what is left in the buffer must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if bad:
        raise RoutestatError(f"{bad} of {number} lines had no answer; each states the reason")


def _line(answer: Answer, query: str) -> str:
    return json.dumps(answer(*parse_line(query))[0], allow_nan=False)


def parse_line(text: str) -> tuple[int, str, Given]:
    """Read a line of a stream: LAYER HISTORY, then ``previous=…``, ``token=…`` and ``previous-token=…``.

    Raises
    ------
    RoutestatError
        If it is something else.
    """
    # Experts may be separated by blanks too.
    words = text.split()
    plain = [word for word in words if "=" not in word]
    named = dict(word.split("=", 1) for word in words if "=" in word)
    wrong = set(named) - {"previous", "token", "previous-token"}
    try:
        layer = int(plain[0])
        ids = {name: int(named[name]) for name in ("token", "previous-token") if name in named}
    except (ValueError, IndexError):
        wrong.add("")
    if wrong or len(named) < len(words) - len(plain):
        raise RoutestatError(
            "a line is LAYER HISTORY, such as 5 2,3/1,7, and may go on with previous=1,7/- token=15 previous-token=3; "
            f"got {text[:60]!r}"
        )
    history = text.split(None, 1)[1] if len(words) > 1 else ""
    if named:
        history = " ".join(plain[1:])
    return layer, history, Given(named.get("previous"), ids.get("token"), ids.get("previous-token"))
