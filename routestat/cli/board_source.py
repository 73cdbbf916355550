"""What ``predict --board`` reads: a trace, or the trace of a report with the layers and options of that report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from routestat.cli.runner import parse_layers, parse_numbers
from routestat.errors import RoutestatError
from routestat.traces.locations import Location, locate
from routestat.traces.manifest import MANIFEST
from routestat.traces.store import Trace
from routestat.traces.validation import read_json

RESULTS = "results.json"
#: Options of the board, and those of a single prediction: the two do not go together.
OF_BOARD = (
    "--train", "--domains", "--layers", "--horizons", "--network", "--similar", "--groups", "--threads", "--cluster",
    "--template", "--drop-dummy-rows",
)  # fmt: skip
OF_QUERY = (
    "--layer", "--after", "--ahead", "--order", "--top", "--level", "--experts", "--with", "--previous", "--token",
    "--previous-token", "--stream",
)  # fmt: skip


@dataclass(frozen=True)
class BoardSource:
    """A trace and how it is opened and counted.

    Attributes
    ----------
    trace : path or UrlPath
    layers : list of int, optional
        All by default.
    cluster : str, optional
    template, dummy_rows : str
    groups : int
    alpha : str
        Prior of the tables.
    run : path, optional
        The report that named the trace.
    identity : str
        The hash of the trace's manifest when the report was made; empty without a report.
    farthest : int
        Most layers ahead that were named; 0 if none were.
    """

    trace: Location
    layers: list[int] | None
    cluster: str | None
    template: str
    dummy_rows: str
    groups: int
    alpha: str = "empirical-bayes"
    run: Path | None = None
    identity: str = ""
    farthest: int = 0

    def require_horizons(self, n_routers: int) -> None:
        """Refuse horizons by which no layer is away from another."""
        if self.farthest >= n_routers > 1:
            raise RoutestatError(
                f"--horizons: expected at most {n_routers - 1} in {n_routers} layers, got {self.farthest}; name fewer "
                "layers ahead"
            )

    def require_unchanged(self, trace: Trace) -> None:
        """Refuse a trace that is no longer that of the report."""
        if self.identity and trace.identity != self.identity:
            raise RoutestatError(
                f"{self.trace}: expected the trace that {self.run} was made of, found a changed one; analyze it "
                "again, or name the trace"
            )


def given_options(context: typer.Context) -> list[str]:
    """Return the options that were given on the command line, by their long names."""
    found = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            found.append(max(parameter.opts, key=len))
    return found


def require_one_use(given: Sequence[str], board: bool) -> None:
    """Refuse options of a single prediction beside ``--board``, and those of a board without it."""
    wrong = [name for name in given if name in (OF_QUERY if board else OF_BOARD)]
    if wrong and board:
        raise RoutestatError(
            f"--board scores all predictors of a trace and has no {wrong[0]}; leave one of the two out"
        )
    if wrong:
        raise RoutestatError(f"{wrong[0]} is an option of the board: expected --board with it; add that")


def parse_horizons(text: str) -> tuple[int, ...]:
    """Read layers ahead from ``1-8`` or ``1,2,4``; 1 is always among them.

    Raises
    ------
    RoutestatError
        If the text is neither, or holds 0.
    """
    found = parse_numbers(text, "--horizons", "1-8 or 1,2,4")
    if found[0] < 1:
        raise RoutestatError(f"--horizons are layers ahead, 1 or more, got {text!r}; leave 0 out")
    return tuple(sorted({1, *found}))


def board_source(
    folder: Location,
    layers: str | None,
    cluster: str | None,
    template: str | None,
    drop_dummy_rows: bool,
    groups: int | None,
) -> BoardSource:
    """Find the trace of a board; options that were not given are those of the report, if the folder is one.

    Parameters
    ----------
    folder : path or UrlPath
        A trace, or a report that analyze wrote.
    layers, cluster, template : str, optional
    drop_dummy_rows : bool
    groups : int, optional

    Raises
    ------
    RoutestatError
        If the folder is neither, or the trace of the report is not where it was.
    """
    saved: Mapping[str, Any] = {}
    run = None
    if isinstance(folder, Path) and not (folder / MANIFEST).is_file():
        if not folder.exists():
            raise RoutestatError(f"{folder}: no such folder; name a trace, or a report that analyze wrote")
        if (folder / RESULTS).is_file():
            run, saved = folder, _trace_of_report(folder)
    options = saved.get("options", {})
    return BoardSource(
        locate(saved["folder"]) if run else folder,
        parse_layers(layers) if layers is not None else saved.get("layers"),
        cluster if cluster is not None else options.get("cluster"),
        template or options.get("template", "once"),
        "drop" if drop_dummy_rows else options.get("dummy_rows", "keep"),
        groups or options.get("groups", 256),
        str(saved.get("alpha", "empirical-bayes")),
        run,
        saved.get("identity") or "",
    )


def _trace_of_report(folder: Path) -> Mapping[str, Any]:
    """Return `trace` of a report's results.json, with the prior of its chain as ``alpha`` where it has one."""
    said = f"{folder / RESULTS}: expected the results of analyze"
    record = read_json((folder / RESULTS).read_bytes())
    if not isinstance(record, Mapping) or record.get("format") != "routestat-results":
        raise RoutestatError(f"{said}, found those of another command; name the trace")
    trace = record.get("trace")
    if not isinstance(trace, Mapping) or not isinstance(trace.get("folder"), str):
        raise RoutestatError(
            f"{said} with the trace's folder, found none; name the trace, or analyze it again"
        )
    if not _well_formed(trace):
        raise RoutestatError(
            f"{said} with layers and options as analyze writes them; analyze the trace again"
        )
    if not locate(trace["folder"]).exists():
        raise RoutestatError(
            f"{folder} was made of the trace {trace['folder']}, which is no longer there; name it where it is now"
        )
    chain = record.get("chain")
    alpha = chain.get("alpha") if isinstance(chain, Mapping) else None
    return {**trace, **({} if alpha is None else {"alpha": alpha})}


def _well_formed(trace: Mapping[str, Any]) -> bool:
    layers, options = trace.get("layers"), trace.get("options", {})
    return (
        isinstance(layers, list)
        and all(type(layer) is int for layer in layers)
        and isinstance(options, Mapping)
        and all(
            options.get(name) is None or isinstance(options[name], str) for name in ("cluster", "template")
        )
        and options.get("dummy_rows", "keep") in ("keep", "drop")
        and type(options.get("groups", 256)) is int
        and options.get("groups", 256) > 0
    )
