"""What a plan needs of a trace, checked before anything is computed."""

from collections.abc import Collection, Sequence

from routestat.errors import RoutestatError
from routestat.structure.model_facts import require_fit
from routestat.study.document_view import resolve_documents
from routestat.study.identity_experts import identity_experts
from routestat.study.modules import shared_from
from routestat.study.structure_plan import StructurePlan
from routestat.traces.store import Trace


def require_structure(
    trace: Trace, layers: Sequence[int] | None, plan: StructurePlan, parts: Collection[str]
) -> None:
    """Check that a trace has the documents, modules and routers of a plan.

    Parameters
    ----------
    trace : Trace
    layers : sequence of int, optional
        Those that are analysed.
    plan : StructurePlan
    parts : collection of str
        What will be computed.

    Raises
    ------
    RoutestatError
        If it has not: an unknown document, a model of another trace, metadata that contradict themselves.
    """
    if plan.documents and "modules" not in parts:
        raise RoutestatError(
            "--document: expected the part modules, which shows documents, but it is left out; add it to --only, "
            "or leave out --document"
        )
    resolve_documents(trace, plan.documents)
    if "modules" in parts:
        shared_from(trace.meta, plan)
        identity_experts(trace.meta)
    if plan.model_facts is not None:
        require_fit(plan.model_facts, trace.routers(layers))
