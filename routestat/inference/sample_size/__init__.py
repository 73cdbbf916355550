"""How many documents are needed.

document_subsets
    Results of random subsets of the documents, and their extrapolation.
interval_width
    How the width of an interval falls with the number of groups.
unseen_experts
    Experts or states that more documents would show.
"""
