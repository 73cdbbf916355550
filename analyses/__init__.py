"""Questions about routing, answered from the data of the project: one file each, run by `python -m analyses.NAME`.

joint_and_conditional
    How often a ranking of transitions by P(j | i) selects cells that hold almost no tokens.
adjacent_layers
    Whether adjacent layers are independent, and whether comparisons of expert ids show it.
deepseek_load
    The load of DeepSeek-V2-Lite against the published figures.
output
    Numbers, tables and pages, as the analyses write them.
"""
