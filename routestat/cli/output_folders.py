"""Folders that commands write to: checked before the work, and complete or not there after it."""

import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from routestat.errors import RoutestatError
from routestat.traces.manifest import MANIFEST

try:
    import fcntl
except ImportError:  # Not on Windows, where folders are neither locked nor removed.
    fcntl = None  # type: ignore[assignment]

#: The file in a folder that is being written; the process that writes it holds a lock on it.
LOCK = ".being-written"


def keep_traces_apart(folder: Path) -> None:
    """Refuse to write a report into a trace."""
    if (folder / MANIFEST).exists():
        raise RoutestatError(f"--out {folder} holds a trace; name another folder")


def named_folder(command: str, *names: str) -> Path:
    """Return ``reports/COMMAND-NAME…`` without characters that folders cannot have."""
    return Path("reports") / re.sub(r"[^\w.-]+", "_", "-".join((command, *names)))


def check_out(folder: Path) -> Path:
    """Make the output folder, or raise an error, before the work whose result it is for."""
    if folder.exists() and not folder.is_dir():
        raise RoutestatError(f"--out {folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise RoutestatError(f"--out {folder}: no permission to write there")
    return folder


@contextmanager
def checked_out(folder: Path) -> Iterator[Path]:
    """Make the output folder as `check_out` does; an error before anything is written leaves no empty folders."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield check_out(folder)
    except BaseException:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        raise


def check_out_file(file: Path) -> Path:
    """Make the folder of an output file, or raise an error, before the work whose result it is for."""
    if file.is_dir():
        raise RoutestatError(f"--out {file} is a folder; name a file")
    if "://" in str(file) or ":/" in str(file):
        raise RoutestatError(
            f"--out {file}: files are written to this machine's folders only; copy it afterwards"
        )
    check_out(file.parent)
    return file


@contextmanager
def appearing_whole(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` that is renamed to `out` when the block ends without an error.

    A killed process leaves its folder behind. The next process that writes to the same place removes it: the
    process that makes a folder holds a lock on a file in it, and the system releases the lock when that process ends.
    Folders of other hosts are kept, because their locks may not be visible here.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    partial, lock = _locked_folder(out)
    # mkdtemp allows the owner only; a trace has the permissions of any other new folder.
    partial.chmod(0o777 & ~_umask())
    try:
        yield partial
        partial.replace(out)
        # Not earlier: if this process were killed, a folder without the lock would never be removed.
        (out / LOCK).unlink(missing_ok=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.close()


def _locked_folder(out: Path) -> tuple[Path, IO[str]]:
    """Make a hidden folder beside `out`, with a locked file in it while it is being written."""
    while True:
        partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
        try:
            lock = (partial / LOCK).open("x", encoding="utf-8")
        except FileNotFoundError:
            # Another process removed the folder, which was still empty.
            continue
        _lock(lock, wait=True)
        lock.write(socket.gethostname())
        lock.flush()
        if (partial / LOCK).exists():
            return partial, lock
        lock.close()


def _remove_abandoned(out: Path) -> None:
    """Remove the hidden folders beside `out` that killed processes of this host left behind."""
    # mkdtemp appends eight characters; the folders of other targets have other names.
    mine = re.compile(re.escape(f".{out.name}-") + "[a-z0-9_]{8}")
    for folder in [one for one in out.parent.iterdir() if mine.fullmatch(one.name) and one.is_dir()]:
        try:
            lock = (folder / LOCK).open("r+", encoding="utf-8")
        except FileNotFoundError:
            # Made by something else, or killed before the lock was made: removed only if empty.
            with suppress(OSError):
                folder.rmdir()
            continue
        except OSError:
            continue
        with lock:
            if not _lock(lock, wait=False):
                continue
            # A process that was killed before it wrote its host had not written anything else.
            if lock.read() in ("", socket.gethostname()):
                shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str], wait: bool) -> bool:
    """Lock an open file; return False if another process holds it or files cannot be locked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
