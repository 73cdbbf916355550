"""The summary that `analyze` prints; text of the trace is never read as markup."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from routestat.forecast import catalogue
from routestat.forecast.scores import PredictionScore
from routestat.report.cautions import NONE, Cautions
from routestat.report.html.page import number
from routestat.report.records.memory import contexts_mean
from routestat.report.records.parts import parts_cautions
from routestat.report.sentences import reading
from routestat.study.decomposition import Decomposition
from routestat.study.trace_study import Dependence, PathFinding, Study
from routestat.traces.metadata import Router
from routestat.traces.number_ranges import span

TOP_PAIRS = 64
TOP_PATHS = 3
# Layers of a path shown on one line; the report has all of them.
PATH_LAYERS = 6
_BOARD = {
    "exact_set": "exact set",
    "recall_at_k": "recall@k",
    "top1_hit": "top-1 hit",
    "log_loss_bits": "log loss",
}


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
    _dependence(console, study)
    answer, *rates = study.calibration.sentences()
    _titled(console, "Can these p-values be trusted?", Text(answer), rates)
    _memory(console, study)
    _bayes(console, study)
    _board(console, study.mean_board)
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
    facts = [
        f"{_many(study.n_tokens, 'token')} of {_many(study.n_documents, 'document')} "
        f"({_many(study.units.n_clusters, 'cluster')})",
        f"layer{'s' if len(study.routers) > 1 else ''} {span([router.layer for router in study.routers])}",
        f"{router.n_experts} experts, top {router.top_k}",
        "state view" if study.states == "subset" else "expert view",
    ]
    console.print(Text(" · ".join(facts)))
    for note in study.notes:
        console.print(Text("note: " + _one_line(note), style="yellow"))


def _dependence(console: Console, study: Study) -> None:
    if not study.dependence:
        _titled(console, "Dependence between layers", Text("One layer only: there is none to look at."))
        return
    unit = "bits per token" if study.states == "subset" else "bits per pair of slots"
    table = _table("layers", "MI", "95 % interval", "within doc", "beyond types", "given token", "log10 p")
    parts, marks = {item.target.name: item for item in study.parts}, Cautions()
    shown = sorted(study.dependence, key=_strength)[:TOP_PAIRS]
    for item in shown:
        information, part = item.information, parts[item.target.name]
        table.add_row(
            f"{item.source.layer} → {item.target.layer}",
            marks.beside(number(information.mi_bits), item.scarce.caution),
            _interval(information.low, information.high) if item.scarce.covered else NONE,
            *_parts_of(item, part, marks),
            number(item.test.log10_p_clustered),
        )
    more, note = len(study.dependence) - TOP_PAIRS, study.parts[0].note
    below = [f"{more} more in the report"] if more > 0 else []
    below += [f"beyond types and given token rest {note}"] if note else []
    reasons: list[str | None] = [item.scarce.reason for item in shown]
    reasons += [reason for item in study.dependence for reason in (item.information.reason, item.test.reason)]
    reasons += [reason for item in study.parts for reason in (item.within.reason, *item.reasons)]
    title = f"Dependence between layers, strongest first ({unit})"
    notes = [f"note: {note}" for note in dict.fromkeys(item.test.note for item in study.dependence) if note]
    _titled(console, title, table, [*marks.below, *below, *_reading(study), *notes, *_why(reasons)])


def _parts_of(item: Dependence, part: Decomposition, marks: Cautions) -> tuple[str, str, str]:
    """What is left within documents, beyond token types and given the token, each with the marks of its cautions."""
    own, scarce = parts_cautions(part), item.scarce.caution
    beyond = part.vocabulary.beyond_bits if part.vocabulary else None
    given = part.given_token.information.mi_bits if part.given_token else None
    return (
        marks.beside(number(part.within.mi_bits), scarce, own.get("mi_bits_within_document")),
        marks.beside(number(beyond), scarce),
        marks.beside(number(given), own.get("mi_bits_given_token")),
    )


def _reading(study: Study) -> list[str]:
    """The columns in words, on the strongest pair; not where its numbers cannot be read."""
    item = min(study.dependence, key=_strength)
    bits = item.information.mi_bits
    units = "log10 p takes clusters of documents as the units."
    if bits != bits:
        why = item.information.reason
        return [f"Whether the layers depend on each other or not cannot be said: {why}."] if why else []
    if item.scarce.caution:
        return [f"Bits with a mark are to be read with the caution above. {units}"]
    part = {one.target.name: one for one in study.parts}[item.target.name]
    words = [
        f"Reading the first line: what layer {item.source.layer} chose tells {number(bits)} bits about layer "
        f"{item.target.layer}'s choice"
    ]
    if "mi_bits_within_document" not in parts_cautions(part) and part.within.mi_bits == part.within.mi_bits:
        words.append(
            f"{number(part.within.mi_bits)} of them are left once each document is given its own loads"
        )
    if part.vocabulary is not None and part.given_token is not None:
        given, nothing = part.given_token.information.mi_bits, part.given_token.shuffled_bits
        left = f"among tokens of one type {number(given)} are left"
        if "mi_bits_given_token" in parts_cautions(part):
            left = (
                f"what is left among tokens of one type cannot be told: {number(given)} are found, and "
                f"{number(nothing)} where there is nothing"
            )
        words.append(
            f"{number(part.vocabulary.beyond_bits)} are more than any two functions of the token type share; {left}"
        )
    return ["; ".join(words) + f". {units}"]


def _strength(item: Dependence) -> tuple[bool, float]:
    """Sorts by falling information, undefined last."""
    bits = item.information.mi_bits
    return bits != bits, -bits


def _memory(console: Console, study: Study) -> None:
    """What contexts save, each over the next shorter of its kind, and the sentences."""
    rows = contexts_mean(study.memory)
    if not any(math.isfinite(row["log_loss_bits"]) for row in rows):
        _titled(console, "How long is the memory?", Text(" ".join(reading(study.memory))))
        return
    table, marks = _table("given", "log loss (bits)", "saves", "95 % interval"), Cautions()
    for row in rows:
        caution, saved = row.get("caution"), ("", "")
        if "gain_bits" in row:
            saved = marks.beside(number(row["gain_bits"]), caution), _interval(*row["gain_bits_ci95"])
        table.add_row(row["given"], marks.beside(number(row["log_loss_bits"]), caution), *saved)
    layers = [item.target.layer for item in study.memory.compared]
    where = f"Mean over layer{'s' if len(layers) > 1 else ''} {span(layers)}, on documents held out"
    below = [*marks.below, "saves: against the next shorter context of the same kind"]
    below += [f"all of this rests {study.memory.note}"] if study.memory.note else []
    below += [*_why(row.get("reason") for row in rows), *reading(study.memory)]
    _titled(console, f"How long is the memory? {where}", table, below)


def _bayes(console: Console, study: Study) -> None:
    if study.bayes is None:
        return
    converged = (
        "All samplers converged" if study.bayes.converged else "Not every sampler converged: see the report"
    )
    said = [f"{converged}; left-out documents: {study.bayes.comparison.reading()}."]
    said += [
        f"Order {one.order}: {one.checks.reading()}." for one in study.bayes.orders if not one.checks.reason
    ]
    said += [f"All of this rests {study.bayes.note}."] if study.bayes.note else []
    _titled(console, "Full Bayes of the smoothing", Text(" ".join(said)))


def _board(console: Console, board: Sequence[PredictionScore]) -> None:
    title = "What comes next: mean over layers, on documents held out"
    if not board or not board[0].n_tokens:
        _titled(console, title, Text("No predictor could be scored."))
        return
    table = _table("predictor", *_BOARD.values())
    shown, reasons = _best_of_each(board), []
    for score in shown:
        estimates = [score.estimate(name) for name in _BOARD]
        table.add_row(score.predictor, *(number(estimate.value) for estimate in estimates))
        reasons += [estimate.reason for estimate in estimates if estimate.value != estimate.value]
    more = len(board) - len(shown)
    below = [f"The best of each family, by log loss in bits; {more} more in the report."] if more else []
    _titled(console, title, table, [*below, *_why(reasons)])


def _best_of_each(board: Sequence[PredictionScore]) -> list[PredictionScore]:
    """The baselines, and of every kind of predictor the one of least log loss."""
    families: dict[str, list[PredictionScore]] = {}
    for score in board:
        families.setdefault(catalogue.family(score.predictor), []).append(score)
    best = {
        id(min(family, key=lambda score: score.estimate("log_loss_bits").value))
        for family in families.values()
    }
    return [score for score in board if id(score) in best]


def _load(study: Study) -> Text:
    known = [load for load in study.loads if load.balance.n_tokens]
    if not known:
        return Text("Load: no tokens were counted.")
    worst = max(known, key=lambda load: load.balance.load_max_over_mean)
    dead = sum(len(load.balance.dead_experts) for load in known)
    return Text.assemble(
        ("Load ", "bold"),
        f"most uneven in layer {worst.router.layer}: its busiest expert has "
        f"{number(worst.balance.load_max_over_mean)} times the mean load; "
        + (f"{_many(dead, 'expert')} unused in this trace." if dead else "no expert unused."),
    )


def _paths(console: Console, study: Study) -> None:
    found: PathFinding = study.paths
    console.print()
    console.print(Text("Dominant paths of the fitted chain of order 1 (not tested)", style="bold"))
    rows = zip(found.dominant.states, found.dominant.log2_probability, found.dominant_tokens, strict=True)
    for states, bits, tokens in list(rows)[:TOP_PATHS]:
        words = [
            _word(router, int(state), study.states)
            for router, state in zip(study.routers, states, strict=True)
        ]
        shown = " → ".join(words[:PATH_LAYERS]) + (" → …" if len(words) > PATH_LAYERS else "")
        console.print(Text(f"  {shown}   2^{number(bits)}, taken by {_many(int(tokens), 'token')}"))


def _word(router: Router, state: int, view: str) -> str:
    if view == "expert":
        return str(state)
    return ",".join(map(str, router.alphabet.unrank(state).tolist()))


def _interval(low: float, high: float) -> str:
    return "–" if low != low else f"{number(low)} … {number(high)}"


def _one_line(text: str) -> str:
    """Trace text without line breaks or control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _why(reasons: Iterable[str | None]) -> list[str]:
    """Why something is –, each reason once."""
    return [f"–: {reason}" for reason in dict.fromkeys(reasons) if reason]


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _titled(console: Console, title: str, body: Table | Text, below: Sequence[str] = ()) -> None:
    """A title of its own: rich would fold a table's title to the table's width."""
    console.print()
    console.print(Text(title, style="bold"))
    console.print(body)
    for line in below:
        console.print(Text(line, style="dim"))
