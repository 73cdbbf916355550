"""Predictors of routing and their scores on held-out documents.

specification
    What a predictor is: its name, its words, and how it predicts in either view.
catalogue
    The registry of predictors.
board
    Every predictor at every layer, scored.
scores
    Held-out scores from tables.
fold_tables, linear_predictors, linear_fit
    The expert view: predictors from count tables per fold of documents.
ridge, ridge_of_tokens, tempered, exponents
    The expert view: ridge regression, and naive Bayes and ridge combined by exponents.
designs, factorised_fit, factorised
    Which models share which tables, their fit, and the factorised chain.
"""
