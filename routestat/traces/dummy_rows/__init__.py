"""Rows and layers that are no measurements: warm-up, padding, stuck or never written rows.

row_features
    What the search uses of each row.
row_runs
    Runs of equal rows.
run_collector
    Runs collected batch by batch.
suspicious_runs
    Runs longer than the trace's own repetitions explain.
few_choices
    Rows drawn from a handful of choices.
row_ranges
    Ranges of dummy rows, and layers with one choice.
not_measured
    `NotMeasured`: what was found, and its JSON.
removal
    A trace read without its dummy rows.
findings
    What was found in sentences.
"""
