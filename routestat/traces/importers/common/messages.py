"""What stands in a file, in the words of a message: short, printable, and without the names of Python's types."""

import re
from collections.abc import Iterable

import numpy as np

from routestat.traces.validation import shown

# What things of JSON and of archives are called where one stands in place of another.
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
    # Where something lay in memory helps nobody.
    text = " ".join(re.sub(r"<?[\w.]+ object at 0x[0-9a-f]+>?", "…", text).split())
    if not text:
        text = "more than there is memory for" if isinstance(error, MemoryError) else "no more is known"
    return text if len(text) <= 160 else text[:160] + " …"


def listed(names: Iterable[object]) -> str:
    """Names in a message: the first dozen, printable whatever they hold."""
    held = [name if isinstance(name, str) and name.isprintable() else shown(name) for name in names]
    rest = f" and {len(held) - 12} more" if len(held) > 12 else ""
    return (", ".join(name[:40] for name in held[:12]) or "nothing") + rest
