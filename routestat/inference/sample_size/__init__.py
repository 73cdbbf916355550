"""How many documents are needed.

document_subsets    results of random subsets of the documents, and their extrapolation
interval_width      how the width of an interval falls with the number of groups
unseen_experts      experts or states that more documents would show
"""
