"""python -m routestat.predict RUN --layer 5 --after 12: the next pair after an observed one."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from routestat.counting.counts import count
from routestat.desk import Ticker, run
from routestat.errors import RoutestatError
from routestat.inference.chain import Chain, Prediction
from routestat.inference.dirichlet import parse_alpha
from routestat.report.results import CHAIN_FILE, load_chain
from routestat.study import chain_of
from routestat.traces.manifest import MANIFEST, replace_file
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

app = typer.Typer(add_completion=False)


@app.command()
def predict(
    run_folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="A report that analyze wrote, or a trace.")
    ],
    layer: Annotated[int, typer.Option(help="The layer whose choice is known.")],
    after: Annotated[str, typer.Option(help="What it chose: a state (12) or its experts (1,7).")],
    top: Annotated[int, typer.Option(min=1, help="How many predictions to print.")] = 5,
    level: Annotated[float, typer.Option(help="Level of the credible intervals.")] = 0.95,
    alpha: Annotated[
        str,
        typer.Option(
            help="Prior, when RUN is a trace: empirical-bayes (if not given), jeffreys, perks, a number."
        ),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="Write the predictions to this JSON file too.")] = None,
) -> None:
    """The most probable choices of the layer after LAYER, with probability and credible interval.

    Example: python -m routestat.predict reports/tiny-mixtral --layer 5 --after 12
    """
    if not 0 < level < 1:
        raise RoutestatError(f"--level is a share between 0 and 1, such as 0.95, got {level}")
    chain = _chain(run_folder, alpha)
    gap = chain.gap_after(layer)
    router = Router(layer, chain.n_experts[gap], chain.top_k[gap])
    following = Router(chain.layers[gap + 1], chain.n_experts[gap + 1], chain.top_k[gap + 1])
    source, experts = _source(after, router, chain.states)
    known = source if chain.states == "subset" and source is not None else experts
    prediction = chain.predict(layer, known, level)
    rows = _rows(prediction, following, chain.states, top)
    _show(rows, prediction, router, following, experts, chain)
    if out is not None and out.is_dir():
        raise RoutestatError(f"--out {out} is a folder; name a .json file")
    if out is not None:
        record = {
            "layer": layer,
            "after": {"experts": list(experts), "state": source},
            "next_layer": following.layer,
            "n_tokens": prediction.n_tokens,
            "level": level,
            "predictions": rows,
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(record, indent=1).encode())


def _chain(folder: Path, alpha: str) -> Chain:
    if (folder / CHAIN_FILE).is_file():
        if alpha:
            raise RoutestatError(
                f"--alpha goes with a trace; the chain in {folder} is fitted: analyze it again"
            )
        return load_chain(folder / CHAIN_FILE)
    rule = parse_alpha(alpha or "empirical-bayes")
    if not folder.is_dir():
        raise RoutestatError(f"{folder}: no such folder; name a report that analyze wrote, or a trace")
    if not (folder / MANIFEST).is_file():
        raise RoutestatError(
            f"{folder}: neither a report ({CHAIN_FILE}) nor a trace ({MANIFEST}); run analyze first"
        )
    with Ticker() as ticker:
        trace = Trace.open(folder, progress=ticker.of("checking"))
        return chain_of(count(trace, progress=ticker.of("counting")), rule)


def _source(text: str, router: Router, states: str) -> tuple[int | None, tuple[int, ...]]:
    """State and experts of ``12`` or ``1,7``; a single number is a state where states are counted."""
    parts = text.replace(",", " ").split()
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers:
        raise RoutestatError(f"--after wants a state such as 12, or experts such as 1,7; got {text!r}")
    alphabet = router.alphabet
    if len(numbers) == 1 and (states == "subset" or router.top_k > 1):
        if not 0 <= numbers[0] < alphabet.size:
            raise RoutestatError(f"--after {text}: layer {router.layer} has states 0 … {alphabet.size - 1}")
        return numbers[0], tuple(alphabet.unrank(numbers[0]).tolist())
    state = int(alphabet.rank(numbers)) if alphabet.is_ranked else None
    return state, tuple(sorted(numbers))


def _rows(prediction: Prediction, router: Router, states: str, top: int) -> list[dict[str, Any]]:
    order = np.argsort(-prediction.probability, kind="stable")[:top]
    rows = []
    for index in order.tolist():
        row: dict[str, Any] = {"expert": index}
        if states == "subset":
            row = {"state": index, "experts": router.alphabet.unrank(index).tolist()}
        limits = [float(prediction.low[index]), float(prediction.high[index])]
        rows.append({**row, "probability": float(prediction.probability[index]), "interval": limits})
    return rows


def _show(
    rows: list[dict[str, Any]],
    prediction: Prediction,
    router: Router,
    following: Router,
    experts: tuple[int, ...],
    chain: Chain,
) -> None:
    console = Console()
    chose = ", ".join(map(str, experts))
    seen = f"{prediction.n_tokens:,} tokens did"
    if chain.states == "expert":
        seen = f"the rarest of these was chosen by {prediction.n_tokens:,} tokens"
    console.print(
        f"Layer {router.layer} chose experts {chose} ({seen}). Layer {following.layer} then chooses:",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    what = "state" if chain.states == "subset" else "expert"
    for name in (
        what,
        *(["experts"] if what == "state" else []),
        "probability",
        f"{prediction.level:.0%} credible",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        low, high = row["interval"]
        cells = [str(row[what])] + ([", ".join(map(str, row["experts"]))] if what == "state" else [])
        table.add_row(*cells, f"{row['probability']:.4f}", f"{low:.4f} – {high:.4f}")
    console.print(table)
    if what == "expert":
        console.print(f"Probability that an expert is among the {following.top_k} chosen (factorised chain).")
    if not prediction.n_tokens:
        what_was = "This was" if chain.states == "subset" else "One of these experts was"
        console.print(f"{what_was} never seen: this is the prior's answer.")
    console.print(
        "Intervals take tokens as independent; tokens of one document are not, so they are too narrow."
    )


def main() -> None:
    """Entry of ``python -m routestat.predict``."""
    sys.exit(run(app, "routestat predict"))


if __name__ == "__main__":
    main()
