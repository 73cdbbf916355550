"""Figures; each function takes findings and returns a figure, or the sentence that says why there is none.

study
    All pictures of the page of one trace.
style
    Sizes, colours, names of states, error bars.
heatmaps
    Transitions (joint and conditional), the map of all pairs of layers.
blocks
    Matrices in the order of their blocks, and what more blocks would save.
layers
    Loads of the experts, information between layers.
board
    Held-out scores of the predictors.
windows
    Frequent windows of layers.
routes
    Dominant routes through the layers.
triples
    Information between three consecutive layers.
modules, documents
    Experts over the depth; single documents, token by token.
specialisation
    Token and domain against the choice of experts, over the depth.
memory
    Contexts and horizons.
level_checks
    P-values of the A/A check.
bayes
    Posterior draws.
placement
    Loads of devices, transitions that stay on one.
comparison
    Differences between two traces.
simulation, simulation_memory
    Caches and prefetching; working sets, single layers and the plan of capacities.
simulation_lines
    Policies over their capacities: colours, dashes and marks.
"""
