"""Layers of two traces matched by number, by order, or by the agreement of their choices."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.traces.metadata import Router, TraceMeta, layers_were_counted
from routestat.traces.number_ranges import span

#: The ways to match layers.
WAYS = ("auto", "number", "order")
Matched = list[tuple[Router, Router]]
#: Least agreement beyond chance that identifies a layer, and its least ratio to that of any other layer.
LEAST_AGREEMENT, TIMES_THE_NEXT = 0.25, 2.0


def match_layers(
    a: TraceMeta,
    b: TraceMeta,
    wanted: Sequence[int] | None,
    way: str,
    agreement: Callable[[], NDArray[np.float64] | None],
) -> tuple[Matched, list[str]]:
    """Return pairs of routers, and notes on them.

    Parameters
    ----------
    a, b : TraceMeta
    wanted : sequence of int, optional
        Layers as A numbers them.
    way : {"auto", "number", "order"}
        "auto" uses the numbers if both sources gave them. Otherwise the rows of common documents
        decide, or else the order if both traces have the same number of layers.
    agreement : callable
        Agreement beyond chance ``[router of A, router of B]`` in common documents; None without any.

    Raises
    ------
    RoutestatError
        If no wanted layer is in both, or layers cannot be identified.
    """
    if way not in WAYS:
        raise RoutestatError(f"--match-layers is {', '.join(WAYS)}, got {way!r}")
    counted = [name for name, meta in zip("AB", (a, b), strict=True) if layers_were_counted(meta)]
    whose = " and ".join(counted)
    if way == "number" or (way == "auto" and not counted):
        return _by_number(
            a, b, wanted, whose, agreement() if way == "auto" and a.layers != b.layers else None
        )
    in_order = list(zip(a.routers, b.routers, strict=False)) if len(a.routers) == len(b.routers) else None
    if way == "order":
        if in_order is None:
            raise RoutestatError(
                f"--match-layers order: A has {len(a.routers)} routers ({span(a.layers)}), B has {len(b.routers)} "
                f"({span(b.layers)}); name the layers with convert --layers"
            )
        return _picked(in_order, wanted, [_said(in_order, "in order, as requested")])
    identified = _identified(a, b, agreement())
    if identified is not None:
        how = f"by their choices in common documents, as the source of {whose} does not number them"
        return _picked(identified, wanted, [f"{_said(identified, how)}{_rest(a, b, identified)}"])
    if in_order is None:
        raise RoutestatError(
            f"A has layers {span(a.layers)}, B has {span(b.layers)}, and the numbers of {whose} are only their order "
            "in a file: the same layers cannot be identified. Name them with convert --layers, or match equal "
            "numbers with --match-layers number"
        )
    how = f"in order, as the source of {whose} does not number them; --match-layers number uses equal numbers instead"
    return _picked(in_order, wanted, [_said(in_order, how)])


def _by_number(
    a: TraceMeta,
    b: TraceMeta,
    wanted: Sequence[int] | None,
    counted: str,
    agreement: NDArray[np.float64] | None,
) -> tuple[Matched, list[str]]:
    """Match layers by number; `counted` names traces without numbers, `agreement` may contradict the numbers."""
    other, doubt = _identified(a, b, agreement), ""
    if other:
        first, second = (span([pair[side].layer for pair in other]) for side in (0, 1))
        doubt = f"by their choices in common documents, layers {first} of A are {second} of B"
    # Matching in order needs the same number of layers.
    advice = "--match-layers order" if len(a.routers) == len(b.routers) else "name them with convert --layers"
    try:
        pairs, notes = common_routers(a, b, wanted)
    except RoutestatError as error:
        raise RoutestatError(f"{error}; {doubt}: {advice}" if doubt else str(error)) from None
    if counted:
        notes.insert(
            0, f"layers are matched by number, though those of {counted} are only their order in a file"
        )
    elif other and not set(pairs) <= set(other):
        notes.insert(0, f"layers are matched by number, but {doubt}; if the numbers are wrong: {advice}")
    return pairs, notes


def common_routers(a: TraceMeta, b: TraceMeta, wanted: Sequence[int] | None) -> tuple[Matched, list[str]]:
    """Return the routers that both traces have under the same names, and notes on the others.

    Raises
    ------
    RoutestatError
        If no wanted layer is in both.
    """
    named = [
        {layer: [r for r in meta.routers if r.layer == layer] for layer in meta.layers} for meta in (a, b)
    ]
    requested = set(wanted) if wanted is not None else set(named[0]) | set(named[1])
    shared = sorted(
        layer
        for layer in requested & set(named[0]) & set(named[1])
        if [r.name for r in named[0][layer]] == [r.name for r in named[1][layer]]
    )
    if not shared:
        raise RoutestatError(
            f"no layer of {span(sorted(requested))} is in both traces: A has {span(a.layers)}, B has {span(b.layers)}"
        )
    notes = []
    if left := sorted(requested - set(shared)):
        notes.append(f"layers {span(left)} are not in both traces and are left out")
    return [p for layer in shared for p in zip(named[0][layer], named[1][layer], strict=True)], notes


def agreement_of(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.float64]:
    """Compute the agreement of choices beyond chance, ``[layer of A, layer of B]``: 0 by chance, 1 always.

    Parameters
    ----------
    a, b : int arrays ``[row, layer]``
        Choices of the same tokens.
    """
    found = np.zeros((a.shape[1], b.shape[1]))
    for i in range(a.shape[1]):
        values, codes = np.unique(a[:, i], return_inverse=True)
        p = np.bincount(codes) / len(a)
        for j in range(b.shape[1]):
            at = np.minimum(np.searchsorted(values, b[:, j]), len(values) - 1)
            known = values[at] == b[:, j]
            chance = float(p @ np.bincount(at[known], minlength=len(p))) / len(a)
            found[i, j] = ((a[:, i] == b[:, j]).mean() - chance) / max(1.0 - chance, 1e-9)
    return found


def _identified(a: TraceMeta, b: TraceMeta, agreement: NDArray[np.float64] | None) -> Matched | None:
    """Match every layer of the shallower trace with the one it agrees with, if these are in order of depth."""
    if agreement is None or not agreement.size:
        return None
    turned = len(a.routers) > len(b.routers)
    table = agreement.T if turned else agreement
    best = table.argmax(axis=1)
    most = table.max(axis=1)
    rest = table.copy()
    rest[np.arange(len(best)), best] = 0.0
    clear = (most >= LEAST_AGREEMENT) & (most >= TIMES_THE_NEXT * rest.max(axis=1, initial=0.0))
    if not clear.all() or (np.diff(best) <= 0).any():
        return None
    pairs = zip(range(len(best)), best.tolist(), strict=True)
    return [(a.routers[j], b.routers[i]) if turned else (a.routers[i], b.routers[j]) for i, j in pairs]


def _picked(pairs: Matched, wanted: Sequence[int] | None, notes: list[str]) -> tuple[Matched, list[str]]:
    if wanted is None:
        return pairs, notes
    absent = sorted(set(wanted) - {x.layer for x, _ in pairs})
    kept = [pair for pair in pairs if pair[0].layer in set(wanted)]
    if not kept:
        have = span([x.layer for x, _ in pairs])
        raise RoutestatError(
            f"no layer of {span(sorted(wanted))} is in both traces: as A numbers them, {have} are"
        )
    return kept, [
        *notes,
        *([f"layers {span(absent)} are not in both traces and are left out"] if absent else []),
    ]


def _said(pairs: Matched, how: str) -> str:
    first, second = ([pair[side].layer for pair in pairs] for side in (0, 1))
    what = (
        f"layers {span(first)} of A and {span(second)} of B" if first != second else f"layers {span(first)}"
    )
    return f"{what} are matched {how}"


def _rest(a: TraceMeta, b: TraceMeta, pairs: Matched) -> str:
    left = [
        f"{span(sorted(set(meta.layers) - {pair[side].layer for pair in pairs}))} of {name}"
        for side, (name, meta) in enumerate((("A", a), ("B", b)))
        if len(meta.routers) > len(pairs)
    ]
    return f"; {' and '.join(left)} are left out" if left else ""
