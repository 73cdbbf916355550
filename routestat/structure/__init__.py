"""The structure of routing: loads, pairs of experts, maps of layers, blocks and paths.

load_balance
    How evenly the experts of a layer are loaded.
coactivation, coactivation_null, coactivation_scores
    Which experts of a layer are chosen together more often than their loads imply.
profiles
    Correlations and divergences of profiles: rows, loads, layers.
layer_map
    The dependence of every pair of layers.
biclusters, coclusters, k_means
    Blocks of source and target states and the share of information that they explain, by spectral co-clustering.
bicluster_checks
    The stability of blocks, and what blocks of noise explain.
model_facts, model_config, model_families
    Numbers of parameters of a model, from its configuration by the rules of its family.
modules, module_pairs
    Experts over the depth: the busiest, and the order and the pairs of modules that all layers share.
paths, route_graph
    The most probable paths of the chain, and the chain as a layered graph.
"""
