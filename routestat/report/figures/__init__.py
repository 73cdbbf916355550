"""Figures; each function takes findings and returns a figure, or the sentence that says why there is none.

``style``        sizes, colours, names of states, error bars
``heatmaps``     transitions (joint and conditional), biclusters, the layer x layer map
``layers``       loads of the experts, information between layers
``board``        held-out scores of the predictors
``routes``       dominant routes through the layers
``memory``       contexts and horizons
``level_checks``  p-values of the A/A check
``bayes``        posterior draws
``comparison``   differences between two traces
"""
