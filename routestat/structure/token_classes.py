"""Classes of tokens by their text: words by script, digits, punctuation, white space.

Every id has one class, so that classes divide the tokens. Letters have a class by their script and by whether a word
begins: after a space, or the mark that tokenizers use for it.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from routestat.traces.token_texts import TokenTexts

DIGITS, PUNCTUATION, SYMBOLS, SPACE = "digits", "punctuation", "symbols", "white space"
SPECIAL, BYTES, MIXED, UNKNOWN = "special tokens", "parts of characters", "mixed", "no text"
# The first word of a letter's name in Unicode, where it is not the script's usual name.
_SCRIPTS = {
    "CJK": "Han", "FULLWIDTH": "Latin", "MODIFIER": "other", "FEMININE": "Latin", "MASCULINE": "Latin",
    "MICRO": "Greek", "MATHEMATICAL": "mathematical", "HALFWIDTH": "Katakana", "IDEOGRAPHIC": "Han",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class TokenClasses:
    """The class of every token id.

    Attributes
    ----------
    names : tuple of str
        Classes, in alphabetical order.
    of_id : int array ``[id]``
        Places in `names`.
    word_start : bool array ``[id]``
        Whether the text begins a word.
    """

    names: tuple[str, ...]
    of_id: NDArray[np.int32]
    word_start: NDArray[np.bool_]


def classify_tokens(known: TokenTexts, n_ids: int = 0) -> TokenClasses:
    """Return the class of every token id.

    Parameters
    ----------
    known : TokenTexts
    n_ids : int
        Ids beyond the vocabulary up to here have no text, and a class of their own.
    """
    found = [_class_of(known, number) for number in range(max(known.size, n_ids))]
    names = tuple(sorted(set(found)))
    place = {name: at for at, name in enumerate(names)}
    starts = [_starts_word(known.texts.get(number, "")) for number in range(len(found))]
    return TokenClasses(
        names, np.array([place[name] for name in found], np.int32), np.array(starts, bool).reshape(-1)
    )


def _class_of(known: TokenTexts, number: int) -> str:
    if number not in known.texts:
        return UNKNOWN
    if number in known.special:
        return SPECIAL
    return BYTES if number in known.partial else class_of_text(known.texts[number])


def class_of_text(text: str) -> str:
    """Return the class of a token's text.

    Words have the script of their letters, and whether they begin with a space: "Latin word start", "Latin word part".
    A text with characters of several kinds is mixed; spaces around others do not count.

    Parameters
    ----------
    text : str
    """
    inner = text.strip()
    if not inner:
        return SPACE if text else UNKNOWN
    kinds = {_kind_of(one) for one in inner} - {"mark"}
    if kinds <= {PUNCTUATION, SYMBOLS} and SYMBOLS in kinds:
        return SYMBOLS
    if len(kinds) != 1:
        return MIXED if kinds else SYMBOLS
    kind = next(iter(kinds))
    if kind in (DIGITS, PUNCTUATION, SYMBOLS, SPACE):
        return kind
    return f"{kind} word start" if _starts_word(text) else f"{kind} word part"


def _starts_word(text: str) -> bool:
    inner = text.lstrip()
    return len(inner) < len(text) and inner[:1].isalpha()


@cache
def _kind_of(one: str) -> str:
    """Return the kind of a character: a script for letters."""
    category = unicodedata.category(one)
    if category[0] == "N":
        return DIGITS
    if category[0] == "P":
        return PUNCTUATION
    if category[0] == "S":
        return SYMBOLS
    if category[0] == "M":
        return "mark"
    if category[0] != "L":
        return SPACE if one.isspace() else SYMBOLS
    first = unicodedata.name(one, "OTHER").split()[0].split("-")[0]
    return _SCRIPTS.get(first, first.capitalize())


def classes_of_rows(classes: TokenClasses, token: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return the class of each row's token, −1 where the id is unknown.

    Parameters
    ----------
    classes : TokenClasses
    token : int array ``[row]``
        Below zero where unknown; ids are those of `classes`.
    """
    return np.where(token >= 0, classes.of_id[np.maximum(token, 0)], -1).astype(np.int32)


def used_classes(
    names: Sequence[str], code: NDArray[np.integer]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the classes that occur, and each row's place among them; −1 stays."""
    seen = np.unique(code[code >= 0])
    place = np.full(len(names) + 1, -1, np.int32)
    place[seen] = np.arange(len(seen))
    return tuple(names[at] for at in seen), place[code]
