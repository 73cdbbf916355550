"""routestat COMMAND …: all commands under one name; each is loaded when it is called."""

import runpy
import sys

COMMANDS = {
    "analyze": "Significance report and Markov chain of a trace.",
    "predict": "The most probable next choices after an observed one.",
    "compare": "Whether two traces route alike, and what differs.",
    "simulate": "What caches and prefetching would cost, from none to optimal.",
    "place": "Placements and pin lists that engines load.",
    "draw": "A trace drawn from a fitted chain.",
    "convert": "Other tools' traces to the store.",
    "count": "The tables of a trace, or of one part of it, as a file.",
    "merge": "The tables of several parts, added.",
    "prepare": "Compile the loops, once per installation.",
    "capture": "Run a model and record its routing (needs torch).",
}
# Commands outside this package: their modules are found by name, when they are called.
ELSEWHERE = {"capture": "capture.__main__"}

HELP = "\n".join(
    [
        "Usage: routestat COMMAND ...",
        "",
        "Statistics of the routing of Mixture-of-Experts language models.",
        "",
        "Commands:",
        *(f"  {name:<10}{text}" for name, text in COMMANDS.items()),
        "",
        "routestat COMMAND --help explains a command.",
        "Example: routestat analyze data/traces/tiny-mixtral --layers 0-31",
    ]
)


def main() -> None:
    """Entry of the console script and of ``python -m routestat``."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        sys.exit(0)
    name = arguments[0]
    if name not in COMMANDS:
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"routestat {name}", *arguments[1:]]
    try:
        # Loaded by name, so that --help imports neither numba nor scipy nor matplotlib; run as by python -m and not
        # imported, because routestat.count is a function.
        runpy.run_module(ELSEWHERE.get(name, f"routestat.{name}"), run_name="__main__")
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
