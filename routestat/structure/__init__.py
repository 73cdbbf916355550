"""The structure of routing: loads, pairs of experts, maps of layers, blocks and paths.

load_balance
    How evenly the experts of a layer are loaded.
coactivation, coactivation_null, coactivation_scores
    Which experts of a layer are chosen together more often than their loads imply.
token_classes
    Classes of tokens by their text: words by script, digits, punctuation, white space.
token_labels
    The labels of tokens that specialisation is measured with: domain, token id, class.
label_information, label_tests
    What labels share with the choice of experts, one given the other: bits, tests, cells.
half_samples
    Whether profiles of labels and experts are the same in two halves of the documents.
specialisation, shown_tokens
    What the experts of a layer specialise in, and the tokens that show it.
profiles
    Correlations and divergences of profiles: rows, loads, layers.
layer_map
    The dependence of every pair of layers.
block_search
    Blocks of a transition: how many there are, whether they are real, and what they explain.
block_evidence, block_number
    The evidence of blocks with merging, and the number of blocks that describe left-out documents best.
biclusters, coclusters, k_means, spectral_partitions
    Blocks of one table, and spectral methods for comparison.
bicluster_checks
    The stability of blocks, and what blocks of noise explain.
model_facts, model_config, model_families
    Numbers of parameters of a model, from its configuration by the rules of its family.
route_search
    The exact most probable routes of a chain of any order.
state_routes, inclusion_chain
    Distributions over routes: of states, by the smoothed contexts; of single experts, by their inclusion.
longest_windows
    Windows of layers that are not part of a longer one.
frequent_routes
    The routes through single experts that most tokens take.
paths
    The most probable paths of the chain.
backbone
    Cells of transitions that exceed independence by more than their noise.
graph_communities, graph_centrality
    Groups of states over all layers that tokens stay in; the flow along a graph's edges through each state.
route_graph, graph_formats
    The transitions as a layered graph; a graph as text of GraphML, GEXF and JSON.
modules, module_pairs
    Experts over the depth: the busiest, and the order and the pairs of modules that all layers share.
"""
