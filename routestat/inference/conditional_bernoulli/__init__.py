"""k of E experts without replacement: the conditional-Bernoulli distribution.

distribution
    Fit to loads, inclusion and pair probabilities, log probability of a subset.
sampling
    Draws of subsets, and the most probable subsets.
poisson_binomial
    The number of successes of independent trials.
"""
