"""Tables of numbers as pictures inside the page: one pixel per cell, in a palette, as PNG in a data address."""

import base64
import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

#: Every sixteenth colour of viridis (Smith & van der Walt, CC0), from the smallest value to the largest.
STOPS = (
    "440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c",
    "1fa088", "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725",
)  # fmt: skip
UNDEFINED = "d9d9d9"
# More shades cannot be distinguished, and fewer make smaller files.
_SHADES = 63


def cell_picture(values: NDArray[np.float64], largest: float) -> str:
    """Return a table as the data address of a PNG: shades by the square root of the value, grey where it is NaN.

    Parameters
    ----------
    values : float array ``[row, column]``
        From 0 to `largest`.
    largest : float
        The value of the last shade.
    """
    share = np.sqrt(np.clip(values / largest, 0, 1)) if largest > 0 else 0 * values
    shades = np.where(np.isnan(share), 0, 1 + np.rint(np.nan_to_num(share) * (_SHADES - 1))).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(_png(shades)).decode()


@cache
def colour_key() -> str:
    """Return all shades from bottom to top as the data address of a PNG."""
    return cell_picture(np.linspace(1.0, 0.0, _SHADES)[:, None] ** 2, 1.0)


def _palette() -> bytes:
    """Grey, then the shades, three bytes each."""
    stops = np.array([list(bytes.fromhex(stop)) for stop in STOPS], dtype=np.float64)
    places = np.linspace(0, len(STOPS) - 1, _SHADES)
    shades = np.stack([np.interp(places, np.arange(len(STOPS)), stops[:, part]) for part in range(3)], axis=1)
    return bytes.fromhex(UNDEFINED) + np.rint(shades).astype(np.uint8).tobytes()


_PALETTE = _palette()


def _png(shades: NDArray[np.uint8]) -> bytes:
    """Return a PNG of indices into the palette ``[row, column]``."""
    height, width = shades.shape
    # Every row begins with a byte that says it is not filtered: neighbours of a cell say little about it.
    rows = np.zeros((height, width + 1), dtype=np.uint8)
    rows[:, 1:] = shades
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", _PALETTE),
        (b"IDAT", _deflated(rows.tobytes())),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, parts))


def _deflated(content: bytes) -> bytes:
    """Return the shorter of two quick ways: full tables have no repetitions to look for, sparse ones little else."""
    found = []
    for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY):
        pack = zlib.compressobj(level=1, strategy=strategy)
        found.append(pack.compress(content) + pack.flush())
    return min(found, key=len)


def _chunk(part: tuple[bytes, bytes]) -> bytes:
    kind, content = part
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
