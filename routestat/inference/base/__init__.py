"""Tables of counts, groups of documents, and what every statistic of them shares.

tables            contingency tables, joint, conditional, expected, lift, residuals
units             how many independent units are enough, and the least p-value they can show
estimate          an estimate with its interval; sandwich error; degrees of freedom; ratios and proportions
jackknife         the weighted delete-group jackknife
clustered_score_test  the clustered score test, and the groups' scores under independence
pair_bias         what estimated margins add to products of two groups' scores
multiplicity      Benjamini-Hochberg and Benjamini-Yekutieli
resampling        bootstrap resamples of whole groups
special           logarithms of tails that stay finite, rising factorials, x ln x
chunks            long axes taken in parts
"""
