"""Tables of counts, groups of documents, and what every statistic of them shares.

tables
    Contingency tables, joint, conditional, expected, lift, residuals.
units
    How many independent units are enough, and the least p-value they can show.
estimate
    An estimate with its interval; sandwich error; degrees of freedom; ratios and proportions.
jackknife
    The weighted delete-group jackknife.
clustered_score_test
    The clustered score test, and the groups' scores under independence.
pair_bias
    What estimated margins add to products of two groups' scores.
moderated
    The moderated squared error of many cells.
multiplicity
    Benjamini-Hochberg and Benjamini-Yekutieli.
resampling
    Bootstrap resamples of whole groups.
special
    Logarithms of tails that stay finite, rising factorials, x ln x.
ranks
    Ranks, and Kendall's correlation.
chunks
    Long axes taken in parts.
"""
