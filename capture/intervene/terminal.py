"""Effects of forced choices as tables in the terminal; 80 columns when piped."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from capture.intervene.effects import TreatmentEffect
from capture.intervene.records import CSV_FILE, JSON_FILE, by_difference, notes, source_fields
from capture.intervene.stored_run import StoredRun
from capture.intervene.treatment import NATURAL
from routestat.inference.base.estimate import Estimate
from routestat.inference.two_sample.intervention import TargetDifference, TargetDistribution

_NEVER_OBSERVED = "there is no P(next | observed) to compare with; rows are by do − P(next)."


def print_effects(
    effects: Sequence[TreatmentEffect], natural: StoredRun, weights_of: str, top: int, out: Path
) -> None:
    """Print the largest differences, and the files that hold all of them.

    Parameters
    ----------
    effects : sequence of TreatmentEffect
    natural : StoredRun
    weights_of : str
        Variant of the forced experts' weights.
    top : int
        Rows of each table.
    out : Path
        Folder of the files.
    """
    console = Console(highlight=False)
    source = effects[0].treatment.router
    console.print(
        f"{natural.meta.model}, layer {source.layer}: {_count(len(natural.document), 'token')} of "
        f"{_count(natural.n_documents, 'document')}, weights {weights_of}",
        markup=False,
    )
    for note in notes(natural):
        console.print(Text(f"note: {note}", style="yellow"))
    for one in (one for one in effects if one.source is None):
        if one.treatment.kind == NATURAL:
            _print_natural(console, one)
        else:
            _print_effect(console, one, top)
    drawn = [one for one in effects if one.source is not None]
    for target in dict.fromkeys(one.target for one in drawn):
        _print_random(console, [one for one in drawn if one.target == target], top)
    console.print()
    console.print("± is half of a 95 % interval over documents, of one row at a time.", style="dim")
    console.print(f"All of it: {out / JSON_FILE}, {out / CSV_FILE}", soft_wrap=True, markup=False)


def _print_effect(console: Console, one: TreatmentEffect, top: int) -> None:
    effect, router = one.effect, one.treatment.router
    console.print()
    console.print(
        Text(f"{one.treatment.description} at layer {router.layer} → layer {one.target.layer}", style="bold")
    )
    chose = f"{effect.observed.n_tokens:,} of {effect.natural.n_tokens:,} tokens chose it by themselves."
    console.print(chose if effect.observed.n_tokens else f"No token chose it by itself: {_NEVER_OBSERVED}")
    what = "state" if one.states == "subset" else "expert"
    table = Table(box=None, pad_edge=False)
    for name in (what, *(["experts"] if what == "state" else [])):
        table.add_column(name, justify="right")
    against = "observed" if effect.observed.n_tokens else "P(next)"
    for name in ("P(next|do)", "P(next|observed)", "P(next)", f"do − {against}"):
        table.add_column(name, justify="right", no_wrap=True)
    for target in by_difference(one).tolist()[:top]:
        named = [str(target)]
        if what == "state":
            named.append(", ".join(map(str, one.target.alphabet.unrank(target).tolist())))
        table.add_row(
            *named,
            _cell(effect.do, target),
            _cell(effect.observed, target),
            f"{effect.natural.probability[target]:.3f}",
            _cell(effect.beyond_observed if effect.observed.n_tokens else effect.beyond_natural, target, "+"),
        )
    console.print(table)
    if what == "expert":
        console.print(f"Probability that an expert is among the {one.target.top_k} chosen.")
    if effect.observed.n_tokens:
        console.print(_divergence("observed", effect.beyond_observed))
    console.print(_divergence("all tokens", effect.beyond_natural))
    console.print(_changed(one))


def _print_natural(console: Console, one: TreatmentEffect) -> None:
    console.print()
    where = f"at layer {one.treatment.router.layer} → layer {one.target.layer}"
    console.print(Text(f"{one.treatment.description} {where}", style="bold"))
    console.print(_changed(one))


def _print_random(console: Console, drawn: Sequence[TreatmentEffect], top: int) -> None:
    first = drawn[0]
    console.print()
    where = f"at layer {first.treatment.router.layer} → layer {first.target.layer}"
    console.print(Text(f"{first.treatment.description}, {where}", style="bold"))
    what = "state" if first.states == "subset" else "expert"
    table = Table(box=None, pad_edge=False)
    table.add_column(what, justify="right")
    if what == "state":
        table.add_column("experts", justify="right")
    for name in ("tokens", "observed", "JS to observed", "JS to all", "changed"):
        table.add_column(name, justify="right", no_wrap=True)
    by = sorted(drawn, key=lambda one: -np.nan_to_num(one.effect.beyond_observed.js_bits.value, nan=-1.0))
    for one in by[:top]:
        named, effect = source_fields(one), one.effect
        table.add_row(
            str(named[what]),
            *([", ".join(map(str, named["experts"]))] if what == "state" else []),
            f"{effect.do.n_tokens:,}",
            f"{effect.observed.n_tokens:,}",
            _plus_minus(effect.beyond_observed.js_bits),
            _plus_minus(effect.beyond_natural.js_bits),
            _plus_minus(one.changed),
        )
    console.print(table)
    tokens = sum(one.effect.do.n_tokens for one in drawn)
    changed = sum(one.effect.do.n_tokens * one.changed.value for one in drawn) / tokens
    console.print(
        f"JS: Jensen–Shannon divergence in bits of P(next | do) from P(next | observed) of that {what}, and from "
        f"P(next) of all tokens. changed: share of tokens that choose otherwise at layer {first.target.layer}; "
        f"{changed:.3f} over all {len(drawn)} {what}s."
    )


def _divergence(words: str, difference: TargetDifference) -> str:
    bits, variation = _plus_minus(difference.js_bits), difference.total_variation
    return f"do from {words}: Jensen–Shannon {bits} bits, total variation {variation:.3f}"


def _changed(one: TreatmentEffect) -> str:
    return f"changed: {_plus_minus(one.changed)} of tokens choose otherwise, {_plus_minus(one.recall)} of experts stay"


def _cell(estimates: TargetDistribution | TargetDifference, target: int, sign: str = "") -> str:
    value = estimates.probability if isinstance(estimates, TargetDistribution) else estimates.value
    if math.isnan(value[target]):
        return "–"
    half = (estimates.high[target] - estimates.low[target]) / 2
    return f"{value[target]:{sign}.3f}" + ("" if math.isnan(half) else f" ±{half:.3f}")


def _plus_minus(estimate: Estimate) -> str:
    half = (estimate.high - estimate.low) / 2
    return _decimals(estimate.value) + ("" if math.isnan(half) else f" ±{half:.3f}")


def _decimals(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
