"""Statistics of tables of counts: pure functions on arrays, with groups of documents as the independent units.

base
    Tables, the clustered score test, the weighted jackknife, estimates and their degrees of freedom.
smoothing
    Dirichlet priors and posteriors, hierarchical back-off, held-out log loss.
conditional_bernoulli
    k of E experts without replacement: the distribution, inclusion probabilities, sampling.
information
    Entropy, mutual and conditional information, divergence.
association
    Independence of two layers, effect sizes, single cells, within documents, given the token type.
markov
    The chain of routing, its order, prediction, horizons, homogeneity over the depth.
two_sample
    Differences of two traces, and effects of an intervention.
sample_size
    How many documents are enough.
bayes
    The full posterior of the chain by PyMC, on request.
level_checks
    Whether the tests keep their level on the user's own documents.
"""
