"""The graph of transitions as files."""

from pathlib import Path

from routestat.structure.route_graph import graphml
from routestat.study.trace_study import Study
from routestat.traces.manifest import replace_file

#: Names of the files.
GRAPH_FILES = ("routes.graphml",)


def write_graph(study: Study, folder: Path) -> None:
    """Write the graph of transitions, and delete the files of an earlier one."""
    if study.graph is not None:
        replace_file(folder / "routes.graphml", graphml(study.graph).encode())
    else:
        (folder / "routes.graphml").unlink(missing_ok=True)
