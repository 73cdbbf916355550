"""The process group of a training, and its interruption by signals."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed

# Longer than any step or evaluation; after it a lost process is reported.
PROCESS_TIMEOUT = timedelta(minutes=10)


def join_process_group(rank: int, processes: int, rendezvous: Path) -> None:
    """Meet the other processes of a training on this machine; `rendezvous` is a file that all of them can write."""
    # The loopback interface: the host name of a laptop often cannot be resolved.
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    torch.distributed.init_process_group(
        "gloo", init_method=rendezvous.as_uri(), rank=rank, world_size=processes, timeout=PROCESS_TIMEOUT
    )


def leave_process_group() -> None:
    """End this process's part in the group, if there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C or SIGTERM came; a second one does not wait for the step."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
