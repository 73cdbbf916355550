"""The summary that `analyze` prints; text of the trace is never read as markup."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from routestat.forecast.scores import PredictionScore
from routestat.report.html import number
from routestat.traces.store import span
from routestat.study import Dependence, PathFinding, Study
from routestat.traces.metadata import Router

TOP_PAIRS = 5
TOP_PATHS = 3
# Layers of a path shown on one line; the report has all of them.
PATH_LAYERS = 6
_BOARD = (("exact_set", "exact set"), ("recall_at_k", "recall@k"), ("top1_hit", "top-1 hit"))


def summarise(study: Study, page: Path) -> None:
    """Print what matters most and where the rest is, to stdout; 80 columns when piped.

    Parameters
    ----------
    study : Study
    page : path
        The report's index.html.
    """
    console = Console(highlight=False)
    _header(console, study)
    for part in (_dependence(study), _board(study.mean_board)):
        console.print()
        console.print(part)
    console.print()
    console.print(_load(study))
    _paths(console, study)
    console.print()
    # A path broken over two lines could not be copied.
    console.print(Text.assemble(("Report ", "bold"), str(page)), soft_wrap=True)


def _header(console: Console, study: Study) -> None:
    meta = study.meta
    console.print(Text(" · ".join(_one_line(part) for part in (meta.name, meta.model, meta.dataset) if part)))
    router = study.routers[0]
    view = "state view" if study.states == "subset" else "expert view"
    layers = span([router.layer for router in study.routers])
    console.print(
        Text(
            f"{study.n_tokens:,} tokens of {study.n_documents:,} documents · layers {layers} · "
            f"{router.n_experts} experts, top {router.top_k} · {view}"
        )
    )
    for note in study.notes:
        console.print(Text("note: " + _one_line(note), style="yellow"))


def _dependence(study: Study) -> Table | Text:
    if not study.dependence:
        return Text("One layer only: no dependence between layers to look at.")
    unit = "bits per token" if study.states == "subset" else "bits per pair of slots"
    table = _table(f"Dependence between layers, strongest first ({unit})")
    for heading in ("layers", "MI", "95 % interval", "log10 p clustered"):
        table.add_column(heading, justify="left" if heading == "layers" else "right")
    for item in sorted(study.dependence, key=_strength)[:TOP_PAIRS]:
        information = item.information
        table.add_row(
            f"{item.source.layer} → {item.target.layer}",
            number(information.mi_bits, 3),
            _interval(information.low, information.high),
            number(item.test.log10_p_clustered, 3),
        )
    reasons = {item.test.reason or item.information.reason for item in study.dependence} - {None}
    more = len(study.dependence) - TOP_PAIRS
    table.caption = "; ".join([f"{more} more in the report"] * (more > 0) + [f"–: {r}" for r in reasons if r])
    return table


def _strength(item: Dependence) -> tuple[bool, float]:
    """Sorts by falling information, undefined last."""
    bits = item.information.mi_bits
    return bits != bits, -bits


def _board(board: Sequence[PredictionScore]) -> Table | Text:
    if not board or not board[0].n_tokens:
        return Text("No predictor could be scored on documents held out.")
    table = _table("What comes next: mean over layers, on documents held out")
    table.add_column("predictor", overflow="fold")
    for heading in (*(words for _, words in _BOARD), "log loss (bits)"):
        table.add_column(heading, justify="right")
    reasons = {}
    for score in board:
        estimates = [score.estimate(name) for name, _ in _BOARD]
        loss = score.estimate("log_loss_bits")
        for reason in [e.reason for e in (*estimates, loss) if e.reason and e.value != e.value]:
            reasons[reason] = None
        cells = [number(estimate.value, 3) for estimate in estimates]
        table.add_row(score.predictor, *cells, number(loss.value, 4))
    table.caption = "; ".join(f"–: {reason}" for reason in reasons)
    return table


def _load(study: Study) -> Text:
    known = [load for load in study.loads if load.balance.n_tokens]
    if not known:
        return Text("Load: no tokens were counted.")
    worst = max(known, key=lambda load: load.balance.load_max_over_mean)
    dead = sum(len(load.balance.dead_experts) for load in known)
    return Text.assemble(
        ("Load ", "bold"),
        f"most uneven in layer {worst.router.layer}: its busiest expert has "
        f"{number(worst.balance.load_max_over_mean, 3)} times the mean load; "
        + ("no expert unused." if not dead else f"{dead} experts unused in this trace."),
    )


def _paths(console: Console, study: Study) -> None:
    found: PathFinding = study.paths
    console.print()
    console.print(Text("Dominant paths of the fitted chain (not tested)", style="bold"))
    rows = zip(
        found.dominant.states, found.dominant.log2_probability, found.dominant_tokens, strict=True
    )
    for states, bits, tokens in list(rows)[:TOP_PATHS]:
        words = [_word(router, int(state), study.states) for router, state in zip(study.routers, states, strict=True)]
        shown = " → ".join(words[:PATH_LAYERS]) + (" → …" if len(words) > PATH_LAYERS else "")
        console.print(Text(f"  {shown}   2^{number(bits, 3)}, taken by {int(tokens):,} tokens"))


def _word(router: Router, state: int, view: str) -> str:
    if view == "expert":
        return str(state)
    return ",".join(map(str, router.alphabet.unrank(state).tolist()))


def _interval(low: float, high: float) -> str:
    return "–" if low != low else f"{number(low, 3)} … {number(high, 3)}"


def _one_line(text: str) -> str:
    """Trace text without line breaks or control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", caption_justify="left", box=None, pad_edge=False)
