"""Which expert is on which device: placements for balance and for affinity, and what they gain on other documents.

placement
    A placement of experts on devices and nodes.
default_order
    Where engines place experts by themselves.
measures
    Balance and affinity of a placement.
imbalance_estimate
    Balance on all documents, estimated from a few, with an interval.
balanced, packing
    Placements with equal loads.
affine, affine_starts, affine_combination, affine_copies
    Placements that keep tokens on their device from layer to layer.
optimum
    The best placement of few experts.
"""
