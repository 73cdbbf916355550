"""All findings of one trace, or of two, computed once.

trace_study
    All findings of one trace.
trace_notes
    What a reader has to know about a trace before any number.
parts
    The parts of a study, and what each needs.
layer_pairs
    Adjacent layers: tests, information, what the dependence is due to.
conditional_dependence
    Dependence given the token or an earlier choice.
transitions
    The cells of a transition.
information_budget
    Information summed over the depth.
layers
    Loads, the map of all pairs, co-activation, sample sizes.
contexts
    The contexts that choices are predicted from, scored on held-out documents.
memory
    How many earlier layers and tokens matter; horizons.
board_findings
    What the board of predictors shows: pooled scores, differences, horizons, parts, calibration.
data_set
    What the data set does to predictors.
chain
    The fitted chain, the scores of predictors, the full posterior.
array_file, chain_file, predictors_file
    The chain and the ridges as files of checked plain arrays.
posterior_draws
    Summaries of posterior draws.
structure_plan
    Which structure is looked for, and how.
routes, expert_routes, route_graph
    Dominant and frequent paths, of states and through single experts; the graph of transitions.
route_choice, route_evidence
    The chain that fits the memory; what takes a route.
windows
    Frequent windows of layers against the chain.
triples
    Three consecutive layers.
blocks
    Biclusters of transitions.
modules, identity_experts
    Experts over the depth: the busiest, modules that all layers share, experts that compute nothing.
document_view
    Single documents, token by token.
structure_checks
    What a plan needs of a trace, checked before anything is computed.
specialisation
    What experts specialise in.
model_facts
    Parameters of a model.
transfer
    Predictors fitted to one trace and scored on another.
domain_matrix
    Every domain of a trace predicted from every other.
simulation, simulation_plan, simulation_predictions, simulation_notes
    A trace replayed through caches of experts, with and without predictions.
placement_exports
    The files that engines load.
simulation_findings
    What a simulation of caches finds.
placement, placement_gains, placement_optimum, placement_pins, placement_findings
    Placements of experts on devices, and what they gain on held-out documents.
expected_time
    What the stages of a study take.
level_checks
    Rejection rates of the tests without an effect.
comparison
    Two traces: distributions of layers and transitions.
comparison_structure
    Blocks and routes of two traces.
comparison_inputs
    Two traces: matched counts and notes.
"""
