"""Values and names of a file in messages: short, printable, and without Python's type names."""

import re
from collections.abc import Iterable

import numpy as np

from routestat.traces.validation import shown

# Words for values of JSON and of archives.
KINDS = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    np.ndarray: "an array",
}


def kind_of(value: object) -> str:
    """Return what a value is, in words."""
    return KINDS.get(type(value), type(value).__name__)


def reason(error: object) -> str:
    """Shorten the text of an error or value: some errors quote half the file."""
    try:
        text = str(error)
    except ValueError:  # a number of thousands of digits
        return "a number of too many digits"
    # Addresses in memory are of no use.
    text = " ".join(re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?", "…", text).split())
    if not text:
        text = "too large for the memory" if isinstance(error, MemoryError) else "unknown reason"
    return text if len(text) <= 160 else text[:160] + " …"


def listed(names: Iterable[object]) -> str:
    """List names in a message: the first dozen, printable."""
    held = [name if isinstance(name, str) and name.isprintable() else shown(name) for name in names]
    rest = f" and {len(held) - 12} more" if len(held) > 12 else ""
    return (", ".join(name[:40] for name in held[:12]) or "nothing") + rest
