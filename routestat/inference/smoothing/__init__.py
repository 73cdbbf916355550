"""Dirichlet rows and back-off: probabilities of what was rarely seen.

prior
    The Dirichlet prior of rows, by rule or by number.
posterior
    Evidence and posterior of rows; Beta intervals.
concentration
    The Dirichlet concentration by empirical Bayes.
design_effect
    The weight of rows in independent tokens.
backoff, backoff_strength
    Long contexts that back off to shorter ones, and how strongly.
context_counts
    Tokens as rows of contexts, and their counts by group of documents.
context_entries
    Entries of a context in either half of the groups, and their places in a shorter context.
backoff_step
    One context above its shorter ones, fitted on one half of the groups.
fitted_context
    The distribution after a context, fitted to all groups.
held_out
    Log loss of nested contexts on held-out documents.
"""
