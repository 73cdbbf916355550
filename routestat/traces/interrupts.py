"""Ctrl-C that waits for a moment at which nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect only after the block.

    For steps that are one on disk and several in memory: a shard that is in the manifest while its rows still
    count as pending would be written twice. The block should take seconds at most. Blocks may be nested; outside
    the main thread, where no signal arrives, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        caught.append(number)

    # None stands for a handler that was not set from Python and could not be put back.
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    changed = {one: handler for one, handler in before.items() if handler is not None}
    try:
        for one in changed:
            signal.signal(one, remember)
        yield
    finally:
        for one, handler in changed.items():
            signal.signal(one, handler)
        if caught:
            # To whoever would have got it: an outer block, Python's own handler, or the system's default.
            signal.raise_signal(caught[0])
