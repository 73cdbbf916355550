"""How all loops are compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit

Array = Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter lock, and cache the machine code where possible."""
    try:
        return njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's is writable: compile anew in every process.
        return njit(nogil=True, error_model="numpy")(function)
