"""What an example of a format is, and the small routing that all of them hold."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.traces.importers.known import chosen

N_EXPERTS, TOP_K, LAYERS = 16, 2, 3


class Written(NamedTuple):
    """A source, and the experts ``[token, layer, slot]`` of every document in it."""

    source: Path
    documents: list[np.ndarray]


@dataclass(frozen=True)
class Example:
    """One way to write a format.

    Parameters
    ----------
    name : str
    format : str
        The row of the printed table.
    write : callable(rng, folder) -> Written
    options : tuple
        Of the command.
    records : int
        Documents that one record of the file holds; 0 if a value of the file may belong to every document.
    out : str
        What the command writes to.
    """

    name: str
    format: str
    write: Callable[[np.random.Generator, Path], Written]
    options: tuple[object, ...] = ("--n-experts", N_EXPERTS)
    records: int = 0
    out: str = "t"


def parts(rng: np.random.Generator, *lengths: int) -> list[np.ndarray]:
    """Documents of so many tokens each."""
    return [chosen(rng, n, LAYERS, N_EXPERTS, TOP_K) for n in lengths]


def ids(rng: np.random.Generator, n: int) -> list[int]:
    """Token ids."""
    return [int(i) for i in rng.integers(10, 30_000, n)]


def save_json(path: Path, records: list[dict]) -> Path:
    """A list, one object, or one a line, by the suffix and number."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        path.write_text(json.dumps(records if len(records) > 1 else records[0]))
    return path
