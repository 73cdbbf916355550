"""Six families of damage to a file, each a list of functions that change it in place.

A function takes a generator and the file and returns a `Change`, or None where it has nothing to change.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.traces.importers.fuzz import cuts, flips, renames, reorders, retypes
from tests.traces.importers.fuzz.change import Change
from tests.traces.importers.fuzz.hostile import HOSTILE
from tests.traces.importers.fuzz.trees import CannotWriteError

Mutation = Callable[[np.random.Generator, Path], Change | None]


def damaged(rng: np.random.Generator, family: str, source: Path) -> Change:
    """Damage one file of the source in one way of the family."""
    files = sorted(file for file in source.rglob("*") if file.is_file()) if source.is_dir() else [source]
    for _ in range(100):
        file = files[rng.integers(len(files))]
        mutation = FAMILIES[family][rng.integers(len(FAMILIES[family]))]
        kept = file.read_bytes()
        try:
            change = mutation(rng, file)
        except CannotWriteError:
            change = None
        if change is not None:
            words = f"{mutation.__name__}: {file.name}: {change.words}"[:300]
            return change._replace(words=words, moved_to=change.moved_to or file)
        file.write_bytes(kept)
    # A packed file has no names or types to change.
    return flips.bits_flipped(rng, files[0])._replace(moved_to=files[0])


FAMILIES: dict[str, tuple[Mutation, ...]] = {
    "cut": (
        cuts.truncated,
        cuts.holed,
        cuts.emptied,
        cuts.deleted,
        cuts.line_dropped,
        cuts.part_dropped,
        cuts.shortened,
    ),
    "flipped": (flips.bits_flipped, flips.bytes_replaced, flips.number_changed, flips.letter_changed),
    "retyped": (
        retypes.value_retyped,
        retypes.array_retyped,
        retypes.axes_changed,
        retypes.payload_changed,
        retypes.cells_retyped,
        retypes.widened,
        retypes.rewritten,
        retypes.packed_otherwise,
    ),
    "renamed": (
        renames.key_misspelt,
        renames.keys_exchanged,
        renames.header_misspelt,
        renames.suffixed,
        renames.copied,
    ),
    "reordered": (
        reorders.shuffled,
        reorders.axes_exchanged,
        reorders.records_shuffled,
        reorders.repeated,
        reorders.lines_shuffled,
        reorders.joined,
        reorders.moved,
    ),
    "hostile": HOSTILE,
}
