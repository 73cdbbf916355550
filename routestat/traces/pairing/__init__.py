"""Two traces of the same texts: which layers and documents they have in common.

=================  ======================================================
file               content
=================  ======================================================
trace_matching     layers and documents of two traces matched
layer_matching     layers matched by number, by order or by their choices
document_matching  documents paired by content, choices or name
document_contents  the token ids of a document as a polynomial hash
choice_similarity  documents paired by the similarity of their choices
choice_sketches    the first, last and some further choices of documents
=================  ======================================================
"""
