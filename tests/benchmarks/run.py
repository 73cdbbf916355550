"""``make bench``: all benchmarks in one run, written to `reports/benchmarks`.

``python -m tests.benchmarks.run counting growth`` runs some sections. A section that fails is reported in its file and
does not keep the others from running.
"""

import argparse
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import analyses, caches, counting, growth
from tests.benchmarks.machine import ROOT
from tests.benchmarks.reports import Report, describe_run

Section = Callable[[Report, Path, bool], None]
SECTIONS: dict[str, tuple[str, Section]] = {
    "counting": ("Counting", counting.run),
    "analyze": ("analyze as a whole process", analyses.run),
    "growth": ("Growth with tokens, layers, experts and workers", growth.run),
    "caches": ("Replayed caches", caches.run),
}


def main() -> None:
    """Run the sections; exit 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"{', '.join(SECTIONS)}; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "benchmarks")
    parser.add_argument("--quick", action="store_true", help="small sizes: tries out the benchmark itself")
    arguments = parser.parse_args()
    chosen = arguments.sections or list(SECTIONS)
    if unknown := sorted(set(chosen) - set(SECTIONS)):
        parser.error(f"expected sections of {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    about, failed = describe_run(shlex.join(["python", "-m", "tests.benchmarks.run", *sys.argv[1:]])), []
    print("\n".join(about), flush=True)
    for name in chosen:
        title, run = SECTIONS[name]
        report, start = Report(arguments.out / f"{name}.md", title, about), time.perf_counter()
        try:
            with tempfile.TemporaryDirectory() as folder:
                run(report, Path(folder), arguments.quick)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            failed.append(name)
            report.add("Not finished", f"This section stopped: {type(error).__name__}: {error}", [])
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
