"""Where a trace lies: a folder of this machine, or a URL that fsspec reads, such as ``s3://bucket/trace``."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routestat.errors import TraceError
from routestat.traces.validation import first_line

#: Packages that fsspec needs for the protocols that traces are most often read by.
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


@dataclass(frozen=True)
class FileStatus:
    """What is known of a file without reading it."""

    st_size: int


@dataclass(frozen=True)
class UrlPath:
    """A folder or file under a URL; has the methods of `pathlib.Path` that reading a trace needs.

    Parameters
    ----------
    url : str
        Without a slash at its end.
    """

    url: str

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    def __truediv__(self, name: str) -> "UrlPath":
        """Return the file of this name in the folder."""
        return UrlPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rsplit("/", 1)[1]

    @property
    def parent(self) -> "UrlPath":
        """The folder that it lies in."""
        return UrlPath(self.url.rsplit("/", 1)[0])

    def resolve(self) -> "UrlPath":
        """Return itself: a URL is absolute."""
        return self

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        return self._kind() is not None

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._kind() == "directory"

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self._kind() == "file"

    def stat(self) -> FileStatus:
        """Return the size of a file."""
        with self._reading() as (system, path):
            return FileStatus(int(system.size(path)))

    def open(self, mode: str = "rb") -> Any:
        """Open a file for reading bytes."""
        with self._reading() as (system, path):
            return system.open(path, mode)

    def read_bytes(self) -> bytes:
        """Return the content of a file."""
        with self._reading() as (system, path):
            return bytes(system.cat_file(path))

    def glob(self, pattern: str) -> Iterator["UrlPath"]:
        """Yield the files that match ``*/NAME``."""
        with self._reading() as (system, path):
            found = system.glob(f"{path}/{pattern}")
        for one in found:
            yield self / "/".join(one.rsplit("/", pattern.count("/") + 1)[1:])

    def _kind(self) -> str | None:
        with self._reading() as (system, path):
            try:
                # What was listed before may have changed since.
                system.invalidate_cache()
                return str(system.info(path)["type"])
            except FileNotFoundError:
                return None

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, str]]:
        """Yield the file system and the path in it; errors of any implementation become one line."""
        # fsspec takes a twentieth of a second to import, and folders of this machine do without it.
        import fsspec  # noqa: PLC0415

        try:
            yield fsspec.core.url_to_fs(self.url)
        except (TraceError, FileNotFoundError):
            raise
        except ImportError as error:
            protocol = self.url.split("://", 1)[0].rsplit("::", 1)[-1]
            package = PACKAGES.get(protocol)
            todo = f"pip install {package}" if package else first_line(error)
            raise TraceError(
                f"{self.url}: {protocol}:// needs a package that is not installed; {todo}"
            ) from None
        # Each implementation has exceptions of its own, many of which are no OSError.
        except Exception as error:
            raise TraceError(f"{self.url}: cannot be read ({first_line(error)})") from None


#: A folder of this machine, or one under a URL.
Location = Path | UrlPath


def locate(path: str | Location) -> Location:
    """Return the location that a path or a URL names."""
    if isinstance(path, Path | UrlPath):
        return path
    return UrlPath(path.rstrip("/")) if "://" in path else Path(path)
