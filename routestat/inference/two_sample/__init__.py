"""Comparison of two samples of documents: two traces, two domains, or a forced and a natural run.

samples
    Checked counts of both, paired or not, and the scores of their difference.
distributions
    Tests and distances of distributions and transitions.
cells
    Which cells differ.
rates
    Shares of tokens with properties that may overlap.
summaries
    Statistics that need no labels of experts, and their differences.
jackknife
    The delete-group jackknife of a statistic of two samples.
permutation_test
    Relabelling of whole groups.
intervention
    The effect of a forced choice.
"""
