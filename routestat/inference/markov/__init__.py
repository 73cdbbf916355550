"""The Markov chain over layers: fit, prediction, sampling, order, horizons and homogeneity.

chain, second_order
    The fitted chain, and its steps of order 2.
direct_steps
    Transitions between layers that are not adjacent, from their own tables.
row_posteriors
    Mean and weight of every row of a step.
prediction, sampling
    Prediction some layers ahead, and new tokens.
order_tests, order_score_test, order_selection
    Order 2 against order 1: i.i.d. tests, the clustered test, and the choice by held-out documents.
window_tests
    Windows of several layers against the chain.
random_tables
    Random tables with given margins.
implied_steps, horizon_table, horizons
    The Chapman–Kolmogorov test: what is counted several layers on against the product of the steps.
homogeneity
    Whether the gaps between layers are alike.
"""
