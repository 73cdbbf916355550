"""Dependence between two layers: tests and measures.

independence
    Pearson, likelihood-ratio and clustered tests of one table, and its effect sizes.
expert_independence
    The clustered test in the expert view.
stratified
    Independence given the token id, or another context.
within_documents
    Dependence beyond documents being about different things.
token_types
    Dependence beyond what a small vocabulary brings by itself.
minimum_effect
    Is Cramer's V above a threshold?
cell_tests
    Which cells depart from independence.
three_layer_cells
    Which cells of three layers depart from independence, and from a chain.
measures
    Cramer's V, Theil's U, Goodman and Kruskal's tau and lambda.
rao_scott
    Rao and Scott's tests, as R's survey package prints them.
"""
