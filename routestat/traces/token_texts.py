"""The texts of token ids, read from a tokenizer's file; nothing of it is executed.

A ``tokenizer.json`` lists the piece of every id. Pieces are stored in one of a few ways: bytes as printable characters
(GPT-2, Llama 3, Qwen), spaces as ``▁`` (SentencePiece: Llama 2, Mixtral, Gemma), continuations after ``##`` (BERT). The
file says which, and undoing it needs no library.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError

FILE = "tokenizer.json"
#: A vocabulary this many times as large as the ids in use, in a trace of so many tokens, is doubtful.
DOUBTFUL_RATIO, DOUBTFUL_TOKENS = 4, 2_000
#: Ids above are no ids of a tokenizer.
MOST_IDS = 1 << 24
# What SentencePiece writes for a space.
METASPACE = "\u2581"
# A byte that no piece of text covers.
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class TokenTexts:
    """The text of every token id.

    Attributes
    ----------
    texts : mapping of int to str
        By id. A piece that is a part of a character has its bytes, such as ``<E2>`` or ``<E2 80>``.
    special : frozenset of int
        Ids that mark something rather than stand for text, such as ``<s>``.
    partial : frozenset of int
        Ids of pieces that hold parts of characters.
    source : str
        The file that they were read from.
    """

    texts: Mapping[int, str]
    special: frozenset[int] = frozenset()
    partial: frozenset[int] = frozenset()
    source: str = ""

    @property
    def size(self) -> int:
        """One more than the largest id."""
        return max(self.texts, default=-1) + 1

    def text(self, token: int) -> str:
        """Return the text of an id; ``<id 5>`` for one without."""
        return self.texts.get(token, f"<id {token}>")


def read_token_texts(path: Path) -> TokenTexts:
    """Read a ``tokenizer.json``, or the folder that holds it.

    Parameters
    ----------
    path : path

    Raises
    ------
    RoutestatError
        If there is no such file, or it lists no pieces.
    """
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise RoutestatError(_absent(path))
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise RoutestatError(
            f"{file}: expected the {FILE} of a model, got a file that is no JSON; give the file or its folder"
        ) from error
    return _texts_of(content, str(file))


def require_fitting(known: TokenTexts, token: NDArray[np.integer], what: str = "the trace") -> str:
    """Check that texts are there for the ids of a trace; return a note where they fit badly, else nothing.

    Parameters
    ----------
    known : TokenTexts
    token : int array ``[row]``
        Ids; below zero where unknown.
    what : str
        Where the ids are from.

    Raises
    ------
    RoutestatError
        If ids lie beyond the vocabulary, or no id is known.
    """
    used = np.unique(token[token >= 0]) if len(token) else token
    if not len(used):
        raise RoutestatError(
            f"{known.source}: expected a trace with token ids, but {what} has none; leave --tokenizer out"
        )
    if (largest := int(used[-1])) >= known.size:
        raise RoutestatError(
            f"{known.source}: expected the tokenizer of the model, got one of {known.size:,} ids, but {what} has "
            f"id {largest:,}; give the tokenizer that the trace was recorded with"
        )
    without = [int(one) for one in used if int(one) not in known.texts]
    notes = []
    if without:
        share = np.isin(token, without).sum() / (token >= 0).sum()
        notes.append(f"{len(without):,} ids without a text, {share:.1%} of the tokens")
    if largest * DOUBTFUL_RATIO < known.size and int((token >= 0).sum()) >= DOUBTFUL_TOKENS:
        notes.append(
            f"{known.size:,} ids of which {what} uses none above {largest:,}: is it the tokenizer of this model?"
        )
    return f"The tokenizer {known.source} has " + ", and ".join(notes) if notes else ""


def shown_text(text: str) -> str:
    """Return a token's text in one line: spaces as ␣, line ends and tabs as ⏎ and ⇥, other controls as numbers."""
    named = {" ": "␣", "\n": "⏎", "\t": "⇥"}
    return "".join(named.get(one, one if one.isprintable() else f"<U+{ord(one):04X}>") for one in text)


def _absent(path: Path) -> str:
    if not path.exists():
        return f"{path}: expected a {FILE}, or the folder of a model that has one, got nothing there"
    there = sorted(one.name for one in path.iterdir()) if path.is_dir() else []
    other = [name for name in there if name.endswith((".model", ".tiktoken", "vocab.json", "vocab.txt"))]
    if other:
        return (
            f"{path}: expected a {FILE}, got only {other[0]}; "
            "AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER) writes one"
        )
    return f"{path}: expected a folder with a {FILE}, got one without; give the file itself"


def _texts_of(content: Any, source: str) -> TokenTexts:
    model = content.get("model") if isinstance(content, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    pieces = dict(_pieces(vocabulary))
    if not pieces:
        raise RoutestatError(
            f"{source}: expected the {FILE} of a model, got JSON without model.vocab; give the file or its folder"
        )
    parts = list(_parts_of(content))
    kinds = {part.get("type") for part in parts}
    byte_level = "ByteLevel" in kinds
    spaces = "Metaspace" in kinds or any(
        METASPACE in str(part.get("pattern", "")) or part.get("content") == METASPACE for part in parts
    )
    word_pieces = next(
        (str(part.get("prefix", "##")) for part in parts if part.get("type") == "WordPiece"), None
    )
    texts, partial = {}, set()
    for number, piece in pieces.items():
        raw = _bytes_of(piece, byte_level, spaces)
        if word_pieces is not None:
            raw = (piece[len(word_pieces) :] if piece.startswith(word_pieces) else " " + piece).encode()
        texts[number], whole = _decoded(raw)
        if not whole:
            partial.add(number)
    added = content.get("added_tokens")
    special = set()
    for entry in added if isinstance(added, list) else ():
        named, text = (entry.get("id"), entry.get("content")) if isinstance(entry, dict) else (None, None)
        if isinstance(named, int) and isinstance(text, str) and 0 <= named < MOST_IDS:
            texts[named] = text
            partial.discard(named)
            if entry.get("special"):
                special.add(named)
    return TokenTexts(MappingProxyType(texts), frozenset(special), frozenset(partial), source)


def _pieces(vocabulary: Any) -> Iterator[tuple[int, str]]:
    """Yield ids and pieces of a vocabulary, which is a mapping, or a list of pieces with scores."""
    if isinstance(vocabulary, dict):
        for piece, number in vocabulary.items():
            if isinstance(number, int) and 0 <= number < MOST_IDS:
                yield number, piece
    elif isinstance(vocabulary, list):
        for number, entry in enumerate(vocabulary):
            if isinstance(entry, list) and entry and isinstance(entry[0], str):
                yield number, entry[0]


def _parts_of(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every step of the normalizer, the pre-tokenizer and the decoder, also those inside sequences."""
    waiting: list[Any] = [content.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")]
    waiting.append({"type": (content.get("model") or {}).get("type")})
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            for name in ("normalizers", "pretokenizers", "decoders"):
                if isinstance(part.get(name), list):
                    waiting.extend(part[name])


def _bytes_of(piece: str, byte_level: bool, spaces: bool) -> bytes:
    if byte_level:
        alphabet = _alphabet()
        # What is no byte in print, such as an added word, stands for itself.
        return b"".join(
            bytes([alphabet[one]]) if one in alphabet else one.encode("utf-8", "replace") for one in piece
        )
    if byte := _BYTE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    return (piece.replace(METASPACE, " ") if spaces else piece).encode("utf-8", "replace")


def _decoded(raw: bytes) -> tuple[str, bool]:
    """Return the text of bytes and whether it is whole; bytes that are parts of characters are shown as such."""
    marked = raw.decode("utf-8", "surrogateescape")
    found, waiting, whole = "", [], True
    for one in marked + "\0":
        if 0xDC80 <= ord(one) <= 0xDCFF:
            waiting.append(f"{ord(one) - 0xDC00:02X}")
            whole = False
            continue
        if waiting:
            found, waiting = f"{found}<{' '.join(waiting)}>", []
        found += one
    return found[:-1], whole


@cache
def _alphabet() -> Mapping[str, int]:
    """Return the bytes that byte-level pieces write as printable characters, by character (Radford et al. 2019)."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
