"""What the commands share.

runner
    Run a command: exit codes, one line per error; layers and orders given in words.
options
    Command-line options that several commands have.
convert_options, structure_options, placement_options
    Options of `convert`; those of `analyze` on structure; those of `place`.
progress_bars
    Progress bars on stderr.
output_folders
    Output folders: checked before the work, complete or absent after it.
open_trace
    The trace of a command, read here or by workers.
open_run
    The fitted chain of a report, or of a trace.
board_source
    What ``predict --board`` reads.
choices, queries
    Choices as they are typed, and predictions of a chain after them, for ``predict``.
open_answers, predictor_choice, ridge_queries
    Predictions of the ridges of a report, and which predictor answers.
query_stream
    Predictions line by line.
quantities
    Bytes, bandwidths and times as they are typed.
simulation_options
    Options of `simulate`.
answers, answer_table
    Predictions as records and on the terminal.
"""
