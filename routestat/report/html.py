"""index.html."""
from pathlib import Path
from collections.abc import Callable
from routestat.report.results import write_results
from routestat.structure.paths import graphml
from routestat.study import Study
from routestat.traces.manifest import replace_file
from routestat.traces.store import span as span_of

def number(value, digits=3):
    return "–" if value is None or value != value else f"{value:.{digits}g}"

def write_report(study: Study, folder: Path, tick=lambda what, done, total: None) -> Path:
    write_results(study, folder)
    replace_file(folder / "routes.graphml", graphml(study.paths.graph).encode())
    replace_file(folder / "index.html", b"<!doctype html><title>routestat</title>")
    return folder / "index.html"
