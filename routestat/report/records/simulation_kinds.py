"""Where the numbers of a simulation are from: settings, measured, simulated or estimated."""

from collections.abc import Mapping

#: What each kind is, for readers.
MEANINGS: Mapping[str, str] = {
    "setting": "chosen before the replay, or described by the user",
    "measured": "counted in the trace; no cache is involved",
    "simulated": "counted in a replay of the trace through a cache",
    "estimated": "computed from assumptions: the size of an expert, the bandwidth, or independent tokens",
}

_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "setting": (
        "policy", "scope", "capacity", "start", "phase", "predictor", "lookahead", "candidates", "half_life", "batch",
        "prefill_chunk", "slots", "slots_in_all", "expert_bytes", "bandwidth_bytes_per_second", "compute_seconds",
        "stall_budget_seconds", "block_tokens",
    ),
    "measured": (
        "tokens", "events", "logical_accesses", "accesses", "union_to_capacity", "recall_all", "experts",
    ),
    "simulated": (
        "hits", "prefetched_hits", "misses", "hit_rate", "served_rate", "miss_share", "loads", "loads_per_token",
        "prefetched_loads", "wasted_loads", "precision_non_resident", "recall_non_resident", "best", "best_loads",
        "optimal_loads", "gap", "static_hit_rate", "lru_hit_rate", "equal_hit_rate", "divided_hit_rate",
        "slots_per_layer",
    ),
    "estimated": (
        "transfer_seconds", "bytes", "bytes_demanded", "bytes_wasted", "bytes_per_token", "bytes_in_all",
        "stall_seconds", "stall_seconds_per_token", "uniform_hit_rate", "experts_independent",
    ),
}  # fmt: skip

#: The kind of every key of the parts `simulation`, `lru_curve`, `recoverable_gap`, `hot_sets`, `working_sets`,
#: `capacity_plan` and `hardware`; an interval is of the kind of its estimate.
KINDS: Mapping[str, str] = {key: kind for kind, keys in _BY_KIND.items() for key in keys}
