"""What the data set does to predictors, in the terminal: fitted to other documents, and by domain, phase and depth."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from routestat.forecast.effect_of_data import DataEffect
from routestat.inference.base.estimate import Estimate
from routestat.report.numbers import interval, number
from routestat.report.terminal.console import new_table, print_titled, why_undefined
from routestat.study.data_set import DataSetFindings
from routestat.study.domain_matrix import DomainMatrix
from routestat.study.transfer import Transfer

_INTERVAL = "95 % interval"


def print_data_set(console: Console, found: DataSetFindings, best: str) -> None:
    """Print each part that was computed.

    Parameters
    ----------
    console : Console
    found : DataSetFindings
    best : str
        The predictor of the board with the highest recall: its matrix of domains is shown, if it has one.
    """
    notes = _sentences(found.notes)
    if found.transfer is not None:
        _print_transfer(console, found.transfer, notes)
    if found.domains is not None:
        _print_domains(console, found.domains, best, notes)
    if found.effect is not None:
        _print_effect(console, found.effect)


def _print_transfer(console: Console, found: Transfer, notes: Sequence[str]) -> None:
    title = "Fitted to another trace: recall@k, mean over layers"
    if not any(one.score.n_tokens for one in found.scores):
        print_titled(console, title, Text("No predictor could be scored."), notes)
        return
    table = new_table("predictor", "recall@k", _INTERVAL, "less than its own", _INTERVAL)
    reasons = []
    for one in found.scores:
        both = one.score.estimate("recall_at_k"), one.less_than_own("recall_at_k")
        table.add_row(one.score.predictor, *_cells(both))
        reasons += [estimate.reason for estimate in both]
    first = found.scores[0]
    said = (
        f"Fitted to {first.train}, scored on {first.test}. Its own: the same predictor, fitted to other documents of "
        f"{first.test}."
    )
    print_titled(console, title, table, [said, *notes, *why_undefined(reasons)])


def _print_domains(console: Console, found: DomainMatrix, best: str, notes: Sequence[str]) -> None:
    names = list(dict.fromkeys(one.score.predictor for one in found.scores))
    if not names:
        print_titled(
            console, "Fitted to other domains", Text(" ".join(notes) or "No predictor could be scored.")
        )
        return
    name = best if best in names else names[-1]
    table = new_table("fitted to", *found.domains)
    recall = {
        (one.train, one.test): one.score.estimate("recall_at_k").value
        for one in found.scores
        if one.score.predictor == name
    }
    for train in found.domains:
        table.add_row(train, *(number(recall[train, test]) for test in found.domains))
    left_out = [f"{domain} is left out: {why}." for domain, why in found.left_out]
    title = f"Fitted to other domains: recall@k of {name}, scored on the column's domain"
    print_titled(
        console, title, table, [*left_out, *notes, "Intervals and the other predictors are in the report."]
    )


def _print_effect(console: Console, found: DataEffect) -> None:
    title = f"What the data change: recall@k of {found.predictor} by domain, phase and depth"
    left_out = [f"{term} is left out: {why}." for term, why in found.left_out]
    if not found.terms:
        print_titled(console, title, Text(f"Not computed: {found.reason}."), left_out)
        return
    table = new_table("term", "change", _INTERVAL, "log10 p")
    for one in found.terms:
        table.add_row(one.term, *_cells([one.estimate]), number(one.log10_p))
    references = f"The reference is {found.terms[0].reference}." if found.terms[0].reference else ""
    reasons = why_undefined(one.estimate.reason for one in found.terms)
    print_titled(console, title, table, [one for one in (references, *left_out, *reasons) if one])


def _cells(estimates: Iterable[Estimate]) -> list[str]:
    found = []
    for one in estimates:
        known = math.isfinite(one.low)
        found += [number(one.value), interval(one.low, one.high) if known else "–"]
    return found


def _sentences(notes: Iterable[str]) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in notes]
