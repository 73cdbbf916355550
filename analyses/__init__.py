"""Questions about routing, answered from the data of the project: one file each, run by `python -m analyses.NAME`.

joint_and_conditional
    How often the largest joint probability is a likely transition.
adjacent_layers
    Whether adjacent layers are independent, and what comparisons of expert ids report on it.
deepseek_load
    The load of DeepSeek-V2-Lite against the published figures.
output
    Numbers, tables and pages, as the analyses write them.
"""
