"""Six families of damage to a file, each a list of functions that change it in place.

A function takes a generator and the file and returns a `Change`, or None where it has nothing to change.
"""

import base64
import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from tests.traces.importers.fuzz.change import ANY, GONE, NAMED, ORDER, PART, RECORD, SAME, Change
from tests.traces.importers.fuzz.hostile import HOSTILE, Boom, npy_of
from tests.traces.importers.fuzz.trees import TEXT, CannotWriteError, read_tree, write_tree

LINES = (".jsonl", *TEXT)


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
    return bits_flipped(rng, files[0])._replace(moved_to=files[0])


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


def _at(
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
    # The first key names the record: an item of a list, or a member.
    return Change(effect, f"{found.words}: {words}")


# Cut.


def truncated(rng, file):
    """The end is missing."""
    content = file.read_bytes()
    at = int(rng.integers(len(content)))
    file.write_bytes(content[:at])
    return Change(ANY, f"to {at} of {len(content)} bytes")


def holed(rng, file):
    """A stretch inside is missing."""
    content = file.read_bytes()
    start, stop = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    stop = min(stop, start + 1 + int(rng.integers(64)))
    file.write_bytes(content[:start] + content[stop:])
    return Change(ANY, f"bytes {start} to {stop}")


def emptied(rng, file):
    """Nothing is left."""
    file.write_bytes(b"" if rng.random() < 0.5 else b"\n")
    return Change(ANY, "all")


def deleted(rng, file):
    """The file is gone."""
    file.unlink()
    return Change(GONE, "the file")


def line_dropped(rng, file):
    """One line is missing."""
    if file.suffix not in LINES:
        return None
    lines = file.read_text().splitlines(keepends=True)
    at = int(rng.integers(len(lines)))
    file.write_text("".join(lines[:at] + lines[at + 1 :]))
    return Change(RECORD if file.suffix == ".jsonl" else ANY, f"line {at + 1}")


def part_dropped(rng, file):
    """A key, item or member is missing."""

    def drop(found):
        del found.parent[found.key]
        return "dropped"

    return _at(rng, file, lambda s: True, drop, PART)


def shortened(rng, file):
    """An array, list or string lost its end, or all of it."""

    def shorten(found):
        value = found.value
        if isinstance(value, np.ndarray):
            axis = int(rng.integers(value.ndim))
            n = int(rng.integers(value.shape[axis]))
            found.parent[found.key] = np.take(value, range(n), axis=axis)
            return f"axis {axis} to {n}"
        n = int(rng.integers(len(value)))
        found.parent[found.key] = value[:n]
        return f"to {n} of {len(value)}"

    return _at(rng, file, lambda s: _is_long(s.value), shorten, PART)


def _is_long(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.size > 0
    return isinstance(value, list | str) and len(value) > 0


# Flipped.


def bits_flipped(rng, file):
    """Some bits are others."""
    content = bytearray(file.read_bytes())
    places = rng.integers(0, len(content), 1 + int(rng.integers(3)))
    for place in places.tolist():
        content[place] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)
    return Change(ANY, f"at {places.tolist()}")


def bytes_replaced(rng, file):
    """A stretch is noise, zeros or ones."""
    content = bytearray(file.read_bytes())
    n = int(rng.integers(1, 1 + min(len(content), 32)))
    start = int(rng.integers(len(content) - n + 1))
    fill = [rng.bytes(n), bytes(n), b"\xff" * n][int(rng.integers(3))]
    content[start : start + n] = fill
    file.write_bytes(content)
    return Change(ANY, f"{n} at {start}")


def number_changed(rng, file):
    """One number is another: its sign, a digit, a power of two."""

    def change(found):
        value = found.value
        if isinstance(value, np.ndarray):
            place = tuple(int(rng.integers(n)) for n in value.shape)
            low, high = (0, 1) if value.dtype.kind == "b" else (-9, 300)
            if value.dtype.kind == "u":
                low = 0
            before = value[place]
            value[place] = value.dtype.type(int(rng.integers(low, high)) % 120)
            if rng.random() < 0.3 and value.dtype.kind == "i":
                value[place] = -before
            return f"{place} from {before} to {value[place]}"
        fresh = [-value, value + 1, value - 1, value * 10, value ^ (1 << int(rng.integers(40))), 2**31 - 1]
        found.parent[found.key] = fresh[int(rng.integers(len(fresh)))]
        return f"from {value} to {found.parent[found.key]}"

    def fits(s):
        if isinstance(s.value, np.ndarray):
            return s.value.size > 0 and s.value.dtype.kind in "iub"
        return isinstance(s.value, int) and not isinstance(s.value, bool)

    return _at(rng, file, fits, change)


def letter_changed(rng, file):
    """One character of a text is another."""

    def change(found):
        at = int(rng.integers(len(found.value)))
        letter = "-0123456789.xAé/+= \x00"[int(rng.integers(20))]
        found.parent[found.key] = found.value[:at] + letter + found.value[at + 1 :]
        return f"character {at} to {letter!r}"

    return _at(rng, file, lambda s: isinstance(s.value, str) and s.value != "", change)


# Retyped.


def value_retyped(rng, file):
    """One value is of another type."""

    def retype(found):
        value = found.value
        fresh = [
            None,
            True,
            False,
            1.5,
            "x",
            "",
            [],
            {},
            [value],
            -1,
            10**30,
            float("nan"),
            1e300,
            "1",
            [[[]]],
        ]
        if isinstance(value, int | float):
            fresh += [float(value), str(value), [value, value]]
        chosen = fresh[int(rng.integers(len(fresh)))]
        found.parent[found.key] = chosen
        return f"{type(value).__name__} to {str(chosen)[:60]}"

    return _at(rng, file, lambda s: True, retype)


def array_retyped(rng, file):
    """An array has another type."""
    kinds = ("f8", "f2", "?", "U3", "S2", "c16", "M8[s]", "m8[s]", "u1", "i1", "u8", "O", "V4", "rec")

    def retype(found):
        kind = kinds[int(rng.integers(len(kinds)))]
        value = found.value
        if kind == "rec":
            fresh = np.zeros(value.shape, [("a", "i4"), ("b", "f4")])
        elif kind == "V4":
            fresh = value.astype("i4").view("V4")
        else:
            with np.errstate(all="ignore"):
                fresh = value.astype(kind)
        found.parent[found.key] = fresh
        return kind

    return _at(rng, file, lambda s: isinstance(s.value, np.ndarray), retype)


def axes_changed(rng, file):
    """An array has more or fewer axes, or none."""

    def change(found):
        value = found.value
        ways = [value[None], value[..., None], value.ravel(), np.asarray(value.ravel()[0]), value[:0]]
        found.parent[found.key] = ways[int(rng.integers(len(ways)))]
        return f"{list(value.shape)} to {list(found.parent[found.key].shape)}"

    return _at(
        rng,
        file,
        lambda s: isinstance(s.value, np.ndarray) and s.value.size > 0 and s.value.ndim > 0,
        change,
        PART,
    )


def payload_changed(rng, file):
    """What a base64 text holds is another array, cut, or code."""

    def change(found):
        content = base64.b64decode(found.value)
        ways = {
            "cut": content[:-3],
            "longer": content + bytes(5),
            "none": b"",
            "noise": rng.bytes(len(content)),
        }
        if content[:6] == b"\x93NUMPY":
            array = np.load(io.BytesIO(content))
            ways |= {
                "float": npy_of(array.astype(float)),
                "axes": npy_of(np.swapaxes(array, 0, 1)),
                "flat": npy_of(array.ravel()),
                "no rows": npy_of(array[:0]),
                "code": npy_of(np.array([[[Boom()]]], object)),
            }
        way = list(ways)[int(rng.integers(len(ways)))]
        found.parent[found.key] = base64.b64encode(ways[way]).decode()
        return way

    def fits(s):
        return isinstance(s.value, str) and len(s.value) > 60 and len(s.value) % 4 == 0

    return _at(rng, file, fits, change)


def cells_retyped(rng, file):
    """One cell of a table of text is no whole number."""
    if file.suffix not in TEXT:
        return None

    def change(found):
        fresh = [
            "",
            "x",
            "1.5",
            "1.0",
            "NaN",
            "null",
            "-1",
            "1e3",
            " 3",
            "0x3",
            "3;4",
            '"3',
            "9" * 30,
            "٣",
            "[1]",
        ]
        found.parent[found.key] = fresh[int(rng.integers(len(fresh)))]
        return f"to {found.parent[found.key]!r}"

    return _at(rng, file, lambda s: isinstance(s.value, str), change)


def widened(rng, file):
    """Arrays in wider or big-endian integers, in Fortran order, in a compressed archive: the same content."""
    if file.suffix not in (".npz", ".npy"):
        return None
    tree = read_tree(file)
    kind = ["<i8", ">i4", ">i8", "F"][int(rng.integers(4))]
    for name, array in tree.items():
        if array.dtype.kind in "iu":
            tree[name] = np.asfortranarray(array) if kind == "F" else array.astype(kind)
    if file.suffix == ".npz" and rng.random() < 0.5:
        np.savez_compressed(file, **tree)
    else:
        write_tree(file, tree)
    return Change(SAME, kind)


def rewritten(rng, file):
    """The same JSON or table in other words: spaces, escapes, ends of lines, a byte order mark."""
    if file.suffix not in (".json", *LINES):
        return None
    content = file.read_bytes()
    ways = ["crlf", "blank", "bom", "open end"]
    if file.suffix == ".json":
        ways += ["indent", "unescaped"]
    way = ways[int(rng.integers(len(ways)))]
    if way == "crlf":
        content = content.replace(b"\n", b"\r\n")
    elif way == "blank":
        content = content + b"\n\n" if file.suffix not in TEXT else content
    elif way == "bom":
        content = b"\xef\xbb\xbf" + content
    elif way == "open end":
        content = content.rstrip(b"\n")
    else:
        content = json.dumps(json.loads(content), indent=1, ensure_ascii=way == "unescaped").encode()
    file.write_bytes(content)
    return Change(SAME, way)


def packed_otherwise(rng, file):
    """Parquet with another compression and other row groups: the same content."""
    if file.suffix != ".parquet":
        return None
    codec = ["snappy", "gzip", "none", "zstd"][int(rng.integers(4))]
    pq.write_table(pq.read_table(file), file, compression=codec, row_group_size=int(rng.integers(1, 9)))
    return Change(SAME, codec)


# Renamed.


def key_misspelt(rng, file):
    """One name is misspelt."""

    def misspell(found):
        name = str(found.key)
        at = int(rng.integers(len(name)))
        ways = [
            name[:at] + name[at + 1 :],
            name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
            name + "s",
            name.upper(),
            name.replace("_", "-"),
            name.replace("_", ""),
            " " + name,
        ]
        fresh = ways[int(rng.integers(len(ways)))]
        if fresh in found.parent:
            return "not at all"
        items = [(fresh if key == found.key else key, value) for key, value in found.parent.items()]
        found.parent.clear()
        found.parent.update(items)
        return f"to {fresh!r}"

    change = _at(
        rng, file, lambda s: isinstance(s.parent, dict) and isinstance(s.key, str) and s.key, misspell
    )
    return None if change is None else Change(NAMED, change.words)


def keys_exchanged(rng, file):
    """Two names of one object are exchanged."""

    def exchange(found):
        others = [key for key in found.parent if key != found.key]
        if not others:
            return "not at all"
        other = others[int(rng.integers(len(others)))]
        found.parent[found.key], found.parent[other] = found.parent[other], found.parent[found.key]
        return f"with {other}"

    return _at(rng, file, lambda s: isinstance(s.parent, dict), exchange, PART)


def header_misspelt(rng, file):
    """One name of a table of text is misspelt."""
    if file.suffix not in TEXT:
        return None
    rows = read_tree(file)
    at = int(rng.integers(len(rows[0])))
    rows[0][at] = [rows[0][at] + "s", rows[0][at][:-1], rows[0][at].upper(), rows[0][0], ""][
        int(rng.integers(5))
    ]
    write_tree(file, rows)
    return Change(ANY, f"column {at} to {rows[0][at]!r}")


def suffixed(rng, file):
    """The file has the suffix of another format, or none."""
    others = [
        ".json",
        ".jsonl",
        ".npz",
        ".npy",
        ".pt",
        ".parquet",
        ".csv",
        ".bin",
        "",
        ".gguf",
        ".gz",
        ".txt",
    ]
    suffix = others[int(rng.integers(len(others)))]
    return Change(ANY, f"to {suffix!r}", file.rename(file.with_suffix(suffix)))


def copied(rng, file):
    """The file lies there twice, by two names."""
    other = file.with_name(f"{file.stem}-2{file.suffix}")
    other.write_bytes(file.read_bytes())
    return Change(ANY, f"as {other.name}")


# Reordered.


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

    return _at(rng, file, fits, shuffle)


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

    return _at(rng, file, fits, exchange, PART)


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

    return _at(rng, file, fits, repeat, PART)


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


FAMILIES: dict[str, tuple[Mutation, ...]] = {
    "cut": (truncated, holed, emptied, deleted, line_dropped, part_dropped, shortened),
    "flipped": (bits_flipped, bytes_replaced, number_changed, letter_changed),
    "retyped": (
        value_retyped,
        array_retyped,
        axes_changed,
        payload_changed,
        cells_retyped,
        widened,
        rewritten,
        packed_otherwise,
    ),
    "renamed": (key_misspelt, keys_exchanged, header_misspelt, suffixed, copied),
    "reordered": (shuffled, axes_exchanged, records_shuffled, repeated, lines_shuffled, joined, moved),
    "hostile": HOSTILE,
}
