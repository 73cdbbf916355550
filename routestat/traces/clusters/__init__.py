"""Clusters of documents: which documents are independent, and which rows are copies.

units
    `Units`: the cluster and the template of every document.
document_prefixes
    Keys of the first rows of all documents.
shared_prefixes
    Documents with a common prefix, and the template of most.
overlapping_windows
    Rows repeated because windows of a text overlap.
summary
    The clusters of a trace in numbers and sentences.
"""
