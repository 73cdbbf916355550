"""The summary that `analyze` prints; text of the trace is never read as markup."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from routestat.report.cautions import Cautions
from routestat.report.numbers import interval, many, number
from routestat.report.records.layer_pairs import by_information, part_cautions, terminal_columns
from routestat.report.records.memory import contexts_mean
from routestat.report.records.pair_statistic import Cell, PairStatistic, cell
from routestat.report.sentences import memory_sentences
from routestat.report.terminal.board import print_board
from routestat.report.terminal.console import (
    new_console,
    new_table,
    one_line,
    print_notes,
    print_report_path,
    print_titled,
    why_undefined,
)
from routestat.report.terminal.data_set import print_data_set
from routestat.report.terminal.paths import print_paths
from routestat.report.terminal.structure import print_structure
from routestat.study.layer_pairs import LayerPair
from routestat.study.memory import Memory
from routestat.study.trace_study import Study
from routestat.traces.number_ranges import span

TOP_PAIRS = 64


def summarise(study: Study, page: Path) -> None:
    """Print what matters most and where the rest is, to stdout; 80 columns when piped.

    Parameters
    ----------
    study : Study
    page : path
        The report's index.html.
    """
    console = new_console()
    _header(console, study)
    if study.pairs is not None:
        _dependence(console, study, study.pairs)
    if study.level_checks is not None:
        answer, *rates = study.level_checks.sentences()
        print_titled(console, "Can these p-values be trusted?", Text(answer), rates)
    if study.memory is not None:
        _memory(console, study.memory)
    _bayes(console, study)
    if study.board is not None:
        print_board(console, study.board)
    if study.data_set is not None and study.board is not None:
        print_data_set(console, study.data_set, study.board.best)
    console.print()
    console.print(_load(study))
    if study.paths is not None:
        print_paths(console, study, study.paths)
    print_structure(console, study)
    print_report_path(console, page)


def _header(console: Console, study: Study) -> None:
    meta = study.meta
    console.print(Text(" · ".join(one_line(part) for part in (meta.name, meta.model, meta.dataset) if part)))
    router = study.routers[0]
    facts = [
        f"{many(study.n_tokens, 'token')} of {many(study.n_documents, 'document')} "
        f"({many(study.units.n_clusters, 'cluster')})",
        f"layer{'s' if len(study.routers) > 1 else ''} {span([router.layer for router in study.routers])}",
        f"{router.n_experts} experts, top {router.top_k}",
        "state view" if study.states == "subset" else "expert view",
    ]
    console.print(Text(" · ".join(facts)))
    print_notes(console, study.notes)


def _dependence(console: Console, study: Study, pairs: Sequence[LayerPair]) -> None:
    if not pairs:
        print_titled(console, "Dependence between layers", Text("There is one layer only."))
        return
    unit = "bits per token" if study.states == "subset" else "bits per pair of slots"
    columns, marks = terminal_columns(), Cautions()
    table = new_table("layers", *_headings(columns))
    shown = by_information(pairs)[:TOP_PAIRS]
    for pair in shown:
        cells = [part for column in columns for part in _cells(column, cell(column, pair), marks)]
        table.add_row(f"{pair.source.layer} → {pair.target.layer}", *cells)
    more, note = len(pairs) - TOP_PAIRS, pairs[0].sample_note
    below = [f"{more} more in the report"] if more > 0 else []
    below += [f"beyond types and given token are computed {note}"] if note else []
    reasons: list[str | None] = [pair.scarce.reason for pair in shown]
    reasons += [reason for pair in pairs for reason in (pair.information.reason, pair.test.reason)]
    reasons += [reason for pair in pairs for reason in (pair.within.reason, *pair.reasons)]
    title = f"Dependence between layers, strongest first ({unit})"
    notes = [f"note: {note}" for note in dict.fromkeys(pair.test.note for pair in pairs) if note]
    print_titled(
        console, title, table, [*marks.below, *below, *_reading(pairs), *notes, *why_undefined(reasons)]
    )


def _headings(columns: Sequence[PairStatistic]) -> list[str]:
    shown = [one.terminal for one in columns if one.terminal is not None]
    return [
        text for one in shown for text in ([one.heading, "95 % interval"] if one.interval else [one.heading])
    ]


def _cells(column: PairStatistic, found: Cell, marks: Cautions) -> list[str]:
    """Return the text of a value and, where it has a column of its own, of its interval."""
    value = marks.beside(number(found.value), *found.cautions)
    return (
        [value, interval(found.low, found.high)] if column.terminal and column.terminal.interval else [value]
    )


def _reading(pairs: Sequence[LayerPair]) -> list[str]:
    """Explain the columns by the strongest pair; a sentence less where its numbers have cautions."""
    item = by_information(pairs)[0]
    bits = item.information.mi_bits
    units = "log10 p takes clusters of documents as the units."
    if bits != bits:
        why = item.information.reason
        return [f"Whether the layers depend on each other could not be measured: {why}."] if why else []
    if item.scarce.caution:
        return [f"Bits with a mark have the caution above. {units}"]
    words = [
        f"Reading the first line: the choices of layers {item.source.layer} and {item.target.layer} share "
        f"{number(bits)} bits"
    ]
    if "mi_bits_within_document" not in part_cautions(item) and item.within.mi_bits == item.within.mi_bits:
        words.append(f"{number(item.within.mi_bits)} of them are shared within documents")
    if item.token_types is not None and item.given_token is not None:
        given, nothing = item.given_token.information.mi_bits, item.given_token.shuffled_bits
        left = f"among tokens of one type they share {number(given)}"
        if "mi_bits_given_token" in part_cautions(item):
            left = (
                f"among tokens of one type the estimate of {number(given)} is near its noise floor of "
                f"{number(nothing)}"
            )
        words.append(f"{number(item.token_types.beyond_bits)} are not explained by the token type; {left}")
    return ["; ".join(words) + f". {units}"]


def _memory(console: Console, memory: Memory) -> None:
    """Print what contexts save, each over the next shorter of its kind, and the sentences on the memory."""
    rows = contexts_mean(memory)
    if not any(math.isfinite(row["log_loss_bits"]) for row in rows):
        print_titled(console, "How long is the memory?", Text(" ".join(memory_sentences(memory))))
        return
    table, marks = new_table("given", "log loss (bits)", "saves", "95 % interval"), Cautions()
    for row in rows:
        caution, saved = row.get("caution"), ("", "")
        if "gain_bits" in row:
            saved = marks.beside(number(row["gain_bits"]), caution), interval(*row["gain_bits_ci95"])
        table.add_row(row["given"], marks.beside(number(row["log_loss_bits"]), caution), *saved)
    layers = [item.target.layer for item in memory.compared]
    where = f"Mean over layer{'s' if len(layers) > 1 else ''} {span(layers)}, on held-out documents"
    below = [*marks.below, "saves: against the next shorter context of the same kind"]
    below += [f"all of this is computed {memory.note}"] if memory.note else []
    below += [*why_undefined(row.get("reason") for row in rows), *memory_sentences(memory)]
    print_titled(console, f"How long is the memory? {where}", table, below)


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
    said += [f"All of this is computed {study.bayes.note}."] if study.bayes.note else []
    print_titled(console, "Full Bayes of the smoothing", Text(" ".join(said)))


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
        + (f"{many(dead, 'expert')} unused in this trace." if dead else "no expert unused."),
    )
