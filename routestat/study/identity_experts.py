"""Experts that compute nothing: how often they are chosen, and how many real experts a token then has."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.tables import Floats, read_only
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.validation import PHASES, shown

#: Key in a trace's `extra`: router name to ids of experts that compute nothing.
IDENTITY_EXPERTS = "identity_experts"


@dataclass(frozen=True)
class IdentityUse:
    """Use of identity experts by one router.

    Attributes
    ----------
    router : Router
    experts : tuple of int
        Ids of its identity experts.
    share : Estimate
        Of the choices that are identity experts.
    share_of_experts : float
        Of the experts that are identity experts: the share of choices at even loads.
    per_token : Estimate
        Identity experts of a token.
    real : float array ``[number]``
        Share of tokens with 0, 1, … k experts that compute something.
    """

    router: Router
    experts: tuple[int, ...]
    share: Estimate
    share_of_experts: float
    per_token: Estimate
    real: Floats


@dataclass(frozen=True)
class RealExperts:
    """Real experts of a token, its layers together, in one domain or phase.

    Attributes
    ----------
    kind, value : str
        ``domain`` or ``phase``, and which; both empty for all tokens.
    n_tokens : int
    per_layer : Estimate
        Real experts per token and layer that has identity experts.
    """

    kind: str
    value: str
    n_tokens: int
    per_layer: Estimate


@dataclass(frozen=True)
class IdentityFindings:
    """Use of identity experts over the depth, and by domain and phase; `note` says what was sampled."""

    layers: tuple[IdentityUse, ...]
    parts: tuple[RealExperts, ...]
    note: str = ""


def identity_experts(meta: TraceMeta) -> dict[str, tuple[int, ...]]:
    """Read from the metadata which experts compute nothing, by router name.

    Raises
    ------
    RoutestatError
        If it names a router that the trace has not, or an id that the router has not.
    """
    given = meta.extra.get(IDENTITY_EXPERTS)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RoutestatError(
            f"{IDENTITY_EXPERTS} in the trace's metadata: expected router names with lists of ids, found "
            f"{type(given).__name__}; correct extra in its manifest"
        )
    widths = {router.name: router.n_experts for router in meta.routers}
    found = {}
    for name, ids in given.items():
        if name not in widths:
            raise RoutestatError(
                f"{IDENTITY_EXPERTS} in the trace's metadata: expected names of its routers such as "
                f"{meta.routers[0].name}, found {shown(str(name))}; correct extra in its manifest"
            )
        fits = isinstance(ids, list | tuple) and all(
            isinstance(one, int) and not isinstance(one, bool) and 0 <= one < widths[name] for one in ids
        )
        if not fits or len(set(ids)) != len(ids):
            raise RoutestatError(
                f"{IDENTITY_EXPERTS} in the trace's metadata: expected different ids from 0 to {widths[name] - 1} for "
                f"{name}, found {shown(str(ids))}; correct extra in its manifest"
            )
        if ids:
            found[name] = tuple(sorted(ids))
    return found


def measure_identity(sample: Sample, identity: Mapping[str, tuple[int, ...]]) -> IdentityFindings:
    """Measure the use of identity experts.

    Parameters
    ----------
    sample : Sample
    identity : mapping of router name to ids
        As `identity_experts` returns; routers that are not in the sample are left out.
    """
    layers, real, chosen = [], np.zeros(len(sample)), np.zeros(len(sample))
    for router in sample.routers:
        if router.name not in identity:
            continue
        number = _numbers(sample.columns[router.name], router, identity[router.name])
        known = number >= 0
        layers.append(_use(router, identity[router.name], number[known], sample.group[known], sample.groups))
        real += np.where(known, router.top_k - number, 0)
        chosen += known
    parts = [_part("", "", real, chosen, sample, chosen > 0)] if layers else []
    if layers:
        for place, phase in enumerate(PHASES):
            own = (chosen > 0) & (sample.phase == place) if len(sample.phase) else np.zeros(len(sample), bool)
            if own.any() and not own[chosen > 0].all():
                parts.append(_part("phase", phase, real, chosen, sample, own))
        names = sorted(set(sample.domains.values()))
        numbers = {name: place for place, name in enumerate(names)}
        documents, inverse = np.unique(sample.document, return_inverse=True)
        labels = np.array([numbers.get(sample.domains.get(int(one), ""), -1) for one in documents], np.int64)
        for name in names if len(names) > 1 else ():
            own = (chosen > 0) & (labels[inverse] == numbers[name])
            if own.any():
                parts.append(_part("domain", name, real, chosen, sample, own))
    return IdentityFindings(tuple(layers), tuple(parts), sample.note)


def _numbers(values: NDArray[np.unsignedinteger], router: Router, ids: tuple[int, ...]) -> NDArray[np.int64]:
    """Identity experts of each row, −1 where the choice is missing."""
    is_identity = np.zeros(router.n_experts, np.int64)
    is_identity[list(ids)] = 1
    experts = expert_rows(values, router).astype(np.int64)
    known = experts[:, 0] < router.n_experts
    return np.where(known, is_identity[np.where(known[:, None], experts, 0)].sum(axis=1), -1)


def _use(
    router: Router, ids: tuple[int, ...], number: NDArray[np.int64], group: NDArray[np.int64], groups: int
) -> IdentityUse:
    tokens = np.bincount(group, minlength=groups)
    chosen = np.bincount(group, number, minlength=groups)
    real = np.bincount(router.top_k - number, minlength=router.top_k + 1).astype(np.float64)
    return IdentityUse(
        router,
        ids,
        ratio(chosen, tokens * router.top_k),
        len(ids) / router.n_experts,
        ratio(chosen, tokens),
        read_only(real / len(number) if len(number) else np.full(router.top_k + 1, np.nan)),
    )


def _part(
    kind: str, value: str, real: Floats, chosen: Floats, sample: Sample, own: NDArray[np.bool_]
) -> RealExperts:
    group = sample.group[own]
    top, bottom = (np.bincount(group, values[own], minlength=sample.groups) for values in (real, chosen))
    return RealExperts(kind, value, int(own.sum()), ratio(top, bottom))
