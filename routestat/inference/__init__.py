"""Statistics of tables of counts, with groups of whole documents as the independent units.

base                     tables, estimates, jackknife, score test
smoothing                Dirichlet posteriors of rows, and back-off over contexts
conditional_bernoulli    k of E experts without replacement
information              entropy, mutual information, divergence
association              dependence between two layers
markov                   chains, their order, prediction and sampling
two_sample               comparison of two samples of documents
sample_size              how many documents are needed
bayes                    full Bayes on the collapsed likelihood
level_checks             whether the tests hold their level on the user's own documents
"""
