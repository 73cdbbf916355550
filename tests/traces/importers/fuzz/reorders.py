"""Reordered: records, rows, axes, lines and bytes lie elsewhere, or twice."""

import copy
from typing import Any

import numpy as np

from tests.traces.importers.fuzz.change import ANY, ORDER, PART, Change
from tests.traces.importers.fuzz.spots import LINES, changed_at
from tests.traces.importers.fuzz.trees import read_tree, write_tree


def shuffled(rng, file):
    """Items of a list, or rows of an array, in another order."""

    def shuffle(found):
        value = found.value
        order = rng.permutation(len(value))
        fresh = value[order] if isinstance(value, np.ndarray) else [value[i] for i in order]
        found.parent[found.key] = fresh
        return "shuffled"

    def fits(s):
        several = isinstance(s.value, list) or (isinstance(s.value, np.ndarray) and s.value.ndim > 0)
        return several and len(s.value) > 1

    return changed_at(rng, file, fits, shuffle)


def axes_exchanged(rng, file):
    """Two axes of an array are exchanged."""

    def exchange(found):
        value = np.asarray(found.value)
        a, b = rng.permutation(value.ndim)[:2].tolist()
        fresh = np.ascontiguousarray(np.swapaxes(value, a, b))
        found.parent[found.key] = fresh.tolist() if isinstance(found.value, list) else fresh
        return f"{list(value.shape)} to {list(fresh.shape)}"

    def fits(s):
        if isinstance(s.value, list) and s.value and isinstance(s.value[0], list):
            return len({len(one) if isinstance(one, list) else -1 for one in s.value}) == 1
        return isinstance(s.value, np.ndarray) and s.value.ndim > 1

    return changed_at(rng, file, fits, exchange, PART)


def records_shuffled(rng, file):
    """Records, keys or members in another order: the same documents."""
    tree = read_tree(file) if file.suffix in (".json", ".jsonl", ".npz", ".pt") else None
    if tree is None:
        return None
    fresh = _keys_shuffled(rng, tree)
    if isinstance(fresh, list) and rng.random() < 0.5:
        fresh = [fresh[i] for i in rng.permutation(len(fresh))]
    write_tree(file, fresh)
    return Change(ORDER, "records or keys")


def _keys_shuffled(rng: np.random.Generator, node: Any) -> Any:
    if isinstance(node, dict):
        names = list(node)
        return {names[i]: _keys_shuffled(rng, node[names[i]]) for i in rng.permutation(len(names))}
    return [_keys_shuffled(rng, item) for item in node] if isinstance(node, list) else node


def repeated(rng, file):
    """An item of a list, a row of an array or a line comes twice."""

    def repeat(found):
        if isinstance(found.value, np.ndarray):
            at = int(rng.integers(len(found.value)))
            found.parent[found.key] = np.insert(found.value, at, found.value[at], axis=0)
            return f"row {at} twice"
        found.parent.insert(found.key, copy.deepcopy(found.value))
        return "twice"

    def fits(s):
        return isinstance(s.parent, list) or (
            isinstance(s.value, np.ndarray) and s.value.ndim > 0 and len(s.value) > 0
        )

    return changed_at(rng, file, fits, repeat, PART)


def lines_shuffled(rng, file):
    """Lines in another order."""
    if file.suffix not in LINES:
        return None
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[i] for i in rng.permutation(len(lines))))
    return Change(ANY, "lines")


def joined(rng, file):
    """The file, then itself or a part of itself, in one."""
    content = file.read_bytes()
    at = int(rng.integers(len(content))) if rng.random() < 0.5 else 0
    file.write_bytes(content + content[at:])
    return Change(ANY, f"with itself from byte {at}")


def moved(rng, file):
    """A stretch lies elsewhere."""
    content = file.read_bytes()
    a, b, c = sorted(rng.integers(0, len(content) + 1, 3).tolist())
    file.write_bytes(content[:a] + content[b:c] + content[a:b] + content[c:])
    return Change(ANY, f"{a}, {b}, {c}")
