"""What a prediction is worth: simulated caches and prefetching, placements of experts on devices, files for engines.

steps
    The choices of a trace in the order in which an engine would serve them.
settings
    Policies of a cache, what is simulated, and the machine it is simulated on.
passes
    The order in which a replay goes through steps.
lru_curve
    Hits of LRU at every capacity.
replay
    Replay of a trace through caches of experts.
replay_sums
    What a replay counts, per unit of documents.
pins
    Which experts to pin.
cache_estimates
    What a replay found, as estimates with intervals.
capacity_plan
    How much memory is worth having, and how to divide it among the layers.
hot_sets
    Whether pinning is worth it.
working_sets
    How many different experts consecutive tokens need.
setting_checks
    Checks of what is to be simulated.
placement
    Which expert is on which device.
exports
    Files that engines load.
"""
