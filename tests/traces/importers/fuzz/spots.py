"""One random place of a file's tree, and a file changed there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.traces.importers.fuzz.change import PART, RECORD, Change
from tests.traces.importers.fuzz.trees import TEXT, read_tree, write_tree

#: Kinds of files with a record a line.
LINES = (".jsonl", *TEXT)


class Spot(NamedTuple):
    """A place in a tree."""

    parent: Any
    key: Any
    value: Any
    path: tuple[Any, ...]

    @property
    def words(self) -> str:
        """Its path."""
        return ".".join(map(str, self.path))


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list) else []


def spot(rng: np.random.Generator, tree: Any, fits: Callable[[Spot], bool] = lambda _: True) -> Spot | None:
    """A random place in a tree that fits; each level is as likely to be the last."""
    for _ in range(60):
        parent, key, node, path = None, None, tree, ()
        while (children := _children(node)) and (not path or rng.random() < 0.75):
            parent = node
            key, node = children[rng.integers(len(children))]
            path = (*path, key)
        found = Spot(parent, key, node, path)
        if path and fits(found):
            return found
    return None


def changed_at(
    rng: np.random.Generator,
    file: Path,
    fits: Callable[[Spot], bool],
    change: Callable[[Spot], Any],
    effect: str = RECORD,
) -> Change | None:
    """Change one place of the file's tree."""
    tree = read_tree(file)
    found = None if tree is None else spot(rng, tree, fits)
    if found is None:
        return None
    words = change(found)
    write_tree(file, tree)
    # By this array a file says what its layers are called: others make a valid file of others.
    effect = PART if found.key == "layers" else effect
    return Change(effect, f"{found.words}: {words}")
