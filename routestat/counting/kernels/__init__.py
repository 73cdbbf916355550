"""Compiled loops; the only files that know numba.

Each loop takes arrays that its caller has made, of few kinds: a loop is compiled for every kind that it gets. A wrapper
in the package that needs it says what the loop computes for whom.

compiling
    How all loops are compiled.
runs
    Runs of consecutive tokens, and features of earlier tokens.
steps
    The order in which an engine serves the tokens of documents side by side.
working_sets
    Different experts in windows of consecutive tokens.
tables
    Tables of states and contexts.
experts
    Experts of states, tables of experts, pairs of experts of a token.
expert_windows
    Windows of single experts in consecutive layers.
moments
    Counts of features with each other and with experts.
document_tables
    Expected tables under independence within documents.
pair_tables
    Sums over the cells of one pair's tables by group.
windows
    Search for frequent windows of layers.
strata
    Sorting and sums of cells of strata.
labels
    Sums over tokens with labels, inside strata and without each group.
contexts
    Numbers of contexts, and counts of tokens by context and group.
rising
    Rising factorials of cells, and their derivatives.
draws
    Expected draws from a prior, of cells and summed over them.
block_merging
    Blocks of rows and columns by merging.
ward
    Clusters of rows by Ward's rule.
backoff
    Probabilities by back-off, each without the tokens of its own group.
distributions
    Whole distributions by back-off, and their scores.
random_tables
    Random tables with given margins.
symmetric
    Elementary symmetric polynomials and exponentials of blocks of tokens.
token_cache
    Probabilities by contexts of token ids and by the document so far; compiled on first use.
similar_tokens
    Averages over tokens that were routed alike so far; compiled on first use.
cache_state
    What the compiled replay of caches reads and keeps.
caches
    Replay of steps through caches of experts; compiled on first use.
unions
    Experts that the tokens of a step need together.
stack_distances
    Places of experts among those used last; compiled on first use.
indexed_heaps
    Heaps of experts that know where each expert is.
next_uses
    When each expert is needed again; compiled on first use.
predictors
    Scores of predictions.
first_experts
    The most probable experts of predictions; compiled on first use.
likelihood
    Likelihood and gradient of tempered models.
one_hot
    Pairs of one-hot features, and sums of their weights.
inclusion
    Inclusion and pair probabilities.
"""
