"""The texts of token ids, read from a tokenizer's file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TokenTexts:
    """The text of every token id."""

    texts: Mapping[int, str]


def read_token_texts(path: Path) -> TokenTexts:
    """Read a ``tokenizer.json``, or the folder that holds it."""
    raise NotImplementedError
