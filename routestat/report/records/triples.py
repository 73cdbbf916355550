"""`triples` and `triple_cells` of results.json, and the files of the cells and margins of three layers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.inference.information.scarcity import COVERED_PER_CELL
from routestat.report.numbers import experts_words, interval, many, number
from routestat.report.records.plain import Record, caution, note, reason, subset_words
from routestat.study.triples import FOUND, CellTable, TripleFinding, departing, most_informative
from routestat.traces.metadata import Router

#: Cells of each kind in results.json; the files have more.
SHOWN = 10


def triples_records(found: Sequence[TripleFinding], states: str) -> Record:
    """Return the keys of results.json that hold these findings."""
    best = most_informative(found)
    rows = [triple_record(item) | {"most_informative": place == best} for place, item in enumerate(found)]
    return {
        "triples": rows,
        "triples_reading": triples_reading(found),
        "triple_cells": [record for item in found for record in _cells(item, states)],
    }


def triple_record(item: TripleFinding) -> Record:
    """Return the record of three layers."""
    information = item.information
    doubtful = _doubt(item) or None
    return {
        **_layers(item),
        "n_tokens": item.n_tokens,
        "n_documents": item.n_documents,
        **_estimate("mi_bits_first_middle", information.first_middle),
        **_estimate("mi_bits_middle_last", information.middle_last),
        **_estimate("mi_bits_first_last", information.first_last),
        **_estimate("cmi_bits", information.given_middle),
        "cmi_bits_shuffled": item.shuffled_bits,
        **_estimate("interaction_bits", information.interaction),
        **_estimate("total_correlation_bits", information.total_correlation),
        "n_cells": item.n_cells,
        "n_cells_possible": item.n_possible,
        "n_cells_tested": item.table.chain.n_tested,
        "n_cells_more_than_chain": item.n_more,
        "n_cells_fewer_than_chain": item.n_fewer,
        **reason(information.interaction.reason, item.table.chain.reason),
        **note(item.sample_note),
        **caution(cmi_bits=doubtful, interaction_bits=doubtful, total_correlation_bits=doubtful),
    }


def _doubt(item: TripleFinding) -> str:
    """Return why the information of three layers cannot be trusted; empty where it can."""
    if item.is_near_noise_floor:
        return "too few tokens: near the noise floor"
    if item.n_tokens < COVERED_PER_CELL * item.n_possible:
        return (
            f"only {number(item.n_tokens / max(1, item.n_possible))} tokens per cell that could have some: below "
            f"{COVERED_PER_CELL} the estimate is biased by more than its interval shows"
        )
    return ""


def triples_reading(found: Sequence[TripleFinding]) -> str:
    """Describe what three consecutive layers share, the answer first."""
    place = most_informative(found)
    if place is None:
        return "No three consecutive layers have a token with a choice at each."
    shown = found[place]
    name = "layers " + ", ".join(str(router.layer) for router in shown.routers)
    tests = shown.table.chain
    counted = many(tests.n_tested, "tested cell")
    cells = f"{shown.n_more + shown.n_fewer:,} of {counted} differ significantly from the chain of order 1"
    given = shown.information.given_middle
    if not math.isfinite(given.low):
        if tests.reason:
            return f"Nothing is tested at {name}: {tests.reason}."
        return f"Most differences from the chain of order 1 are at {name}: {cells} (q < {FOUND})."
    clear = [
        item
        for item in found
        if not item.is_near_noise_floor and item.information.given_middle.low > max(0.0, item.shuffled_bits)
    ]
    triples = many(len(found), "set") + " of three consecutive layers"
    said = (
        f"In {len(clear):,} of {triples} the first layer adds information on the last to that of the middle one"
        if clear
        else f"In none of {triples} does the first layer clearly add information on the last to that of the middle one"
    )
    if doubt := _doubt(shown):
        return (
            f"{said}. The largest estimate, {number(given.value)} bits at {name}, cannot be relied on ({doubt}); "
            f"{cells} (q < {FOUND})."
        )
    mixed = shown.information.interaction
    kind = (
        "synergy"
        if mixed.high < 0
        else "redundancy"
        if mixed.low > 0
        else "neither synergy nor redundancy is clear"
    )
    return (
        f"{said}, most at {name}: {number(given.value)} bits ({interval(given.low, given.high)}). "
        f"The interaction information is {number(mixed.value)} bits there "
        f"({interval(mixed.low, mixed.high)}; {kind}), and {cells} (q < {FOUND})."
    )


def triple_files(item: TripleFinding) -> tuple[str, ...]:
    """Return the names of the tables of cells and margins of three layers, without ending; none without tokens."""
    name = "triple-" + "-".join(router.name for router in item.routers)
    return (name, f"{name}-margins") if item.n_tokens else ()


def cell_columns(item: TripleFinding, states: str) -> dict[str, NDArray[Any]]:
    """Return the listed cells of three layers column by column `[cell]`, in single precision."""
    table, n = item.table, max(1, item.n_tokens)
    columns = {
        **_choice_columns(item, table.choices, states),
        "count": table.count,
        "documents": table.documents,
        "joint": table.count / n,
        "first_middle_tokens": table.pair_tokens,
        "conditional": table.conditional,
        "expected_independent": table.independent.expected,
        "lift_independent": _lift(table.count, table.independent.expected),
        "z_independent": table.independent.z,
        "log10_q_independent": table.independent.log10_q,
        "expected_chain": table.chain.expected,
        "lift_chain": _lift(table.count, table.chain.expected),
        "z_chain": table.chain.z,
        "log10_q_chain": table.chain.log10_q,
    }
    # The files of all layers have millions of numbers, of which the error is far above this precision.
    return {
        name: values.astype(np.float32) if values.dtype.kind == "f" else values
        for name, values in columns.items()
    }


def margin_columns(item: TripleFinding, states: str) -> dict[str, NDArray[Any]]:
    """Return the tokens of every one and two of three layers; a layer that is summed over has no choice."""
    table = item.margins
    return {
        **_choice_columns(item, table.choices, states),
        "count": table.count,
        "joint": table.count / max(1, item.n_tokens),
        "lift_independent": _lift(table.count, table.expected),
    }


def _layers(item: TripleFinding) -> Record:
    names = "first", "middle", "last"
    numbers = {name: router.layer for name, router in zip(names, item.routers, strict=True)}
    return numbers | {f"{name}_router": router.name for name, router in zip(names, item.routers, strict=True)}


def _estimate(key: str, found: Estimate) -> Record:
    return {key: found.value, f"{key}_ci95": [found.low, found.high]}


def _cells(item: TripleFinding, states: str) -> list[Record]:
    """Return the cells with most tokens, and those that depart from the chain by most tokens."""
    table = item.table
    largest = np.arange(min(SHOWN, int(np.count_nonzero(table.count))))
    kinds = {"largest": largest, "departing": departing(table)[:SHOWN]}
    return [
        _cell(item, kind, table, place, states) for kind, places in kinds.items() for place in places.tolist()
    ]


def _cell(item: TripleFinding, kind: str, table: CellTable, place: int, states: str) -> Record:
    own = [int(choices[place]) for choices in table.choices]
    count = int(table.count[place])
    experts = [_experts(router, choice, states) for router, choice in zip(item.routers, own, strict=True)]
    return {
        "kind": kind,
        **_layers(item),
        "experts": [experts_words(one) for one in experts],
        "count": count,
        "n_documents": int(table.documents[place]),
        "joint": count / item.n_tokens,
        "first_middle_tokens": int(table.pair_tokens[place]),
        "conditional": float(table.conditional[place]),
        "expected_independent": float(table.independent.expected[place]),
        "lift_independent": count / float(table.independent.expected[place]),
        "z_independent": float(table.independent.z[place]),
        "log10_q_independent": float(table.independent.log10_q[place]),
        "expected_chain": float(table.chain.expected[place]),
        "lift_chain": count / float(table.chain.expected[place]),
        "z_chain": float(table.chain.z[place]),
        "log10_q_chain": float(table.chain.log10_q[place]),
        **reason(*(_untested(tests.reason, tests.z[place]) for tests in (table.independent, table.chain))),
    }


def _untested(why: str | None, z: float) -> str | None:
    if math.isfinite(z):
        return None
    return why or "not among the cells that were tested"


def _experts(router: Router, choice: int, states: str) -> list[int]:
    return [choice] if states == "expert" else router.alphabet.unrank(choice).tolist()


def _choice_columns(
    item: TripleFinding, choices: Sequence[NDArray[np.int64]], states: str
) -> dict[str, NDArray[Any]]:
    """Return the choices of three layers, as numbers and in the state view as experts; nothing for −1."""
    columns: dict[str, NDArray[Any]] = {}
    for name, router, own in zip(("first", "middle", "last"), item.routers, choices, strict=True):
        # A column of whole numbers has no place for nothing.
        columns[name] = np.where(own < 0, math.nan, own) if (own < 0).any() else own
        if states == "subset":
            columns[f"{name}_experts"] = np.array([*subset_words(router), ""])[own]
    return columns


def _lift(count: NDArray[np.int64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(count, expected, out=np.full(len(count), math.nan), where=expected > 0)
