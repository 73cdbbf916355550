"""Full Bayes of the chain's smoothing (`--bayes full`).

sampler
    The PyMC model and its sampler; the only file that imports PyMC and ArviZ.
priors, sampling_plan
    Priors over the depth, and how long the sampler runs.
counts, tabulated, likelihood
    Sparse counts, tabulated functions, and the collapsed Dirichlet-multinomial likelihood.
loo, predictive_checks
    PSIS-LOO between the orders, and posterior predictive checks.
results, inference_data
    The results, readable without PyMC, and the groups added to the InferenceData.
"""
