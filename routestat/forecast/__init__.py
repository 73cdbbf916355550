"""Predictors of routing and their scores on held-out documents.

specification
    What a predictor is: its name, its words, what it looks at, and the form that either view fits.
catalogue
    The registry of predictors.
board
    Every predictor at every layer, scored.
kept_predictions, prediction_keeper
    The predictions of every token, for simulations of prefetching.
scores, made_scores
    Held-out scores from additive sums.
calibration
    Reliability curve, calibration error, parts of the Brier score.
effect_of_data
    Regression of a predictor's score on domain, phase and depth.
contexts, whole_distributions
    The state view: contexts with back-off, fitted once for the board and the memory, and scored.
fold_tables, linear_predictors, linear_fit
    Predictors from tables of experts per fold of documents.
ridge, ridge_of_tokens, tempered, exponents
    Naive Bayes and ridge combined by exponents.
token_id
    The token id, backed off to the layer's load.
token_cache
    The latest token ids, backed off, with what they led to earlier in the document; on request.
similar_tokens, same_id, same_history
    Averages over tokens that were routed alike so far, for traces with token ids and without; on request.
left_out_ridges, packed_choices
    Ridges without several folds, and the choices of all routers side by side.
history_predictor
    Ridges on everything before, of new tokens, with histories that may lack something.
gate, gate_horizons
    The recorded gate, and from which horizon on a predictor without a hidden state is better.
history, history_gram, history_ridge
    One-hot features of everything before a layer, the table of their pairs, and the nested ridges that it gives.
ridge_plan, ridge_search, ridge_link, ridge_engine
    Which ridges a board has, their penalties, their probabilities, and their scores.
designs, factorised_fit, factorised
    Which models share which tables, their fit, and the factorised chain.
network, network_training, network_history, network_start, network_model
    The small network, on request (torch).
network_gain
    Whether the network is better than the best ridge.
"""
