"""`blocks`, `routes` and `routes_compared` of the results of a comparison, and their tables."""

import math
from collections.abc import Iterator

import numpy as np

from routestat.inference.base.tables import Integers
from routestat.inference.two_sample.rates import RateDifferences
from routestat.report.numbers import experts_words, interval, many, number
from routestat.report.records.plain import Record, reason
from routestat.structure.longest_windows import distinct
from routestat.study.comparison import TraceComparison
from routestat.study.comparison_structure import BlockComparison, RouteComparison, StructureComparison
from routestat.traces.metadata import Router

#: Routes that results.json and the page list; the table has more.
LISTED = 20
#: Of these, through all layers.
MOST_WHOLE = 5


def structure_records(findings: TraceComparison) -> Record:
    """Return the keys of results.json that hold blocks and routes; none where they were not compared."""
    structure = findings.structure
    if structure is None:
        return {}
    routes, rates = structure.routes, structure.routes.rates
    shown = _shown(routes)
    return {
        "structure_reading": [blocks_sentence(findings), routes_sentence(findings)],
        "blocks": [_block_record(findings, item) for item in structure.blocks],
        "routes": [] if rates is None else [_route(findings, routes, rates, at) for at in shown],
        "routes_compared": {
            "n_tested": int(np.isfinite(routes.log10_q).sum()),
            "n_differ": int(routes.differ.sum()),
            "least_tokens": routes.least_tokens,
            "note_a": routes.notes[0],
            "note_b": routes.notes[1],
            **reason(routes.reason),
        },
    }


def blocks_sentence(findings: TraceComparison) -> str:
    """Describe whether the blocks of A and B differ, the answer first."""
    structure = findings.structure
    blocks = structure.blocks if structure is not None else ()
    found = [item for item in blocks if item.cells is not None]
    if not found:
        why = "; ".join(dict.fromkeys(item.reason for item in blocks if item.reason))
        return "No transition has several blocks" + (f": {why}." if why else ".")
    tested = [item for item in found if item.cells is not None and item.cells.reason is None]
    if not tested:
        why = "; ".join(dict.fromkeys(str(item.cells.reason) for item in found if item.cells))
        return f"Whether blocks differ could not be tested: {why}."
    differ = [item for item in tested if item.n_differ]
    said = (
        f"The flow between blocks differs in {len(differ):,} of {many(len(tested), 'transition')} (q ≤ 0.05, corrected "
        "for all cells of all transitions)."
    )
    known = [item for item in found if math.isfinite(item.agreement) and len(item.by_chance)]
    if known:
        own, chance = (float(np.mean(values)) for values in zip(*_agreements(known), strict=True))
        said += (
            f" Blocks fitted to A alone and to B alone agree by {number(own)} (adjusted Rand index, mean over the "
            f"transitions), where random divisions of the same documents agree by {number(chance)}."
        )
    return said


def _agreements(known: list[BlockComparison]) -> list[tuple[float, float]]:
    return [(item.agreement, float(item.by_chance.mean())) for item in known]


def routes_sentence(findings: TraceComparison) -> str:
    """Describe whether the routes of A and B differ, the answer first."""
    structure = findings.structure
    if structure is None or structure.routes.rates is None:
        return f"Routes are not compared: {structure.routes.reason if structure else 'nothing was counted'}."
    routes = structure.routes
    if routes.reason:
        return f"Whether routes differ could not be tested: {routes.reason}."
    differ = int(routes.differ.sum())
    said = f"The shares of {differ:,} of {many(len(routes), 'frequent route')} differ (q ≤ 0.05)"
    shown = _shown(routes)
    if not differ or not shown:
        return said + "."
    most = _route(findings, routes, routes.rates, shown[0])
    a, b = most["share_a"], most["share_b"]
    words = " → ".join(most["choices"])
    layers = f"layers {most['layers'][0]} to {most['layers'][-1]}"
    return (
        f"{said}; that of most different share is {words} at {layers}: {number(100 * a)} % of the tokens of A, "
        f"{number(100 * b)} % of B (difference {interval(*[100 * x for x in most['difference_ci95']])} points)."
    )


def block_cell_rows(structure: StructureComparison) -> Iterator[Record]:
    """Yield the cells of blocks of every transition, with the shares of both traces."""
    for item in structure.blocks:
        for record in _block_cells(item):
            yield {"source": item.source.layer, "target": item.target.layer, **record}


def route_rows(findings: TraceComparison, routes: RouteComparison, at_most: int) -> Iterator[Record]:
    """Yield the compared windows and routes, the largest difference first."""
    if (rates := routes.rates) is not None:
        yield from (_route(findings, routes, rates, place) for place in range(min(at_most, len(routes))))


def _block_record(findings: TraceComparison, item: BlockComparison) -> Record:
    chance = item.by_chance
    record: Record = {
        "source": item.source.layer,
        "target": item.target.layer,
        **{
            f"{name}_b": findings.layers_of_b[router.name]
            for name, router in (("source", item.source), ("target", item.target))
            if router.name in findings.layers_of_b
        },
        "n_row_blocks": item.n_blocks[0],
        "n_column_blocks": item.n_blocks[1],
        "row_labels": item.row_labels,
        "column_labels": item.column_labels,
        "agreement_ari": item.agreement,
        "agreement_ari_by_chance": float(chance.mean()) if len(chance) else math.nan,
        "agreement_ari_by_chance_range": [float(chance.min()), float(chance.max())]
        if len(chance)
        else [None, None],
        "p_agreement": item.p_agreement,
        "n_cells": 0 if item.cells is None else len(item.cells.cell),
        "n_differ": item.n_differ,
        "cells": sorted(_block_cells(item), key=lambda row: -abs(row["difference"]))[:5],
    }
    return record | reason(item.reason, None if item.cells is None else item.cells.reason)


def _block_cells(item: BlockComparison) -> list[Record]:
    if item.cells is None:
        return []
    cells, records = item.cells, []
    given = [share / share.sum(axis=1, keepdims=True).clip(1e-300) for share in item.shares]
    for place, cell in enumerate(cells.cell.tolist()):
        row, column = divmod(cell, item.n_blocks[1])
        records.append(
            {
                "source_block": row,
                "target_block": column,
                "share_a": cells.share_a[place],
                "share_b": cells.share_b[place],
                "difference": cells.difference[place],
                "standard_error": cells.standard_error[place],
                "conditional_a": given[0][row, column],
                "conditional_b": given[1][row, column],
                "log2_ratio": cells.log2_ratio[place],
                "log10_p": cells.log10_p[place],
                "log10_q": cells.log10_q[place],
                "moved": bool(cells.moved[place]),
            }
        )
    return records


def _shown(routes: RouteComparison) -> list[int]:
    """Return the places of those that differ most: windows that share few layers with each other, and whole routes."""
    found = np.flatnonzero(routes.differ)
    whole = found[routes.is_route[found]][:MOST_WHOLE].tolist()
    windows = found[~routes.is_route[found]]
    if not len(windows):
        return whole
    words = np.full(
        (len(windows), max(len(routes.choices[place]) for place in windows.tolist())), -1, np.int64
    )
    for row, place in enumerate(windows.tolist()):
        words[row, : len(routes.choices[place])] = routes.choices[place]
    kept = distinct(routes.start[windows], words, LISTED - len(whole))
    return sorted([*windows[kept].tolist(), *whole])


def _route(findings: TraceComparison, routes: RouteComparison, rates: RateDifferences, place: int) -> Record:
    start, length = int(routes.start[place]), int(routes.length[place])
    routers = [layer.a for layer in findings.layers[start : start + length]]
    return {
        "kind": "route" if routes.is_route[place] else "window",
        "layers": [router.layer for router in routers],
        "choices": [
            experts_words(
                _experts(router, choice, findings.states == "expert" and not routes.is_route[place])
            )
            for router, choice in zip(routers, routes.choices[place], strict=True)
        ],
        "count_a": int(routes.tokens[0][place]),
        "count_b": int(routes.tokens[1][place]),
        "share_a": float(rates.rate_a[place]),
        "share_b": float(rates.rate_b[place]),
        "difference": float(rates.difference[place]),
        "difference_ci95": [float(rates.low[place]), float(rates.high[place])],
        "log2_ratio": float(rates.log2_ratio[place]),
        "log2_ratio_ci95": [float(rates.ratio_low[place]), float(rates.ratio_high[place])],
        "log10_p": float(rates.log10_p[place]),
        "log10_q": float(routes.log10_q[place]),
        "differs": bool(routes.differ[place]),
    }


def _experts(router: Router, choice: Integers, single: bool) -> list[int]:
    if np.ndim(choice):
        return [int(one) for one in choice]
    return [int(choice)] if single else router.alphabet.unrank(int(choice)).tolist()
