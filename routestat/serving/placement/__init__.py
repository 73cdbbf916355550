"""Which expert is on which device: placements for balance and for affinity, and what they gain on other documents.

placement
    A placement of experts on devices and nodes.
"""
