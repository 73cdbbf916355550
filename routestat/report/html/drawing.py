"""The pictures of a page, drawn by a process of their own while this one writes the other files."""

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from routestat.progress import Tick, silent
from routestat.report.html.page import Picture, draw_all

if TYPE_CHECKING:
    from routestat.report.figures.style import Drawing

Pictures = dict[str, Picture]
Jobs = Callable[[], "Mapping[str, Callable[[], Drawing]]"]
# Seconds, many times what drawing takes: the copy of a process with threads may wait for one that it lacks.
PATIENCE = 60.0


@contextmanager
def drawn_meanwhile(
    jobs: Jobs, folder: Path, tick: Tick, threads: int | None
) -> Iterator[Callable[[], Pictures]]:
    """Draw pictures while the caller does something else; yields what waits for them and returns them.

    Importing matplotlib and drawing hold the interpreter lock, so a thread would gain nothing.

    Parameters
    ----------
    jobs : callable()
        Returns what draws each picture, by name; called where they are drawn.
    folder : path
    tick : callable(what, done, total)
    threads : int, optional
        With 1, on one core and where processes cannot be copied safely, all are drawn when they are waited for.
    """
    # A daemonic process, such as one of a pool, may not start others.
    alone = (threads or os.cpu_count() or 1) == 1 or multiprocessing.current_process().daemon
    if alone or sys.platform != "linux":
        yield lambda: draw_all(jobs(), folder, tick)
        return
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(
        target=_draw, args=(jobs, folder, sender), daemon=True
    )
    process.start()
    sender.close()
    try:
        yield partial(_wait, receiver, jobs, folder, tick)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _draw(jobs: Jobs, folder: Path, sender: Connection) -> None:
    """Draw in the other process; whatever goes wrong there is said by the one that waits."""
    try:
        sender.send(draw_all(jobs(), folder, silent))
    except BaseException:
        sender.close()


def _wait(receiver: Connection, jobs: Jobs, folder: Path, tick: Tick) -> Pictures:
    tick("drawing figures", 0, 1)
    try:
        pictures: Pictures | None = receiver.recv() if receiver.poll(PATIENCE) else None
    except EOFError:
        pictures = None
    if pictures is None:
        # The other process failed, was killed or hangs: this one succeeds, or fails with the reason.
        return draw_all(jobs(), folder, tick)
    tick("drawing figures", 1, 1)
    return pictures
