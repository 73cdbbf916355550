"""prepare compiles the loops: an analysis of the same kind of trace takes no others, and finds them compiled."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Runs a command, and prints the loops that it compiled and the types of arguments that it called loops with.
RUN = """
import json, sys
from importlib import import_module
from numba.core import event
from numba.core.dispatcher import Dispatcher
compiled = []

class Compiled(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].py_func.__name__)

    def on_end(self, e):
        pass

event.register("numba:compile", Compiled())
command = import_module("routestat." + sys.argv[1])
sys.argv = sys.argv[1:]
try:
    command.main()
except SystemExit as end:
    assert not end.code, end.code
called = {
    f"{name}.{loop}{types}"
    for name, module in list(sys.modules.items()) if name.startswith("routestat.")
    for loop, item in vars(module).items() if isinstance(item, Dispatcher) and item.__module__ == name
    for types in item.signatures
}
print(json.dumps([compiled, sorted(called)]))
"""


def run(*arguments):
    """What a command prints, the loops that it compiled, and the loops with the types that it called them with."""
    words = [sys.executable, "-c", RUN, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    shown = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert shown.returncode == 0, shown.stderr
    printed, _, last = shown.stdout.rstrip().rpartition("\n")
    compiled, called = json.loads(last)
    return printed, compiled, set(called)


def test_an_analysis_after_it_compiles_nothing(tmp_path):
    printed, _, prepared = run("prepare", "--shapes", "1", "--threads", "1")
    assert printed.splitlines()[-1].startswith("compiled in ")
    analysis = (
        "analyze",
        "data/traces/tiny-mixtral-lookahead",
        "--layers",
        "0-2",
        "--out",
        tmp_path / "report",
    )
    _, compiled, called = run(*analysis)
    assert len(called) > 30
    # Types of arguments, so that it does not matter which loops were in the cache before.
    assert called <= prepared, called - prepared
    if compiled:
        # Another process may have written the index of the same loop at the same time.
        _, compiled, _ = run(*analysis)
    assert compiled == []
