"""python -m routestat.draw RUN --out traces/drawn: a trace of tokens drawn from a fitted chain."""

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from routestat.cli import options
from routestat.cli.open_run import OpenedRun, open_run
from routestat.cli.output_folders import appearing_whole
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, run
from routestat.errors import RoutestatError
from routestat.inference.markov.chain import Chain
from routestat.inference.markov.sampling import PARAMETERS, draw_states
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.pairing.document_contents import documents_of
from routestat.traces.store import Trace
from routestat.traces.validation import LARGEST, read_json
from routestat.traces.writer import SHARD_ROWS, TraceWriter

app = new_app()
RESULTS = "results.json"


@app.command()
def draw(
    run_folder: options.RunFolder,
    out: Annotated[Path, typer.Option(help="Folder of the new trace.")],
    documents: Annotated[int | None, typer.Option(min=1, help="Documents (if not given: 100).")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Tokens of each (if not given: 200).")] = None,
    like: Annotated[
        Path | None, typer.Option(help="A trace whose number of documents and lengths are used.")
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(
            help="Transition probabilities: drawn, once from their posterior (if not given), or mean, that of their "
            "posterior (always in the expert view)."
        ),
    ] = None,
    alpha: options.AlphaOfTrace = "",
    seed: options.Seed = 0,
) -> None:
    """Draw tokens from the chain and write them as a trace.

    Tokens are independent of each other, because the chain models the layers of one token, not its neighbours:
    documents differ by chance alone.

    Example: python -m routestat.draw reports/tiny-mixtral --documents 100 --length 200 --out traces/drawn
    """
    if parameters not in (None, *PARAMETERS):
        raise RoutestatError(f"--parameters is drawn or mean, got {parameters!r}")
    if like is not None and (documents is not None or length is not None):
        raise RoutestatError("--like says how many documents and how long: no --documents, --length")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RoutestatError(f"--out {out} is there already and not empty; choose another folder")
    with ProgressBars() as ticker:
        source = open_run(run_folder, alpha, ticker)
        if like is None:
            lengths = np.full(documents or 100, length or 200, np.int64)
        else:
            model = Trace.open(like, progress=ticker.of("checking lengths"))
            lengths = np.array([one.tokens for one in documents_of(model, ticker.of("measuring"))], np.int64)
        if not 1 <= lengths.sum() <= LARGEST:
            raise RoutestatError(f"{lengths.sum():,} tokens: expected 1 to {LARGEST:,} of them")
        if parameters is None:
            parameters = "drawn" if source.chain.states == "subset" else "mean"
        rng = np.random.default_rng(seed)
        columns = _columns(source, lengths, rng, parameters, ticker)
        meta = _meta(source, run_folder, out, parameters, seed)
        _write(out, meta, lengths, columns, ticker)
    print(f"{out}: {lengths.sum():,} tokens of {len(lengths):,} documents")


def _columns(
    source: OpenedRun,
    lengths: NDArray[np.int64],
    rng: np.random.Generator,
    parameters: str,
    ticker: ProgressBars,
) -> dict[str, Any]:
    """Draw what the writer takes: states ``[token, layer]``, or experts ``[token, layer, slot]``."""
    if source.chain.states == "subset":
        n_tokens = int(lengths.sum())
        states = draw_states(source.chain, n_tokens, rng, parameters, progress=ticker.of("drawing"))
        return {"states": states}
    if source.factorised is None:
        raise RoutestatError(
            "so many subsets are drawn from the factorised chain, which analyze fits: analyze the trace and "
            "name the report"
        )
    if parameters == "drawn":
        raise RoutestatError(
            "--parameters drawn: the factorised chain has no posterior to draw from; use mean"
        )
    ticker("drawing", 0, 1)
    experts = source.factorised.sample(lengths, rng)
    ticker("drawing", 1, 1)
    return {"experts": experts}


def _write(
    out: Path, meta: TraceMeta, lengths: NDArray[np.int64], columns: dict[str, Any], ticker: ProgressBars
) -> None:
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(document)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    with appearing_whole(out) as folder, TraceWriter(folder, meta) as writer:
        for start in range(0, len(document), SHARD_ROWS):
            part = slice(start, start + SHARD_ROWS)
            rows = {name: column[part] for name, column in columns.items()}
            writer.write(document[part], position[part], **rows)
            ticker("writing", min(part.stop, len(document)), len(document))


def _meta(source: OpenedRun, folder: Path, out: Path, parameters: str, seed: int) -> TraceMeta:
    """Describe the new trace: the model of its chain, and that its tokens were drawn."""
    names = _names(source, folder)
    of = names.get("name") or folder.resolve().name
    return TraceMeta(
        _routers(source.chain, names.get("routers")),
        name=out.resolve().name,
        model=names.get("model", ""),
        dataset=f"no texts: tokens drawn from the chain fitted to {of}",
        source=f"drawn from the chain fitted to {of}",
        licence=names.get("licence", ""),
        engine="routestat draw",
        extra={
            "drawn": {
                "parameters": parameters,
                "seed": seed,
                "orders": list(source.chain.orders) if source.chain.states == "subset" else "factorised",
                "of_dataset": names.get("dataset", ""),
            }
        },
    )


def _names(source: OpenedRun, folder: Path) -> dict[str, Any]:
    """Return the names from the trace, or from results.json beside the chain; empty where it cannot be read."""
    if source.trace is not None:
        meta = source.trace.meta
        names = {key: getattr(meta, key) for key in ("name", "model", "dataset", "licence")}
        return names | {"routers": [router.name for router in meta.routers]}
    try:
        record = read_json((folder / RESULTS).read_bytes())["trace"]
        names = {key: record[key] for key in ("name", "model", "dataset", "licence")}
        plain = all(isinstance(value, str) for value in names.values())
        return names | {"routers": record["routers"]} if plain else {}
    # Names are optional: tokens are drawn also where results.json cannot be read.
    except (OSError, RoutestatError, LookupError, TypeError):
        return {}


def _routers(chain: Chain, names: Any) -> tuple[Router, ...]:
    """Return the routers of the chain, by their names where known; several of one layer get numbers."""
    rows = list(zip(chain.layers, chain.n_experts, chain.top_k, strict=True))
    if isinstance(names, list) and len(names) == len(rows) and all(isinstance(name, str) for name in names):
        return tuple(Router(*row, name) for row, name in zip(rows, names, strict=True))
    several = {layer for layer in chain.layers if chain.layers.count(layer) > 1}
    return tuple(
        Router(*row, f"L{row[0]:02d}-{place}" if row[0] in several else "") for place, row in enumerate(rows)
    )


def main() -> None:
    """Entry of ``python -m routestat.draw``."""
    sys.exit(run(app, "routestat draw"))


if __name__ == "__main__":
    main()
