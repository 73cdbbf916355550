"""Experts over the depth: how often and where they are used, and single documents token by token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.expert_pairs import count_pairs
from routestat.errors import RoutestatError
from routestat.forecast.factorised import FactorisedChain
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, silent
from routestat.structure.coactivation import pairs_of_states
from routestat.structure.module_pairs import ModulePairs, Repeats, joint_selection, repeats, successions
from routestat.structure.modules import BusiestShare, Deployment, busiest_share, deployment
from routestat.study.document_view import DocumentView, resolve_documents, view_documents
from routestat.study.identity_experts import IdentityFindings, identity_experts, measure_identity
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.store import Trace

#: Key in a trace's `extra`: true where all routers choose among the same modules, so that ids can be compared.
SHARED_MODULES = "shared_modules"
_DIFFERENT_SIZES = "tokens have different numbers of modules at different steps"


@dataclass(frozen=True)
class SharedModules:
    """Modules that all layers share: their place in the depth, and pairs of them.

    Attributes
    ----------
    origin : str
        What says that they are shared: ``metadata`` or ``option``.
    deployment : Deployment
    repeats : Repeats
        The same module at two successive steps.
    successions : ModulePairs
        Different modules at two successive steps.
    joint : ModulePairs
        Modules of one step.
    """

    origin: str
    deployment: Deployment
    repeats: Repeats
    successions: ModulePairs
    joint: ModulePairs


@dataclass(frozen=True)
class ModuleFindings:
    """Use of experts over the depth.

    Attributes
    ----------
    routers : tuple of Router
    busiest : tuple of BusiestShare
        By router.
    shared : SharedModules, optional
        None where ids of different layers are different experts.
    identity : IdentityFindings, optional
        None where no expert is known to compute nothing.
    documents : tuple of DocumentView
        Those that were requested.
    """

    routers: tuple[Router, ...]
    busiest: tuple[BusiestShare, ...]
    shared: SharedModules | None
    identity: IdentityFindings | None
    documents: tuple[DocumentView, ...]


def shared_from(meta: TraceMeta, plan: StructurePlan) -> str:
    """Return what says that all routers of a trace share their modules; empty where nothing does.

    Raises
    ------
    RoutestatError
        If the routers have different numbers of experts, or the metadata holds something else than yes or no.
    """
    given = meta.extra.get(SHARED_MODULES, False)
    if not isinstance(given, bool):
        raise RoutestatError(
            f"{SHARED_MODULES} in the trace's metadata: expected true or false, found {type(given).__name__}; "
            "correct extra in its manifest"
        )
    origin = "metadata" if given else "option" if plan.shared_modules else ""
    widths = sorted({router.n_experts for router in meta.routers})
    if origin and len(widths) > 1:
        where = "--shared-modules" if origin == "option" else f"{SHARED_MODULES} in the trace's metadata"
        raise RoutestatError(
            f"{where}: expected routers that choose among the same modules, found numbers of experts "
            f"{', '.join(map(str, widths[:5]))}; leave it out"
        )
    return origin


def measure_modules(
    trace: Trace,
    counts: Counts,
    plan: StructurePlan,
    sample: Callable[[], Sample],
    chain: Chain | None = None,
    factorised: FactorisedChain | None = None,
    rows: BoardRows | None = None,
    tick: Tick = silent,
) -> ModuleFindings:
    """Measure how experts are used over the depth.

    Parameters
    ----------
    trace : Trace
        Read for single documents and, in the expert view, for pairs of shared modules.
    counts : Counts
        With the empty context and layer −1.
    plan : StructurePlan
    sample : callable
        Returns the rows in memory; called where there are identity experts.
    chain, factorised, rows
        As in `view_documents`.
    tick : callable(what, done, total)
    """
    ticked = partial(tick, "following experts over the depth")
    stages = 4
    ticked(0, stages)
    inclusions = [_inclusions(counts, router) for router in counts.routers]
    busiest = tuple(busiest_share(table) for table in inclusions)
    ticked(1, stages)
    origin = shared_from(trace.meta, plan)
    shared = _shared(trace, counts, inclusions, origin) if origin else None
    ticked(2, stages)
    identity = identity_experts(trace.meta)
    used = None
    if any(router.name in identity for router in counts.routers):
        used = measure_identity(sample(), identity)
    ticked(3, stages)
    documents = view_documents(
        trace,
        counts,
        resolve_documents(trace, plan.documents),
        chain=chain,
        factorised=factorised,
        rows=rows,
        texts=plan.token_texts,
    )
    ticked(stages, stages)
    return ModuleFindings(counts.routers, busiest, shared, used, documents)


def _inclusions(counts: Counts, router: Router) -> NDArray[np.int64]:
    """Count the inclusions ``[group, expert]``."""
    table = counts.table(Context(), router).astype(np.int64)
    return table @ router.alphabet.membership.astype(np.int64) if counts.states == "subset" else table


def _shared(
    trace: Trace, counts: Counts, inclusions: Sequence[NDArray[np.int64]], origin: str
) -> SharedModules:
    layers = [router.layer for router in counts.routers]
    sizes = [router.top_k for router in counts.routers]
    return SharedModules(
        origin,
        deployment(inclusions, layers),
        repeats(list(_steps(counts)), sizes[1:]),
        successions(_steps(counts)),
        joint_selection(_selected(trace, counts), sizes[0])
        if len(set(sizes)) == 1
        else replace(joint_selection((), sizes[0]), reason=_DIFFERENT_SIZES),
    )


def _steps(counts: Counts) -> Iterator[NDArray[np.int64]]:
    """Yield the table ``[group, module, module]`` of each step with the next."""
    for source, target in zip(counts.routers, counts.routers[1:], strict=False):
        table = counts.table(Context.layer(1), target).astype(np.int64)
        if counts.states == "subset":
            before, after = (router.alphabet.membership.astype(np.int64) for router in (source, target))
            table = before.T @ table @ after
        yield table


def _selected(
    trace: Trace, counts: Counts
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]]:
    """Yield pairs, inclusions and tokens of each step, by group."""
    if counts.states == "subset":
        for router in counts.routers:
            table = counts.table(Context(), router)
            yield *pairs_of_states(table, router.alphabet), table.sum(axis=1)
        return
    layers = None if len(counts.routers) == len(trace.meta.routers) else [r.layer for r in counts.routers]
    for found in count_pairs(trace, layers, counts.groups):
        yield found.pairs, found.inclusions, found.tokens
