"""Rows and layers that are no measurements: warm-up, padding, stuck or never written rows.

===============  ====================================================
file             content
===============  ====================================================
row_features     what the search uses of each row
row_runs         runs of equal rows
run_collector    runs collected batch by batch
suspicious_runs  runs longer than the trace's own repetitions explain
few_choices      rows drawn from a handful of choices
row_ranges       ranges of dummy rows, and layers with one choice
not_measured     `NotMeasured`: what was found, and its JSON
removal          a trace read without its dummy rows
findings         what was found in sentences
===============  ====================================================
"""
