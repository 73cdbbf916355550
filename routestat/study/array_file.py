"""Plain arrays in an .npz file, each checked against what it should be before it is unpacked; nothing is unpickled."""

import math
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import read_only, whole_counts
from routestat.traces.validation import first_line


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], stored: Collection[str] = ()) -> None:
    """Write an .npz file, array after array, so that it is never in memory as a whole.

    Readers see the old file or the new one, never a part.

    Parameters
    ----------
    path : path
    arrays : mapping of str to array
        Single-precision ones are not compressed: fitted weights have no pattern.
    stored : collection of str
        Names of others that are not compressed, because they are large and deflating them takes seconds.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as handle:
            with ZipFile(handle, "w", ZIP_DEFLATED) as archive:
                for name, array in arrays.items():
                    # Without a date: the same arrays are the same file.
                    member = ZipInfo(f"{name}.npy")
                    # Fitted weights have no pattern: deflating them takes long and saves a tenth.
                    plain = array.dtype == np.float32 or name in stored
                    member.compress_type = ZIP_STORED if plain else ZIP_DEFLATED
                    with archive.open(member, "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class Arrays:
    """The arrays of an .npz file, each checked against what it should be before its content is unpacked."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    @property
    def names(self) -> list[str]:
        """Names of all arrays, sorted."""
        return sorted(name.removesuffix(".npy") for name in self._names)

    def has(self, name: str) -> bool:
        """Return whether there is such an array."""
        return f"{name}.npy" in self._names

    def read(self, name: str, kinds: str, shape: tuple[int | None, ...], most: int = 1 << 31) -> NDArray[Any]:
        """Read an array; None in `shape` is any length, `most` the largest number of cells."""
        if not self.has(name):
            raise RoutestatError(f"{name} is missing")
        with self._archive.open(f"{name}.npy") as member:
            major, _ = np.lib.format.read_magic(member)
            header = (
                np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            )
            found, _, dtype = header(member)
        fits = len(found) == len(shape) and all(
            want in (None, got) for want, got in zip(shape, found, strict=True)
        )
        if not fits:
            wanted = "×".join("any" if want is None else str(want) for want in shape) or "one value"
            raise RoutestatError(f"{name}: expected shape {wanted}, got {found}")
        if dtype.kind not in kinds or dtype.itemsize > (8 if dtype.kind in "iuf" else 256):
            raise RoutestatError(f"{name}: expected {_KINDS[kinds]}, got {dtype}")
        if math.prod(found) > most:
            raise RoutestatError(f"{name}: {found} are more cells than such a file can have")
        with self._archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)

    def whole(self, name: str, shape: tuple[int | None, ...], most: int = 1 << 31) -> NDArray[np.int64]:
        """Read counts of zero or more."""
        return read_only(whole_counts(self.read(name, "iu", shape, most), name).astype(np.int64))

    def reals(
        self, name: str, shape: tuple[int | None, ...], low: float, high: float = np.inf
    ) -> NDArray[Any]:
        """Finite numbers from `low` to `high`."""
        array = self.read(name, "f", shape)
        if not (np.isfinite(array) & (array >= low) & (array <= high)).all():
            raise RoutestatError(f"{name}: expected numbers from {low:g} to {high:g}, got others")
        return read_only(array)


_KINDS = {"iu": "whole numbers", "f": "floats", "U": "a word"}


@contextmanager
def opened_arrays(path: Path, what: str) -> Iterator[Arrays]:
    """Open an .npz file.

    Parameters
    ----------
    path : path
    what : str
        What it should be, such as ``a chain that analyze saved``.

    Raises
    ------
    RoutestatError
        If it is damaged or something else; whatever is raised inside is said to be wrong with the file.
    """
    try:
        with ZipFile(path) as archive:
            yield Arrays(archive)
    except FileNotFoundError:
        raise RoutestatError(f"{path}: no such file") from None
    except RoutestatError as error:
        raise RoutestatError(f"{path}: not {what} ({first_line(error)})") from None
    except MemoryError:
        raise
    # The readers of zip, deflate and npy raise whatever they stumble over in damaged bytes.
    except Exception as error:
        said = first_line(error) or type(error).__name__
        raise RoutestatError(f"{path}: not {what} ({said})") from None
