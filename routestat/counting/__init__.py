"""Counts of a trace: one pass over the tokens into small additive tables.

Every table is kept per group of whole documents. Nothing after this package depends on the number of tokens.

=========================  ==============================================================
file                       content
=========================  ==============================================================
context                    what a count is conditioned on: earlier layers, earlier tokens
counts                     `count` and `Counts`: the tables of all routers and contexts
counting_pass              one pass that fills many tables
further_tables             more tables of a trace that was counted already
states                     tables of subsets (state view)
experts                    tables of single experts (expert view)
expert_batches             rows of experts with the features of predictors
expert_pairs               pairs of experts within a layer
moments                    counts from which linear predictors are fitted
predictor_scores           scores of fitted predictors, summed per group
paths                      the most frequent paths through all layers
agreement                  how often two runs of the same tokens agree
document_sample            whole documents held in memory
strata                     sparse counts within strata: token ids, earlier choices
expected_within_documents  expected tables under independence within documents
permuted_documents         tables with the target choices of other documents
recombined_documents       documents whose layers come from two documents, as a null
token_runs                 runs of consecutive tokens, and the seam between batches
kernels                    compiled loops
=========================  ==============================================================
"""
