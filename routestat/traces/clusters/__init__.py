"""Clusters of documents: which documents are independent, and which rows are copies.

===================  ========================================================
file                 content
===================  ========================================================
units                `Units`: the cluster and the template of every document
document_prefixes    keys of the first rows of all documents
shared_prefixes      documents with a common prefix, and the template of most
overlapping_windows  rows repeated because windows of a text overlap
summary              the clusters of a trace in numbers and sentences
===================  ========================================================
"""
