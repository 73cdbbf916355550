"""Retyped: values, arrays and cells of another type; and other forms of the same content."""

import base64
import io
import json

import numpy as np
import pyarrow.parquet as pq

from tests.traces.importers.fuzz.change import PART, SAME, Change
from tests.traces.importers.fuzz.hostile import Boom, npy_of
from tests.traces.importers.fuzz.spots import LINES, changed_at
from tests.traces.importers.fuzz.trees import TEXT, CannotWriteError, read_tree, write_tree


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

    return changed_at(rng, file, lambda s: True, retype)


def array_retyped(rng, file):
    """An array has another type."""
    kinds = ("f8", "f2", "?", "U3", "S2", "c16", "M8[s]", "m8[s]", "u1", "i1", "u8", "O", "V4", "rec")

    def retype(found):
        kind = kinds[int(rng.integers(len(kinds)))]
        value = found.value
        if kind == "rec":
            fresh = np.zeros(value.shape, [("a", "i4"), ("b", "f4")])
        elif kind == "V4":
            fresh = _as_type(value, "i4").view("V4")
        else:
            fresh = _as_type(value, kind)
        found.parent[found.key] = fresh
        return kind

    return changed_at(rng, file, lambda s: isinstance(s.value, np.ndarray), retype)


def _as_type(value: np.ndarray, kind: str) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):
            return value.astype(kind)
    except (ValueError, TypeError) as error:
        raise CannotWriteError(str(error)) from None


def axes_changed(rng, file):
    """An array has more or fewer axes, or none."""

    def change(found):
        value = found.value
        ways = [value[None], value[..., None], value.ravel(), np.asarray(value.ravel()[0]), value[:0]]
        found.parent[found.key] = ways[int(rng.integers(len(ways)))]
        return f"{list(value.shape)} to {list(found.parent[found.key].shape)}"

    return changed_at(
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

    return changed_at(rng, file, fits, change)


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

    return changed_at(rng, file, lambda s: isinstance(s.value, str), change)


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
