"""Experts over the depth, identity experts and single documents: keys of results.json, and their tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.report.records.plain import Record, note, reason, write_rows
from routestat.structure.module_pairs import ModulePairs
from routestat.study.document_view import MOST_DRAWN, DocumentView, compared
from routestat.study.identity_experts import IdentityFindings
from routestat.study.layers import FOUND, LayerLoad
from routestat.study.modules import ModuleFindings, SharedModules

#: Pairs of modules in results.json: those that depart most; the tables have all.
STRONGEST = 20
#: Most surprising choices of a document in results.json; its table has all.
MOST_SURPRISING = 10


def modules_records(found: ModuleFindings) -> Record:
    """Return the keys of results.json that hold these findings."""
    record: Record = {
        "modules": {
            "shared": found.shared is not None,
            "reading": reading(found),
            **({} if found.shared is None else _shared(found.shared)),
            **note(found.identity.note if found.identity is not None else None),
        },
        "expert_use": [
            {
                "layer": router.layer,
                "router": router.name,
                "n_busiest": busiest.n_busiest,
                "busiest_share": busiest.share.value,
                "busiest_share_ci95": _interval(busiest.share),
                "busiest_share_even": busiest.even,
                **reason(busiest.share.reason),
            }
            for router, busiest in zip(found.routers, found.busiest, strict=True)
        ],
    }
    if found.shared is not None:
        record["module_order"] = _order(found.shared)
        record["module_successions"] = _strongest(found.shared.successions)
        record["module_joint"] = _strongest(found.shared.joint)
    if found.identity is not None:
        record |= _identity(found.identity)
    if found.documents:
        record["document_views"] = [_document(view) for view in found.documents]
    return record


def reading(found: ModuleFindings) -> str:
    """Return in one sentence whether a few experts of a layer take most of the choices."""
    known = [one for one in found.busiest if np.isfinite(one.share.low)]
    if not known:
        why = next((one.share.reason for one in found.busiest if one.share.reason), "")
        return f"How much the busiest experts take has no interval{f': {why}' if why else ''}."
    above = [one for one in known if one.share.low > one.even]
    layers = "layer" if len(known) == 1 else "layers"
    text = (
        f"In {len(above)} of {len(known)} {layers} the busiest quarter of the experts takes more than its even share "
        "of the choices (95 % intervals over documents)"
    )
    if not above:
        return text + "."
    most = max(known, key=lambda one: one.share.value / one.even)
    place = found.busiest.index(most)
    return (
        f"{text}, most in layer {found.routers[place].layer}: {100 * most.share.value:.0f} % "
        f"({100 * most.share.low:.0f} to {100 * most.share.high:.0f} %) instead of {100 * most.even:.0f} %."
    )


def _interval(found: Estimate) -> list[float]:
    return [found.low, found.high]


def _shared(shared: SharedModules) -> Record:
    again, order = shared.repeats, shared.deployment
    return {
        "shared_from": shared.origin,
        "mean_layer": order.centre,
        "n_ordered": int((order.log10_q < np.log10(FOUND)).sum()),
        "repeat_share": again.share.value,
        "repeat_share_ci95": _interval(again.share),
        "repeat_share_expected": again.expected,
        "repeat_z": again.z,
        "log10_p_repeat": again.log10_p,
        "n_successions_found": int((shared.successions.log10_q < np.log10(FOUND)).sum()),
        "n_joint_found": int((shared.joint.log10_q < np.log10(FOUND)).sum()),
        **reason(again.reason, shared.successions.reason, shared.joint.reason),
    }


def _order(shared: SharedModules) -> list[Record]:
    found = shared.deployment
    return [
        {
            "module": module,
            "uses": found.uses[module],
            "mean_layer": found.mean_layer[module].value,
            "mean_layer_ci95": _interval(found.mean_layer[module]),
            "peak_layer": None if found.peak[module] < 0 else found.peak[module],
            "log10_p": found.log10_p[module],
            "log10_q": found.log10_q[module],
            **reason(
                "the module is never used" if not found.uses[module] else found.mean_layer[module].reason
            ),
        }
        for module in found.order
    ]


def _strongest(found: ModulePairs) -> list[Record]:
    by = np.nan_to_num(np.abs(found.z), nan=-1.0)
    return [
        {
            "first": found.first[place],
            "second": found.second[place],
            "observed": found.observed[place],
            "expected": found.expected[place],
            "lift": found.lift[place],
            "z": found.z[place],
            "log10_p": found.log10_p[place],
            "log10_q": found.log10_q[place],
            **reason(found.reason),
        }
        for place in np.argsort(-by, kind="stable")[:STRONGEST].tolist()
    ]


def _identity(found: IdentityFindings) -> Record:
    return {
        "identity_experts": [
            {
                "layer": use.router.layer,
                "router": use.router.name,
                "n_identity_experts": len(use.experts),
                "identity_share": use.share.value,
                "identity_share_ci95": _interval(use.share),
                "identity_share_even": use.share_of_experts,
                "identity_per_token": use.per_token.value,
                "identity_per_token_ci95": _interval(use.per_token),
                "real_experts": use.real,
                **reason(use.share.reason),
            }
            for use in found.layers
        ],
        "real_experts": [
            {
                "kind": part.kind or "all",
                "value": part.value,
                "n_tokens": part.n_tokens,
                "per_layer": part.per_layer.value,
                "per_layer_ci95": _interval(part.per_layer),
                **reason(part.per_layer.reason),
            }
            for part in found.parts
        ],
    }


def document_file(view: DocumentView) -> str:
    """Return the name of a document's table, without its ending; names of documents need not fit a file system."""
    return f"document-{view.document}"


def _document(view: DocumentView) -> Record:
    bits = compared(view.surprise_bits)
    known = bits[np.isfinite(bits)]
    return {
        "document": view.document,
        "name": view.name,
        "domain": view.domain,
        "n_tokens": len(view),
        "n_tokens_drawn": min(len(view), MOST_DRAWN),
        "surprise_bits_mean": known.mean() if len(known) else None,
        "marked_bits": view.marked_bits,
        "n_marked": int(view.marked.sum()),
        "coloured": view.is_coloured,
        "surprising": _surprising(view),
        "file": f"tables/{document_file(view)}.csv",
        **reason(view.reason),
    }


def _surprising(view: DocumentView) -> list[Record]:
    """Return the most surprising choices of a document, the most surprising first."""
    bits = compared(view.surprise_bits)
    bits = np.where(np.isfinite(bits), bits, -np.inf)
    found = []
    for flat in np.argsort(-bits, axis=None, kind="stable")[:MOST_SURPRISING].tolist():
        place, layer = divmod(flat, len(view.routers))
        if np.isfinite(bits[place, layer]):
            router = view.routers[layer]
            found.append(
                {
                    "position": view.position[place],
                    "token": None if view.token[place] < 0 else view.token[place],
                    "text": view.texts[place] if view.texts else None,
                    "layer": router.layer,
                    "router": router.name,
                    "experts": view.experts[router.name][place],
                    "bits": bits[place, layer],
                }
            )
    return found


def document_rows(view: DocumentView) -> list[Record]:
    """Return the table of a document: one row per token, experts and surprise of every layer."""
    rows = []
    for place in range(len(view)):
        row: Record = {
            "position": view.position[place],
            "phase": view.phases[place],
            "token": None if view.token[place] < 0 else view.token[place],
        }
        if view.texts:
            row["text"] = view.texts[place]
        for layer, router in enumerate(view.routers):
            experts = view.experts[router.name][place]
            row[router.name] = "" if experts[0] < 0 else " ".join(map(str, experts.tolist()))
            bits = view.surprise_bits[place, layer]
            row[f"{router.name}_bits"] = round(float(bits), 4) if np.isfinite(bits) else None
        rows.append(row)
    return rows


def write_documents(found: ModuleFindings | None, tables: Path) -> None:
    """Write the table of every document that was requested, and delete those of others."""
    for stale in tables.glob("document-*.csv"):
        stale.unlink()
    for view in found.documents if found is not None else ():
        write_rows(tables / f"{document_file(view)}.csv", document_rows(view))


def module_columns(
    found: ModuleFindings | None, loads: Sequence[LayerLoad]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the tables that hold more than results.json, by name."""
    if found is None:
        return {}
    columns = {"expert_use": expert_use_columns(loads)}
    if found.shared is not None:
        columns["module_successions"] = pair_columns(found.shared.successions)
        columns["module_joint"] = pair_columns(found.shared.joint)
    return columns


def expert_use_columns(loads: Sequence[LayerLoad]) -> dict[str, NDArray[Any]]:
    """Return the experts of every layer, the busiest first, column by column ``[layer and expert]``."""
    orders = [np.argsort(-np.nan_to_num(load.balance.load), kind="stable") for load in loads]
    sizes = [len(order) for order in orders]
    return {
        "layer": np.repeat([load.router.layer for load in loads], sizes),
        "router": np.repeat([load.router.name for load in loads], sizes),
        "rank": np.concatenate([np.arange(size) for size in sizes]),
        "expert": np.concatenate(orders),
        **{
            name: np.concatenate(
                [getattr(load.balance, name)[order] for load, order in zip(loads, orders, strict=True)]
            )
            for name in ("load", "load_low", "load_high")
        },
    }


def pair_columns(found: ModulePairs) -> dict[str, NDArray[Any]]:
    """Return all pairs of modules column by column ``[pair]``."""
    names = ("first", "second", "observed", "expected", "lift", "z", "log10_p", "log10_q")
    return {name: getattr(found, name) for name in names}
