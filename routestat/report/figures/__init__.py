"""Figures; each function takes findings and returns a figure, or the sentence that says why there is none.

``style``        sizes, colours, names of states, error bars
``study``        heatmaps of transitions, loads, the map of layers, predictors, biclusters, routes
``memory``       contexts and horizons
``calibration``  p-values of the A/A check
``bayes``        posterior draws
``comparison``   differences between two traces
"""
