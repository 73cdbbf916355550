"""python -m capture MODEL --text FILE… | --dataset NAME --column C --out traces/NAME"""

import sys
from importlib import import_module
from importlib.util import find_spec

NEEDED = ("torch", "transformers", "datasets", "accelerate")


def start(desk: str) -> None:
    """Run the ``main`` of a command's module; one line where what it needs is not installed."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        print(
            f"error: capture needs {', '.join(absent)}: pip install 'routestat[capture]' "
            "(torch first, the build that fits the machine)",
            file=sys.stderr,
        )
        sys.exit(2)
    import_module(desk).main()


if __name__ == "__main__":
    start("capture.command")
