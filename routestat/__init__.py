"""routestat: statistics of the routing of Mixture-of-Experts language models.

The public names are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Alphabet": "routestat.traces.alphabet",
    "Router": "routestat.traces.metadata",
    "Trace": "routestat.traces.store",
    "TraceMeta": "routestat.traces.metadata",
    "TraceWriter": "routestat.traces.writer",
    "Rows": "routestat.inference.levels",
    "Context": "routestat.counting.context",
    "Counts": "routestat.counting.counts",
    "count": "routestat.counting.counts",
    "count_paths": "routestat.counting.paths",
    "layer_window": "routestat.counting.context",
    "adjust": "routestat.inference.correlation",
    "adjust_log10": "routestat.inference.correlation",
    "beyond_token_types": "routestat.inference.vocabulary",
    "cell_tests": "routestat.inference.cells",
    "choose_order": "routestat.inference.order_choice",
    "clustered_order": "routestat.inference.order_clustered",
    "compare_laws": "routestat.inference.comparison",
    "compare_transitions": "routestat.inference.comparison",
    "conditional_information_interval": "routestat.inference.conditional",
    "conditional_mutual_information": "routestat.inference.information",
    "correlate": "routestat.inference.correlation",
    "enough": "routestat.inference.enough",
    "entropy": "routestat.inference.information",
    "fit_chain": "routestat.inference.chain",
    "fit_law": "routestat.inference.backoff",
    "fit_concentration": "routestat.inference.dirichlet",
    "foresee": "routestat.inference.foresight",
    "fit_second_order": "routestat.inference.second_order",
    "half_splits": "routestat.inference.calibration",
    "homogeneity": "routestat.inference.homogeneity",
    "horizons": "routestat.inference.horizons",
    "held_out": "routestat.inference.held_out",
    "independence": "routestat.inference.independence",
    "independence_experts": "routestat.inference.independence",
    "jensen_shannon": "routestat.inference.information",
    "load_chain": "routestat.report.chain_file",
    "log_evidence": "routestat.inference.dirichlet",
    "minimal_effect": "routestat.inference.effect_size",
    "moved_cells": "routestat.inference.moved",
    "mutual_information": "routestat.inference.information",
    "mutual_information_interval": "routestat.inference.information",
    "order_tests": "routestat.inference.order",
    "permutation_p": "routestat.inference.relabelling",
    "resolve_alpha": "routestat.inference.dirichlet",
    "rao_scott": "routestat.inference.rao_scott",
    "save_chain": "routestat.report.chain_file",
    "stratified_independence": "routestat.inference.conditional",
    "transition_posterior": "routestat.inference.dirichlet",
    "unseen": "routestat.inference.unseen",
    "within_documents": "routestat.inference.within",
    "coactivation": "routestat.structure.coactivation",
    "k_best_paths": "routestat.structure.paths",
    "layer_map": "routestat.structure.layer_map",
    "load_balance": "routestat.structure.balance",
    "profile_matrix": "routestat.structure.profiles",
    "spectral_blocks": "routestat.structure.bicluster",
    "RoutestatError": "routestat.errors",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'routestat' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
