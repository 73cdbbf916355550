"""Records: findings as plain values for results.json and CSV tables.

plain
    Plain values, reasons, cautions, files.
study
    results.json of one trace.
trace_facts
    The trace: size, independent units, rows that are no measurements.
layer_pairs
    Statistics of pairs of layers, one table for all outputs.
pair_statistic
    What a row of that table is.
transitions
    The cells of a transition.
layers
    Loads, the map of all pairs, co-activation, sample sizes.
memory
    The order of the chain, contexts, horizons.
chain
    The fitted chain.
prediction
    The scores of predictors and their calibration.
transfer
    Predictors on other documents than they were fitted to; the effect of the data set.
routes, route_graph
    Paths; the graph of transitions as files.
windows, triples
    Frequent windows of layers; three consecutive layers.
blocks
    Biclusters.
modules, specialisation, model_facts
    Experts over the depth; what they specialise in; parameters of the model.
level_checks
    The A/A check.
bayes
    The full posterior.
placement, placement_files
    results.json of placements; the files that engines load.
comparison, comparison_structure
    results.json of a comparison; blocks and routes that differ.
simulation, simulation_kinds
    results.json of a simulation; which of its keys are measured, simulated or estimated.
"""
