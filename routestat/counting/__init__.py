"""Counts of a trace: one pass over the tokens into small additive tables.

Every table is kept per group of whole documents. Nothing after this package depends on the number of tokens.

context
    What a count is conditioned on: earlier layers, earlier tokens.
counts
    `count` and `Counts`: the tables of all routers and contexts.
counts_file
    Counts as a file.
counts_sum
    The sum of the parts of one trace.
origin
    Which parts of which trace were counted.
distributed
    Additive statistics of a trace that workers read.
cluster
    Workers of a Dask cluster.
counting_pass
    One pass that fills many tables.
further_tables
    More tables of a trace that was counted already.
states
    Tables of subsets (state view).
experts
    Tables of single experts (expert view).
board_rows
    The rows that predictors are fitted to and scored on.
expert_routes
    The experts of every token at every layer, for routes through single experts.
expert_pairs
    Pairs of experts within a layer.
moments
    Counts from which linear predictors are fitted.
score_sums
    Sums of held-out predictions, per cell of documents.
predictor_scores
    Scores of linear predictors.
paths
    The most frequent paths through all layers.
agreement
    How often two runs of the same tokens agree.
document_sample
    Whole documents held in memory.
joined_samples
    Parts of samples, and two samples as one.
sample_tables
    Tables of any two routers, from whole documents in memory.
windows
    Frequent windows of consecutive layers.
strata
    Sparse counts within strata: token ids, earlier choices.
labelled_tokens
    Tokens with labels (domain, id, class of the text), ordered once for all layers.
three_layers
    The joint counts of three consecutive routers.
common_windows
    Windows and routes that are frequent in two samples together.
expected_within_documents
    Expected tables under independence within documents.
permuted_documents
    Tables with the target choices of other documents.
recombined_documents
    Documents whose layers come from two documents, as a null.
token_contexts
    Contexts of token ids.
token_runs
    Runs of consecutive tokens, and the seam between batches.
kernels
    Compiled loops.
"""
