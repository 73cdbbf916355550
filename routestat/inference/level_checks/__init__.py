"""The A/A check: do the tests hold their level on the user's own documents? Rates of rejection without an effect.

half_splits
    Random halves of the documents, and how often the tests of loads reject them.
split_tests
    The tests of one layer for many splits at once.
null_p_values
    P-values of independence and order where there is no effect, from recombined documents.
level_check
    Rejection rates of each family of tests, and whether its p-values can be trusted.
"""
