"""The files of a table, and their text in blocks of whole lines.

A block knows the line it begins with, so that a message can name the line of a row as an editor counts it: comments,
headers and empty lines included.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from routestat.errors import FormatError
from routestat.traces.importers.common.messages import reason

BLOCK_BYTES = 8 << 20
# A longer line is not text.
LONGEST_LINE = 1 << 26
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".parquet")
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


def expand(sources: Sequence[Path]) -> list[Path]:
    """Return the files of a table: each source is a file, a folder of files, or a pattern such as ``traces/*.csv``.

    Raises
    ------
    FormatError
        If a source is none of these, or one file is named twice.
    """
    files: list[Path] = []
    for source in sources:
        if source.is_dir():
            found = [file for file in source.iterdir() if is_table_name(file) and file.is_file()]
            if not found:
                raise FormatError(f"{source}: no files of a table in this folder ({', '.join(SUFFIXES)})")
        elif source.exists() or not any(sign in str(source) for sign in "*?["):
            if not source.is_file():
                raise FormatError(f"{source}: no such file")
            found = [source]
        else:
            root = Path(source.anchor) if source.is_absolute() else Path()
            pattern = str(source.relative_to(source.anchor)) if source.is_absolute() else str(source)
            try:
                found = [file for file in root.glob(pattern) if file.is_file()]
            except (ValueError, NotImplementedError) as error:
                raise FormatError(f"{source}: not a pattern of files ({reason(error)})") from None
            if not found:
                raise FormatError(f"{source}: no file matches this pattern")
        files += sorted(found, key=_natural)
    twice = next((file for place, file in enumerate(files) if file in files[:place]), None)
    if twice is not None:
        raise FormatError(f"{twice}: named twice")
    return files


def is_table_name(path: Path) -> bool:
    """Return whether a name has the suffix of a table, compressed or not."""
    return suffix_of(path) in SUFFIXES and not path.name.endswith(".documents.parquet")


def suffix_of(path: Path) -> str:
    """Return the suffix of a name in lower case, without ``.gz`` and ``.zst``."""
    names = [suffix.lower() for suffix in path.suffixes]
    if names and names[-1] in (".gz", ".zst"):
        names.pop()
    return names[-1] if names else ""


def stem(path: Path) -> str:
    """Return a file's name without its suffixes."""
    name = path.name
    for suffix in (".gz", ".zst", *SUFFIXES):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) and len(name) > len(suffix) else name
    return name


def _natural(path: Path) -> list[Any]:
    """Return a sort key in which numbers count as numbers: ``prompt_2`` before ``prompt_10``."""
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


@dataclass(frozen=True)
class Block:
    """Whole lines of a file.

    Attributes
    ----------
    text : bytes
        Comments become empty lines; the last line may lack its line break.
    number : int
        Blocks of the file before this one.
    above : int
        Lines of its block before it, where that was cut.
    done : int
        Bytes of the file that were read when this block was complete.
    """

    path: Path
    text: bytes
    number: int
    done: int
    above: int = 0
    quoted: bool = True

    def first_line(self) -> int:
        """Return the number of its first line, from 1; lines are counted only for error messages."""
        blocks = Text(self.path, self.quoted).blocks()
        before = sum(block.text.count(b"\n") for block in islice(blocks, self.number))
        return before + self.above + 1


@dataclass
class Text:
    """A text file, maybe compressed, in blocks of whole lines; lines that begin with ``#`` are kept in `comments`.

    Parameters
    ----------
    quoted : bool
        A line break inside quotes belongs to a value.
    is_row : callable(line), optional
        Whether a line that begins with ``#`` is a row nevertheless.

    Raises
    ------
    FormatError
        While it is read: if it is cut off, or not text.
    """

    path: Path
    quoted: bool = True
    comments: list[str] = field(default_factory=list)
    is_row: Callable[[bytes], bool] | None = None

    def blocks(self, size: int | None = None) -> Iterator[Block]:
        """Yield the blocks in order, without a byte-order mark."""
        rest, number = b"", 0
        self.comments.clear()
        with pa.OSFile(str(self.path)) as raw:
            for place, part in enumerate(self._parts(raw, size or BLOCK_BYTES)):
                if not place:
                    self._refuse_rubbish(part)
                    part = part.removeprefix(b"\xef\xbb\xbf")
                text = rest + part if rest else part
                cut = self._cut(text)
                if not cut and len(text) > LONGEST_LINE:
                    raise FormatError(
                        f"{self.path}: a line of more than {LONGEST_LINE >> 20} MiB; is it text?"
                    )
                whole, rest = text[:cut], text[cut:]
                if whole:
                    yield Block(
                        self.path, self._without_comments(whole), number, raw.tell(), quoted=self.quoted
                    )
                    number += 1
            if rest:
                done = self.path.stat().st_size
                yield Block(self.path, self._without_comments(rest), number, done, quoted=self.quoted)

    def _parts(self, raw: Any, size: int) -> Iterator[bytes]:
        head = raw.read(4)
        raw.seek(0)
        kind = next((name for magic, name in COMPRESSED.items() if head.startswith(magic)), None)
        try:
            stream = raw if kind is None else pa.CompressedInputStream(raw, kind)
            while part := stream.read(size):
                yield part
        except (pa.ArrowException, OSError) as error:
            raise FormatError(
                f"{self.path}: cannot be read to its end ({reason(error)}); was it cut off?"
            ) from None

    def _refuse_rubbish(self, part: bytes) -> None:
        if part.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise FormatError(f"{self.path}: UTF-16 text; save it as UTF-8")
        if b"\r" in part and b"\n" not in part and len(part) < BLOCK_BYTES:
            raise FormatError(f"{self.path}: lines end with carriage returns alone; save it with line feeds")
        if b"\0" in part[:65536]:
            raise FormatError(f"{self.path}: not text: it holds zero bytes")

    def _cut(self, text: bytes) -> int:
        """Return the end of the last whole line, outside quotes, where a line break belongs to the value."""
        cut = text.rfind(b"\n") + 1
        if not self.quoted or b'"' not in text:
            return cut
        inside = text.count(b'"', 0, cut) % 2
        for _ in range(1000):
            if not inside or not cut:
                return cut
            before = text.rfind(b"\n", 0, cut - 1) + 1
            inside ^= text.count(b'"', before, cut) % 2
            cut = before
        # Quotes that never close are plain characters.
        return text.rfind(b"\n") + 1

    def _without_comments(self, text: bytes) -> bytes:
        # Searching one character is many times faster than two, and most tables have none.
        if b"#" not in text or not (text.startswith(b"#") or b"\n#" in text):
            return text
        lines, inside = text.split(b"\n"), False
        for place, line in enumerate(lines):
            if line.startswith(b"#") and not inside and not (self.is_row is not None and self.is_row(line)):
                if len(self.comments) < 10_000:
                    self.comments.append(line.decode("utf-8", "replace").strip())
                lines[place] = b""
            elif self.quoted and b'"' in line:
                inside ^= line.count(b'"') % 2 == 1
        return b"\n".join(lines)


def head_of(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of a file, decompressed; empty if it cannot be read."""
    with suppress(pa.ArrowException, OSError, FormatError), pa.OSFile(str(path)) as raw:
        for part in Text(path)._parts(raw, size):
            return part
    return b""


def facts_of(comments: Sequence[str]) -> dict[str, str]:
    """Return the values in comments of the form ``key=value`` or ``key: value``; contradictory ones are left out."""
    found: dict[str, set[str]] = {}
    for comment in comments:
        text = comment.lstrip("#").strip()
        pairs = re.findall(r"([A-Za-z_][\w.-]*)\s*=\s*(\"[^\"]*\"|\S+)", text)
        if not pairs and (colon := re.fullmatch(r"([A-Za-z_][\w -]{0,40}):\s*(\S.*)", text)):
            pairs = [(colon[1], colon[2])]
        for key, value in pairs:
            found.setdefault(key, set()).add(value.strip('",;'))
    return {key: values.pop() for key, values in found.items() if len(values) == 1}
