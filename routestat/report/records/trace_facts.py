"""`trace`: what was analysed, its independent units, and rows that are no measurements."""

from collections.abc import Mapping, Sequence
from typing import Any

from routestat.report.records.plain import Record
from routestat.study.trace_study import Study
from routestat.traces.clusters.summary import UnitSummary
from routestat.traces.dummy_rows.findings import Finding
from routestat.traces.metadata import Router, TraceMeta


def trace_record(study: Study) -> Record:
    """Return `trace`."""
    meta = study.meta
    return {
        **source_record(meta),
        "folder": study.origin.folder or None,
        "identity": study.origin.identity or None,
        "options": {
            "cluster": study.origin.cluster,
            "template": study.origin.template,
            "dummy_rows": study.origin.dummy_rows,
            "groups": study.origin.groups,
        },
        "n_tokens": study.n_tokens,
        "n_documents": study.n_documents,
        **units_record(study.units),
        "not_measured": not_measured_records(study.not_measured),
        "n_groups": study.n_groups,
        **routers_record(study.routers),
        "n_subsets": [router.alphabet.size for router in study.routers],
        "window": meta.window,
        "complete": study.complete,
        "notes": list(study.notes),
        **_replay(meta.extra.get("replay")),
    }


def source_record(meta: TraceMeta) -> Record:
    """Return what a trace is of and where it comes from."""
    return {
        "name": meta.name,
        "model": meta.model,
        "dataset": meta.dataset,
        "source": meta.source,
        "licence": meta.licence,
    }


def routers_record(routers: Sequence[Router]) -> Record:
    """Return the layers, names and sizes of routers, each as a list."""
    return {
        "layers": [router.layer for router in routers],
        "routers": [router.name for router in routers],
        "n_experts": [router.n_experts for router in routers],
        "top_k": [router.top_k for router in routers],
    }


def _replay(found: Any) -> Record:
    """Return how many choices changed when the texts were run again, if the trace holds these numbers."""
    if not isinstance(found, Mapping):
        return {}
    compared, changed = found.get("selections"), found.get("changed")
    if type(compared) is not int or type(changed) is not int or not 0 <= changed <= compared or not compared:
        return {}
    return {
        "replay": {"selections": compared, "changed": changed, "changed_percent": 100 * changed / compared}
    }


def units_record(units: UnitSummary) -> Record:
    """Return the keys on the independent units and on the template, of a trace or of one side of a comparison."""
    return {
        "n_clusters": units.n_clusters,
        "largest_cluster_documents": units.largest_cluster,
        "clusters_from": list(units.clusters_from),
        "template": {
            "counted": units.template,
            "n_tokens": units.template_tokens,
            "n_documents": units.template_documents,
            "n_tokens_left_out": units.template_left_out,
            "n_documents_without_more": units.template_only,
        },
    }


def not_measured_records(findings: Sequence[Finding]) -> list[Record]:
    """Return the items of `not_measured`: rows and layers that are no measurements, the place of the first."""
    return [
        {
            "kind": one.kind,
            "place": one.place,
            "n_rows": one.n_rows,
            "n_documents": one.n_documents,
            "document": one.document,
            "position": one.position,
            "layers": list(one.layers),
            "dropped": one.dropped,
        }
        for one in findings
    ]
