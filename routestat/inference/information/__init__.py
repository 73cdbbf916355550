"""Entropy, mutual information and divergence of tables of counts.

entropy                  estimators of entropy, and which to use
mutual_information       mutual and conditional information, with an interval over groups of documents
inclusion_information    mutual information of the experts that two routers include
stratified               mutual information within strata, with an interval
divergence               Jensen-Shannon divergence
scarcity                 whether a table has enough tokens for its width
"""
