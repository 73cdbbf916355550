"""What the commands share.

runner
    Run a command: exit codes, one line per error; layers and orders given in words.
options
    Command-line options that several commands have.
convert_options
    Options of `convert`.
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
queries
    Predictions of a chain after observed choices, for ``predict``.
"""
