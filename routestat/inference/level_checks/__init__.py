"""The A/A check: do the tests hold their level on the user's own documents? Rates of rejection without an effect.

half_splits      random halves of the documents, and how often the tests of loads reject them
split_tests      the tests of one layer for many splits at once
null_p_values    p-values of independence and order where there is no effect, from recombined documents
level_check      rejection rates of each family of tests, and whether its p-values can be trusted
"""
