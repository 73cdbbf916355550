"""Ctrl-C delayed until a step on disk is complete."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def held_back() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the end of the block.

    For changes that must not be interrupted halfway: a shard that is in the manifest while its rows still
    count as pending would be written twice. The block should take seconds at most. Blocks may be nested; outside
    the main thread, where no signal arrives, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        caught.append(number)

    # None is a handler that was not set from Python and could not be restored.
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
            # For the handler that was replaced: an outer block's, Python's own, or the system's default.
            signal.raise_signal(caught[0])
