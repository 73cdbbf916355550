"""Questions about routing, answered from the data of the project: one file each, run by `python -m analyses.NAME`.

joint_and_conditional
    How often a ranking of transitions by P(j | i) selects cells that hold almost no tokens.
adjacent_layers
    Whether adjacent layers are independent, and whether comparisons of expert ids show it.
deepseek_load
    The load of DeepSeek-V2-Lite against the published figures.
table_against_gate
    From how many layers ahead on a predictor without a hidden state is better than the layer's own gate.
effect_of_data_set
    What predictors lose when they are fitted to another kind of text.
accuracy_and_recall
    Accuracy over the elements of a token × expert matrix against the share of the needed experts that is found.
adjacent_repeats
    How often adjacent tokens choose the same experts, against four kinds of chance.
cross_layer_tables
    The dependence of distant layers in the published tables of Mixtral-8x7B and OLMoE-1B-7B.
first_choice_tables
    Measures of two layers by first choices, with and without documents, for `cross_layer_tables`.
lexical_or_topical
    Whether experts follow the words or the subject: the tiny Mixtral, and Mixtral-8x7B on MMLU.
questions
    Shares of experts in the own text of prompts that begin alike, for `lexical_or_topical`.
repeats
    Pairs of adjacent tokens and their kinds of chance, for `adjacent_repeats`.
worth_prefetching
    What prefetched experts save of the stall, and what perfect knowledge would.
prefetch_replays
    Replays with real, perfect and planted predictions, for `worth_prefetching`.
prefetch_findings
    What `worth_prefetching` finds on one trace, and what becomes of its claims.
prefetch_tables
    Tables of `worth_prefetching`.
output
    Numbers, tables and pages, as the analyses write them.
"""
