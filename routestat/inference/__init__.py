"""Statistics of tables of counts: pure functions on arrays, with groups of documents as the independent units.

=====================  =========================================================================================
base                   tables, the clustered score test, the weighted jackknife, estimates, degrees of freedom
smoothing              Dirichlet priors and posteriors, hierarchical back-off, held-out log loss
conditional_bernoulli  k of E experts without replacement: the distribution, its sampling, inclusion probabilities
information            entropy, mutual and conditional information, divergence
association            independence of two layers, effect sizes, cells, within documents, given the token type
markov                 the chain, its order, prediction, horizons, homogeneity over the depth
two_sample             comparing two traces, or what an intervention changed
sample_size            how many documents are enough
bayes                  full posterior of the chain by PyMC, on request
level_checks           whether the tests keep their level on the user's own documents
=====================  =========================================================================================
"""
