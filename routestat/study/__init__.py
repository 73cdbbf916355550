"""All findings of one trace, or of two, computed once.

``trace_study``             all findings of one trace
``layer_pairs``             adjacent layers: tests, information, what the dependence is due to
``conditional_dependence``  dependence given the token or an earlier choice
``transitions``             the cells of a transition
``information_budget``      information summed over the depth
``layers``                  loads, the map of all pairs, co-activation, sample sizes
``contexts``                the contexts that choices are predicted from, scored on held-out documents
``memory``                  how many earlier layers and tokens matter; horizons
``chain``                   the fitted chain, the scores of predictors, the full posterior
``chain_file``              the chain as a file
``posterior_draws``         summaries of posterior draws
``routes``                  dominant and frequent paths, biclusters
``level_checks``                rejection rates of the tests without an effect
``comparison``              two traces: distributions of layers and transitions
``comparison_inputs``       two traces: matched counts and notes
"""
