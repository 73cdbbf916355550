"""Entropy, mutual information and divergence of tables of counts.

entropy
    Estimators of entropy, and which to use.
mutual_information
    Mutual and conditional information, with an interval over groups of documents.
inclusion_counts
    Counts of what two routers include, and the sums that estimates take of them.
inclusion_information
    Mutual information of the experts that two routers include.
stratified
    Mutual information within strata, with an interval.
three_layers
    Information between three layers, with intervals.
divergence
    Jensen-Shannon divergence.
scarcity
    Whether a table has enough tokens for its width.
"""
