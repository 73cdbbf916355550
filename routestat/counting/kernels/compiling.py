"""How all loops are compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit
from numpy.typing import NDArray

Array = Any

# No loop is called from C.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the interpreter lock, and cache the machine code where possible."""
    return _compiled(function, _OPTIONS)


def within(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that only compiled ones call: without the wrapper that takes arguments from Python."""
    return _compiled(function, _OPTIONS | {"no_cpython_wrapper": True})


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Write a function into the compiled ones that call it, which is faster to compile where few places do."""
    return njit(inline="always", **_OPTIONS)(function)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's is writable: compile anew in every process.
        return njit(**options)(function)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to: loops are compiled anew for arrays that can."""
    view = array.view()
    view.flags.writeable = False
    return view
