"""The summary that `compare` prints, sorted by effect; text of the traces is never read as markup."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from routestat.inference.two_sample.distributions import DistributionDifference
from routestat.report.cautions import Cautions
from routestat.report.numbers import interval, many, number
from routestat.report.records.comparison_structure import blocks_sentence, routes_sentence
from routestat.report.terminal.console import (
    new_console,
    new_table,
    one_line,
    print_notes,
    print_report_path,
    print_titled,
    why_undefined,
)
from routestat.study.comparison import LayerComparison, Side, TraceComparison
from routestat.traces.metadata import Router

TOP = 5
SIGNIFICANT = -1.3010299956639813


def summarise(findings: TraceComparison, page: Path) -> None:
    """Print which layers and transitions differ most and where the rest is, to stdout; 80 columns when piped."""
    console = new_console()
    for letter, side in (("A", findings.a), ("B", findings.b)):
        console.print(Text(f"{letter}  {_described(side)}"))
    print_notes(console, findings.notes)
    _layers(console, findings)
    _flips(console, findings.layers)
    _transitions(console, findings)
    _structure(console, findings)
    _figures(console, findings.layers)
    print_report_path(console, page)


def _described(side: Side) -> str:
    size = f"{many(side.n_tokens, 'token')} of {many(side.n_documents, 'document')}"
    size += f" ({many(side.units.n_clusters, 'cluster')})"
    parts = [side.path, f"domain {side.domain}" if side.domain else "", side.meta.precision, size]
    return " · ".join(one_line(part) for part in parts if part)


def _layer(findings: TraceComparison, router: Router) -> str:
    """Return the number of a layer in A and, after =, in B where that differs."""
    other = findings.layers_of_b.get(router.name)
    return str(router.layer) if other in (None, router.layer) else f"{router.layer}={other}"


def _bits(distribution: DistributionDifference) -> float:
    return (
        distribution.jsd_bits
        if distribution.jsd_bits == distribution.jsd_bits
        else distribution.jsd_bits_plugin
    )


def _plugin(distribution: DistributionDifference) -> str:
    """Return the caution where there is only the plug-in estimate."""
    return "" if distribution.jsd_bits == distribution.jsd_bits else "plug-in, biased upwards"


def _layers(console: Console, findings: TraceComparison) -> None:
    found = [
        (item, item.distribution)
        for item in findings.layers
        if item.distribution is not None and _bits(item.distribution) == _bits(item.distribution)
    ]
    if not found:
        unlike = all(item.distribution is None for item in findings.layers)
        why = "No layer has the same experts in both traces: see the report for statistics without labels."
        print_titled(console, "Loads", Text(why if unlike else "No layer has tokens in both."))
        return
    marks = Cautions()
    table = new_table("layer", "bits", "95 % interval", "variation", "by chance", "log10 p", "differ")
    for item, distribution in sorted(found, key=lambda pair: -_bits(pair[1]))[:TOP]:
        table.add_row(
            _layer(findings, item.a),
            marks.beside(number(_bits(distribution)), _plugin(distribution)),
            interval(distribution.jsd_bits_low, distribution.jsd_bits_high),
            number(distribution.total_variation),
            number(distribution.total_variation_chance),
            number(distribution.log10_p_clustered),
            "–" if item.cells is None or item.cells.reason else str(int(item.cells.moved.sum())),
        )
    tested = [item for item, distribution in found if distribution.p_clustered == distribution.p_clustered]
    differ = sum(item.log10_q <= SIGNIFICANT for item in tested)
    below = [
        *marks.below,
        "bits: 0 is equal, 1 is nothing in common; variation: share of choices that would have to change",
    ]
    if tested:
        below.append(f"{differ} of {len(tested)} layers differ by more than chance over documents (q ≤ 0.05)")
    below += [
        f"note: {note}" for note in dict.fromkeys(distribution.note for _, distribution in found) if note
    ]
    below += why_undefined(
        [
            distribution.reason
            for _, distribution in found
            if distribution.p_clustered != distribution.p_clustered
        ]
    )
    print_titled(console, "Differences of the loads, largest first", table, below)


def _flips(console: Console, layers: Sequence[LayerComparison]) -> None:
    known = [(item.flips, item.a.layer) for item in layers if item.flips is not None]
    if not known:
        return
    least, most = (pick(known, key=lambda pair: pair[0].value) for pick in (min, max))
    console.print()
    if not most[0].value:
        console.print(Text("Token by token the same tokens have the same experts in every layer."))
        return
    console.print(
        Text.assemble(
            ("Token by token ", "bold"),
            f"the same tokens have different experts in {number(least[0].value)} (layer {least[1]}) to "
            f"{number(most[0].value)} (layer {most[1]}) of all cases.",
        )
    )


def _transitions(console: Console, findings: TraceComparison) -> None:
    transitions = findings.transitions
    known = [
        (item, item.difference.conditional, item.difference.joint) for item in transitions if item.difference
    ]
    known = [entry for entry in known if _bits(entry[1]) == _bits(entry[1])]
    if not known:
        return
    table, marks = (
        new_table("layers", "given source", "95 % interval", "log10 p", "joint bits", "log10 p joint"),
        Cautions(),
    )
    for item, given, joint in sorted(known, key=lambda entry: -_bits(entry[1]))[:TOP]:
        table.add_row(
            f"{_layer(findings, item.source)} → {_layer(findings, item.target)}",
            marks.beside(number(_bits(given)), item.caution, _plugin(given)),
            interval(given.jsd_bits_low, given.jsd_bits_high),
            number(given.log10_p_clustered),
            marks.beside(number(_bits(joint)), item.caution, _plugin(joint)),
            number(joint.log10_p_clustered),
        )
    tested = [item for item, given, _ in known if given.p_clustered == given.p_clustered]
    differ = sum(item.log10_q_conditional <= SIGNIFICANT for item in tested)
    below = list(marks.below)
    below += [
        "given source: divergence of the next choice that the load of the source does not explain, in bits"
    ]
    if tested:
        below.append(f"{differ} of {len(tested)} transitions differ given their source (q ≤ 0.05)")
    below += why_undefined([given.reason for _, given, _ in known if given.p_clustered != given.p_clustered])
    print_titled(console, "Differences of the transitions, largest first", table, below)


def _structure(console: Console, findings: TraceComparison) -> None:
    if findings.structure is None:
        return
    console.print()
    console.print(Text.assemble(("Blocks ", "bold"), blocks_sentence(findings)))
    console.print()
    console.print(Text.assemble(("Routes ", "bold"), routes_sentence(findings)))


def _figures(console: Console, layers: Sequence[LayerComparison]) -> None:
    known = [
        item
        for item in layers
        if item.figures["load_gini"].difference == item.figures["load_gini"].difference
    ]
    widest = max(known, key=lambda item: abs(item.figures["load_gini"].difference), default=None)
    if widest is None:
        return
    gini = widest.figures["load_gini"]
    untested = f" Whether that is chance could not be tested: {gini.reason}." if gini.reason else ""
    console.print()
    console.print(
        Text.assemble(
            ("Evenness ", "bold"),
            f"differs most in layer {widest.a.layer}: Gini of the load {number(gini.a)} in A, {number(gini.b)} in B "
            f"(difference {number(gini.difference)}, 95 % interval {interval(gini.low, gini.high)}).{untested}",
        )
    )
