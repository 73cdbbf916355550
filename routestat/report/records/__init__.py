"""Records: findings as plain values for results.json and CSV tables.

``plain``        plain values, reasons, cautions, files
``study``        results.json of one trace
``trace_facts``  the trace: size, independent units, rows that are no measurements
``layer_pairs``  statistics of pairs of layers, one table for all outputs
``pair_statistic``  what a row of that table is
``transitions``  the cells of a transition
``layers``       loads, the map of all pairs, co-activation, sample sizes
``memory``       the order of the chain, contexts, horizons
``chain``        the chain and the scores of predictors
``routes``       paths and biclusters
``level_checks`` the A/A check
``bayes``        the full posterior
``comparison``   results.json of a comparison
"""
