"""Two traces of the same texts: which layers and documents they have in common.

trace_matching
    Layers and documents of two traces matched.
layer_matching
    Layers matched by number, by order or by their choices.
document_matching
    Documents paired by content, choices or name.
document_contents
    The token ids of a document as a polynomial hash.
choice_similarity
    Documents paired by the similarity of their choices.
choice_sketches
    The first, last and some further choices of documents.
"""
