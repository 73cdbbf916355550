"""The chain that predict and draw use: that of a report, or one fitted to a trace."""

from dataclasses import dataclass
from pathlib import Path

from routestat.counting.counts import Counts, count
from routestat.errors import RoutestatError
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.markov.chain import Chain, fit_chain
from routestat.inference.smoothing.prior import parse_alpha
from routestat.progress import Tick
from routestat.study.chain_file import CHAIN_FILE, load_chain, load_factorised
from routestat.traces.manifest import MANIFEST
from routestat.traces.store import Trace


@dataclass(frozen=True)
class OpenedRun:
    """The chain of a report, or of a trace.

    `factorised` is that of a report in the expert view; `trace` and `counts` are None for a report, `folder` for a
    trace.
    """

    chain: Chain
    factorised: FactorisedChain | None = None
    trace: Trace | None = None
    counts: Counts | None = None
    folder: Path | None = None


def open_run(folder: Path, alpha: str, tick: Tick) -> OpenedRun:
    """Load the chain of a report, or fit a chain of order 1 to a trace.

    Parameters
    ----------
    folder : path
    alpha : str
        Prior for a trace; empty for empirical Bayes.
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If the folder is neither, or alpha is given for a chain that is fitted already.
    """
    if (folder / CHAIN_FILE).is_file():
        if alpha:
            raise RoutestatError(
                f"--alpha goes with a trace; the chain in {folder} is fitted: analyze it again"
            )
        return OpenedRun(load_chain(folder / CHAIN_FILE), load_factorised(folder / CHAIN_FILE), folder=folder)
    rule = parse_alpha(alpha or "empirical-bayes")
    if not folder.is_dir():
        raise RoutestatError(f"{folder}: no such folder; name a report that analyze wrote, or a trace")
    if not (folder / MANIFEST).is_file():
        raise RoutestatError(
            f"{folder}: neither a report ({CHAIN_FILE}) nor a trace ({MANIFEST}); run analyze first"
        )
    trace = Trace.open(folder, progress=lambda *at: tick("checking", *at))
    counts = count(trace, progress=lambda *at: tick("counting", *at))
    return OpenedRun(fit_chain(counts, alpha=rule), None, trace, counts)
