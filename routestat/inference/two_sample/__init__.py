"""Comparison of two samples of documents: two traces, two domains, or a forced and a natural run.

samples             checked counts of both, paired or not, and the scores of their difference
distributions       tests and distances of distributions and transitions
cells               which cells differ
summaries           statistics that need no labels of experts, and their differences
jackknife           the delete-group jackknife of a statistic of two samples
permutation_test    relabelling of whole groups
intervention        the effect of a forced choice
"""
