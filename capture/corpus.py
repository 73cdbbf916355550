"""Documents from text files, lines of JSON and data sets, and their tokens as a model gets them."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import IterableDatasetDict, load_dataset  # type: ignore[import-untyped]

from capture.forward import Segment
from routestat.errors import RoutestatError


@dataclass(frozen=True)
class Document:
    """One text: the sampled unit."""

    number: int
    name: str
    text: str
    domain: str | None = None


def read_texts(paths: Sequence[Path], column: str = "text") -> Iterator[Document]:
    """Yield one document per file, or per line of a ``.jsonl`` file (its field `column`).

    Raises
    ------
    RoutestatError
        If a file is not UTF-8 text, or a line is not JSON with text in that field; names the file and the line.
    """
    number = 0
    for path in paths:
        for name, text, domain in _lines(path, column) if path.suffix == ".jsonl" else _whole_file(path):
            yield Document(number, name, text, domain)
            number += 1


def read_dataset(name: str, column: str, split: str = "", config: str = "") -> Iterator[Document]:
    """Yield the rows of a data set as they are streamed: one document each, from `column`.

    Raises
    ------
    RoutestatError
        If it cannot be read, has several splits of which none is named, or lacks the column.
    """
    token = os.environ.get("HF_TOKEN") or None
    try:
        data = load_dataset(name, config or None, split=split or None, streaming=True, token=token)
        if isinstance(data, IterableDatasetDict):
            if len(data) > 1:
                raise RoutestatError(f"{name} has the splits {', '.join(data)}; name one with --split")
            data = next(iter(data.values()))
        for number, row in enumerate(data):
            if column not in row:
                raise RoutestatError(f"{name} has no column {column!r}; it has {', '.join(row)}")
            yield Document(number, f"{name}[{number}]", _text(row[column], f"{name}[{number}]", column))
    except RoutestatError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        raise RoutestatError(f"{name} cannot be read: {' '.join(str(error).split())[:300]}") from None


def fingerprint(documents: Iterable[Document]) -> str:
    """Return a hash that changes when a name or a text does."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(f"{document.name}\0{len(document.text)}\0{document.text}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Encoder:
    """Turn documents into the token sequences that a model is given.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    chat : bool
        Put each text as a user's message into the model's chat template.
    max_length : int
        Keep the first tokens of each document; 0 keeps all.
    window : int
        Cut documents into windows of this many tokens, each after a start token that is not recorded; 0: whole.
    context : int or None
        The largest number of tokens that the model takes.
    new_tokens : int
        Tokens that will be generated after each document.
    """

    tokenizer: Any
    chat: bool = False
    max_length: int = 0
    window: int = 0
    context: int | None = None
    new_tokens: int = 0

    def encode(self, document: Document) -> list[Segment]:
        """Return the segments of a document in order; none if it is empty.

        Raises
        ------
        RoutestatError
            If a segment is longer than the model's context, or the tokenizer lacks the chat template or the start
            token that is needed.
        """
        tokens = self._tokens(document.text)
        tokens = tokens[: self.max_length] if self.max_length else tokens
        if self.window:
            start = self.tokenizer.bos_token_id
            if start is None:
                raise RoutestatError(
                    "--window puts a start token before each window, and this tokenizer has none"
                )
            segments = [
                Segment(document.number, [start, *tokens[first : first + self.window]], first, 1)
                for first in range(0, len(tokens), self.window)
            ]
        else:
            segments = [Segment(document.number, tokens)] if tokens else []
        longest = max((len(segment.tokens) for segment in segments), default=0) + self.new_tokens
        if self.context is not None and longest > self.context:
            generated = f" with {self.new_tokens} to be generated" if self.new_tokens else ""
            remedy = f"--max-length {max(self.context - self.new_tokens, 1)}" + (
                "" if self.new_tokens else f" or --window {self.context - 1}"
            )
            raise RoutestatError(
                f"{document.name}: {longest} tokens{generated}, the model takes {self.context}; "
                f"cut the documents with {remedy}"
            )
        return segments

    def _tokens(self, text: str) -> list[int]:
        special = not self.window
        if self.chat:
            if not getattr(self.tokenizer, "chat_template", None):
                raise RoutestatError("--chat-template: this tokenizer has no chat template")
            message = [{"role": "user", "content": text}]
            text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
            special = False
        return list(self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


def limited(documents: Iterator[Document], limit: int) -> Iterator[Document]:
    """Return the first `limit` documents; all if 0."""
    return islice(documents, limit) if limit else documents


def _whole_file(path: Path) -> Iterator[tuple[str, str, str | None]]:
    yield str(path), _read(path), None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RoutestatError(f"{path}: not UTF-8 text (byte {error.start}); convert it first") from None


def _lines(path: Path, column: str) -> Iterator[tuple[str, str, str | None]]:
    # Split at newlines only: a text may contain the other line breaks of Unicode.
    for number, line in enumerate(_read(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            text = record[column]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise RoutestatError(
                f"{path}, line {number}: not a JSON object with a field {column!r}"
            ) from None
        domain = record.get("domain")
        text = _text(text, f"{path}, line {number}", column)
        yield f"{path}:{number}", text, None if domain is None else str(domain)


def _text(value: Any, where: str, column: str) -> str:
    """Return the value of a field as text; null is the empty text."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise RoutestatError(
            f"{where}: {column!r} holds a {type(value).__name__}, not text; name another field"
        )
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise RoutestatError(
            f"{where}: {column!r} holds half of a surrogate pair, which is no text"
        ) from None
    return str(value)
