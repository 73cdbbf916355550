"""What every desk does alike: one line per error, exit codes, layers in words, progress."""

import io
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from routestat.errors import RoutestatError
from routestat.traces.manifest import MANIFEST
from routestat.traces.store import Trace

try:
    import fcntl
except ImportError:  # Not on Windows: nothing is locked there, and nothing removed.
    fcntl = None  # type: ignore[assignment]

# Some errors quote what a file holds, which may be without end.
LONGEST = 600
OK, BAD_INPUT, INTERRUPTED = 0, 2, 130
# In a folder that is being written; held by its process.
LOCK = ".being-written"
# The base of typer's usage errors: click's own class in older versions of typer, a vendored one in newer.
_USAGE_ERROR: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def run(app: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a command; anything the user can mend gets one line on stderr and exit code 2, never a traceback."""
    # A terminal that cannot show an arrow or a name shall not cost the work that led to it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        result = typer.main.get_command(app).main(
            args=None if arguments is None else list(arguments), prog_name=name, standalone_mode=False
        )
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except _USAGE_ERROR as error:
        return complain(f"{error.format_message()} (see {name} --help)")
    except (RoutestatError, OSError, MemoryError) as error:
        return complain(str(error) or type(error).__name__)
    # Ctrl-C inside a command comes back from typer as its exit code.
    return complain("interrupted", INTERRUPTED) if result == INTERRUPTED else result or OK


def complain(message: str, code: int = BAD_INPUT) -> int:
    """One line on stderr, whatever a file's names hold: a terminal shall not obey them."""
    line = " ".join(message.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 103]} … {line[-100:]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    print(f"error: {shown}", file=sys.stderr)
    return code


def parse_layers(text: str) -> list[int] | None:
    """``0-31``, ``0,4,8``, ``0-3,7`` → numbers; ``all`` → None.

    Raises
    ------
    RoutestatError
        If it is none of these.
    """
    if text.strip().lower() == "all":
        return None
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise RoutestatError(f"--layers wants all, or numbers such as 0-31 or 0,4,8, got {text!r}")
        low, high = int(first), int(last or first)
        if high < low:
            raise RoutestatError(f"--layers {part.strip()} runs backwards; write {high}-{low}")
        if high - low > 100_000:
            raise RoutestatError(f"--layers {part.strip()} is no range of layers of any model")
        layers |= set(range(low, high + 1))
    return sorted(layers)


def parse_order(text: str) -> int | None:
    """The order of a chain from ``auto`` (None), ``0``, ``1`` or ``2``.

    Raises
    ------
    RoutestatError
        If it is none of these.
    """
    if text not in ("auto", "0", "1", "2"):
        raise RoutestatError(f"--order is 0, 1, 2 or auto, got {text!r}")
    return None if text == "auto" else int(text)


def _is_number(text: str) -> bool:
    # isdigit alone would let ² through, which int() then refuses.
    return text.isascii() and text.isdigit()


def require_tokens(trace: Trace, layers: list[int] | None) -> None:
    """Refuse a trace without tokens or without the wanted layers, before anything is written."""
    trace.routers(layers)
    if not trace.n_counted:
        if trace.n_tokens:
            raise RoutestatError(
                "every token belongs to the template: drop nothing, use --template once or keep"
            )
        raise RoutestatError("the trace holds no tokens: there is nothing to analyse")


def keep_traces_apart(folder: Path) -> None:
    """Refuse to write a report into a trace."""
    if (folder / MANIFEST).exists():
        raise RoutestatError(f"--out {folder} holds a trace; name another folder")


def check_out(folder: Path) -> Path:
    """The folder to write to, before the work that would be lost if it could not be made."""
    if folder.exists() and not folder.is_dir():
        raise RoutestatError(f"--out {folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise RoutestatError(f"--out {folder}: no permission to write there")
    return folder


@contextmanager
def appearing_whole(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place only when all went well.

    A process that is killed leaves its folder behind. The next one to the same place removes what no living process
    holds: a folder's maker locks a file in it, and the system takes the lock away when the process ends, however it
    ends. Folders of other hosts are left alone, for their locks may not be seen here.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    partial, lock = _locked_folder(out)
    # mkdtemp keeps others out; a trace is as open as any other folder its owner makes.
    partial.chmod(0o777 & ~_umask())
    try:
        yield partial
        partial.replace(out)
        # Only now: a folder without a lock would be taken for somebody else's if this process were killed.
        (out / LOCK).unlink(missing_ok=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.close()


def _locked_folder(out: Path) -> tuple[Path, IO[str]]:
    """A new hidden folder beside `out`, and the open file in it whose lock says that it is being written."""
    while True:
        partial = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
        try:
            lock = (partial / LOCK).open("x", encoding="utf-8")
        except FileNotFoundError:
            # Another process took the still empty folder for an abandoned one.
            continue
        _lock(lock, wait=True)
        lock.write(socket.gethostname())
        lock.flush()
        if (partial / LOCK).exists():
            return partial, lock
        lock.close()


def _remove_abandoned(out: Path) -> None:
    """Remove the hidden folders beside `out` that killed processes of this host left there."""
    # The eight characters that mkdtemp appends; another target's folders end otherwise.
    mine = re.compile(re.escape(f".{out.name}-") + "[a-z0-9_]{8}")
    for folder in [one for one in out.parent.iterdir() if mine.fullmatch(one.name) and one.is_dir()]:
        try:
            lock = (folder / LOCK).open("r+", encoding="utf-8")
        except FileNotFoundError:
            # Not made here, or killed before it held anything: only an empty folder goes.
            with suppress(OSError):
                folder.rmdir()
            continue
        except OSError:
            continue
        with lock:
            if not _lock(lock, wait=False):
                continue
            # A maker that was killed before it wrote its host had not written anything else either.
            if lock.read() in ("", socket.gethostname()):
                shutil.rmtree(folder, ignore_errors=True)


def _lock(file: IO[str], wait: bool) -> bool:
    """Lock an open file for this process; False where another holds it, or where files cannot be locked."""
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


class ProgressBars:
    """Progress bars with the time left, one per kind of work; quiet where stderr is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            # What is piped shall hold the error and nothing else.
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBars":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of `what`."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=max(total, 1))
        self._bars.update(self._tasks[what], completed=done, total=max(total, 1))

    def of(self, what: str) -> Callable[[int, int], None]:
        """A callback (done, total) for one kind of work."""
        return lambda done, total: self(what, done, total)
