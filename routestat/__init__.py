"""routestat: statistics of the routing of Mixture-of-Experts language models.

The public names are loaded when they are first used, so that importing the package costs nothing.

analyze, compare, convert, count, draw, merge, place, predict, prepare, simulate
    The commands, one thin file each.
cli
    What the commands share: options, exit codes, output folders, progress bars.
report
    Findings as results.json, CSV tables, figures, pages and terminal summaries.
study
    All findings of one trace, or of two, computed once.
serving
    What predictions are worth: simulated caches, placements, files for engines.
forecast
    Predictors of routing and their scores on held-out documents.
structure
    Loads, co-activation, the map of all layers, biclusters and paths.
inference
    Statistics of tables of counts.
counting
    One pass over the tokens of a trace into small additive tables.
traces
    Traces of routing: the store, readers of other tools' files, synthetic traces.
progress
    Progress of long work, and work on several threads.
errors
    The errors that a caller may branch on.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # A command has the same name, in a module that is never imported.
    from routestat.counting.counts import count as count

__version__ = "0.1.0"

_PUBLIC = {
    "Alphabet": "routestat.traces.alphabet",
    "Router": "routestat.traces.metadata",
    "Trace": "routestat.traces.store",
    "TraceMeta": "routestat.traces.metadata",
    "TraceWriter": "routestat.traces.writer",
    "TokenRows": "routestat.inference.smoothing.context_counts",
    "Context": "routestat.counting.context",
    "Counts": "routestat.counting.counts",
    "count": "routestat.counting.counts",
    "count_paths": "routestat.counting.paths",
    "layer_window": "routestat.counting.context",
    "adjust": "routestat.inference.base.multiplicity",
    "adjust_log10": "routestat.inference.base.multiplicity",
    "beyond_token_types": "routestat.inference.association.token_types",
    "cell_tests": "routestat.inference.association.cell_tests",
    "choose_order": "routestat.inference.markov.order_selection",
    "clustered_order": "routestat.inference.markov.order_score_test",
    "compare_distributions": "routestat.inference.two_sample.distributions",
    "compare_transitions": "routestat.inference.two_sample.distributions",
    "conditional_information_interval": "routestat.inference.information.stratified",
    "conditional_mutual_information": "routestat.inference.information.mutual_information",
    "correlate": "routestat.structure.profiles",
    "entropy": "routestat.inference.information.entropy",
    "find_biclusters": "routestat.structure.block_search",
    "fit_chain": "routestat.inference.markov.chain",
    "fit_distribution": "routestat.inference.smoothing.backoff",
    "fit_concentration": "routestat.inference.smoothing.concentration",
    "predict_ahead": "routestat.inference.markov.prediction",
    "fit_second_order": "routestat.inference.markov.second_order",
    "half_splits": "routestat.inference.level_checks.half_splits",
    "homogeneity": "routestat.inference.markov.homogeneity",
    "horizons": "routestat.inference.markov.horizons",
    "held_out": "routestat.inference.smoothing.held_out",
    "independence": "routestat.inference.association.independence",
    "independence_experts": "routestat.inference.association.expert_independence",
    "jensen_shannon": "routestat.inference.information.divergence",
    "load_chain": "routestat.study.chain_file",
    "log_evidence": "routestat.inference.smoothing.posterior",
    "minimum_effect": "routestat.inference.association.minimum_effect",
    "cell_differences": "routestat.inference.two_sample.cells",
    "mutual_information": "routestat.inference.information.mutual_information",
    "mutual_information_interval": "routestat.inference.information.mutual_information",
    "order_tests": "routestat.inference.markov.order_tests",
    "permutation_p": "routestat.inference.two_sample.permutation_test",
    "resolve_alpha": "routestat.inference.smoothing.prior",
    "rao_scott": "routestat.inference.association.rao_scott",
    "save_chain": "routestat.study.chain_file",
    "sample_size": "routestat.inference.sample_size.document_subsets",
    "stratified_independence": "routestat.inference.association.stratified",
    "transition_posterior": "routestat.inference.smoothing.posterior",
    "unseen": "routestat.inference.sample_size.unseen_experts",
    "within_documents": "routestat.inference.association.within_documents",
    "coactivation": "routestat.structure.coactivation",
    "k_best_paths": "routestat.structure.paths",
    "layer_map": "routestat.structure.layer_map",
    "load_balance": "routestat.structure.load_balance",
    "profile_matrix": "routestat.structure.profiles",
    "spectral_blocks": "routestat.structure.biclusters",
    "RoutestatError": "routestat.errors",
}

#: Earlier names, each with the present one.
_ALIASES = {
    "Rows": "TokenRows",
    "fit_law": "fit_distribution",
    "foresee": "predict_ahead",
    "compare_laws": "compare_distributions",
    "enough": "sample_size",
    "minimal_effect": "minimum_effect",
    "moved_cells": "cell_differences",
}

__all__ = ["__version__", *_PUBLIC, *_ALIASES]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    present = _ALIASES.get(name, name)
    if present not in _PUBLIC:
        raise AttributeError(f"module 'routestat' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[present]), present)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
